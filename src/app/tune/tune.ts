/** `runoff tune`: which settings make this engine fastest with this model here, by the statistics of a run. */
import { join } from 'node:path';
import { comparePair, pairOf } from '../../core/derive/compare-pair.ts';
import { assert } from '../../core/assert.ts';
import type { EngineSettings } from '../../core/engine.ts';
import { AppError } from '../../core/errors.ts';
import type { Comparison, EngineFacts, Manifest } from '../../core/record.ts';
import { chooseWinner, gainOf, isFaster } from '../../core/tune/choose.ts';
import type { Raced } from '../../core/tune/choose.ts';
import { knobNames, makeKnob } from '../../core/tune/knobs.ts';
import type { Candidate, KnobName } from '../../core/tune/knobs.ts';
import { threadsNote } from '../../core/verdict/compute-threads.ts';
import { cacheFolder } from '../../platform/folders.ts';
import { createRun } from '../../store/run-folder.ts';
import type { Machinery, PreparedEngine } from '../machinery.ts';
import { measure } from '../measure.ts';
import type { PreparedRun } from '../prepare.ts';
import type { Ui } from '../ui.ts';
import { withSettings } from '../with-settings.ts';
import { differing, writeTuned } from './tuned-store.ts';

/** Shares of the time box; what a knob leaves over goes to the next. */
const WEIGHTS: Readonly<Record<KnobName, number>> = {
  threads: 4,
  batch: 3,
  'flash attention': 2,
  mmap: 1,
  'KV cache type': 2,
};
/** The last comparison is the one that is believed: it gets as much as the first. */
const CONFIRM_WEIGHT = 4;
const RACE_BLOCKS = 6;
const CONFIRM_BLOCKS = 8;

export interface TuneAsk {
  readonly machinery: Machinery;
  /** One engine. */
  readonly run: PreparedRun;
  readonly folder: string;
  readonly lossy: boolean;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

export interface KnobResult {
  readonly name: KnobName;
  /** What was in force when its turn came. */
  readonly before: string;
  readonly tried: readonly {
    readonly label: string;
    /** Time in force over the candidate's: above 1 is quicker. Null: not measured. */
    readonly gain: number | null;
    readonly verdict: Comparison['verdict'] | null;
  }[];
  /** Null: what was in force stays. */
  readonly chosen: string | null;
}

export interface TuneResult {
  readonly state: 'complete' | 'interrupted';
  readonly engine: string;
  readonly knobs: readonly KnobResult[];
  /** Why more threads may bring less than they should; null where nothing known stands in the way. */
  readonly threadsNote: string | null;
  /** What differs from the defaults after the races. */
  readonly proposed: Partial<EngineSettings>;
  /** Defaults against the proposal, in blocks of their own; null where nothing differs or it was not reached. */
  readonly confirmation: Comparison | null;
  /** The proposal, if it was confirmed; else empty. */
  readonly settings: Partial<EngineSettings>;
}

/** @throws AppError `usage` for an engine that takes no settings */
export async function tune(ask: TuneAsk): Promise<TuneResult> {
  const [prepared] = ask.run.engines;
  assert(prepared !== undefined, 'a prepared run has an engine');
  const names = knobNames({ taken: prepared.engine.capabilities.settings, lossy: ask.lossy });
  if (names.length === 0)
    throw new AppError('usage', `${prepared.engine.id} takes no settings: there is nothing to tune`, {
      hint: 'runoff engines lists what each engine takes.',
    });
  return new Tuning(ask, prepared, names).run();
}

/** Keeps what was found for `runoff run --tuned`, on this machine, for this build and model. */
export async function keepTuning({ engines, manifest }: PreparedRun, result: TuneResult): Promise<void> {
  const [prepared] = engines;
  const [model] = manifest.models;
  if (prepared === undefined || model === undefined || model.sha256 === null || result.state === 'interrupted') return;
  const { version } = prepared.found.build;
  const { confirmation: confirmed, settings } = result;
  const kept = Object.keys(settings).length > 0 ? confirmed : null;
  const [gain, low, high] = kept === null ? [null, null, null] : gainOver(kept, prepared.engine.id);
  await writeTuned(
    cacheFolder(),
    { engine: prepared.engine.id, version, modelSha256: model.sha256, machine: manifest.machine },
    {
      schemaVersion: 1,
      engine: prepared.engine.id,
      version,
      model: { name: model.name, sha256: model.sha256 },
      machine: manifest.machine,
      settings,
      gain,
      gainLow: low,
      gainHigh: high,
      date: manifest.startedAt.slice(0, 10),
    },
  );
}

/** Time with the defaults over time with the tuned settings, and its interval. */
export function gainOver(
  { a, ratio, low, high }: Comparison,
  defaults: string,
): [gain: number | null, low: number | null, high: number | null] {
  if (a !== defaults) return [ratio, low, high];
  const turned = (value: number | null): number | null => (value === null ? null : 1 / value);
  return [turned(ratio), turned(high), turned(low)];
}

/** One racer, by what differs from the settings of the manifest. */
interface Arm {
  readonly id: string;
  readonly settings: Partial<EngineSettings>;
}

class Tuning {
  private readonly ask: TuneAsk;
  private readonly prepared: PreparedEngine;
  private readonly names: readonly KnobName[];
  private readonly deadlineMs: number;
  private state: TuneResult['state'] = 'complete';
  private current: EngineSettings;
  private races = 0;
  /** As the engine described itself after loading. */
  private loaded: EngineFacts | null = null;

  constructor(ask: TuneAsk, prepared: PreparedEngine, names: readonly KnobName[]) {
    this.ask = ask;
    this.prepared = prepared;
    this.names = names;
    this.deadlineMs = ask.machinery.nowMs() + ask.run.manifest.plan.budgetMs;
    this.current = ask.run.manifest.settings;
  }

  async run(): Promise<TuneResult> {
    const { manifest } = this.ask.run;
    const knobs: KnobResult[] = [];
    for (const [index, name] of this.names.entries()) {
      if (this.state === 'interrupted') break;
      const left = this.names.slice(index).reduce((sum, other) => sum + WEIGHTS[other], CONFIRM_WEIGHT);
      knobs.push(await this.turn(name, (this.leftMs() * WEIGHTS[name]) / left));
    }
    const proposed = differing(manifest.settings, this.current);
    const confirmation = Object.keys(proposed).length === 0 ? null : await this.confirm(proposed);
    const confirmed = confirmation !== null && isFaster(confirmation, this.armId('tuned'));
    const { id: engine } = this.prepared.engine;
    const note = this.loaded !== null && this.names.includes('threads') ? threadsNote(this.loaded) : null;
    const settings = confirmed ? proposed : {};
    return { state: this.state, engine, knobs, threadsNote: note, proposed, confirmation, settings };
  }

  /** Races the values of one knob against what is in force, and keeps the winner. */
  private async turn(name: KnobName, budgetMs: number): Promise<KnobResult> {
    const { manifest } = this.ask.run;
    const { candidates } = makeKnob(name, {
      taken: this.prepared.engine.capabilities.settings,
      base: this.current,
      physicalCores: manifest.machine.physicalCores,
      logicalCores: manifest.machine.logicalCores,
      promptTokensMax: Math.max(...manifest.plan.prompts.map(({ tokenCount }) => tokenCount)),
      lossy: this.ask.lossy,
    });
    const before = valueOf(name, this.current);
    if (candidates.length === 0) return { name, before, tried: [], chosen: null };
    this.ask.ui.line(`${name}: ${before} against ${candidates.map(({ label }) => label).join(', ')}`);
    const arms = candidates.map((candidate) => ({ candidate, id: this.armId(`${name} ${candidate.label}`) }));
    const inForce = { id: this.prepared.engine.id, settings: differing(manifest.settings, this.current) };
    const racers = arms.map(({ id, candidate }) => ({ id, settings: this.differenceWith(candidate) }));
    const compare = await this.race(name, [inForce, ...racers], { budgetMs, blocks: RACE_BLOCKS });
    const raced = arms.map(({ id, candidate }): Raced => ({ candidate, arm: id, comparison: compare(id) }));
    const winner = chooseWinner(raced);
    if (winner !== null) this.current = { ...this.current, ...winner.candidate.settings };
    const tried = raced.map((one) => ({
      label: one.candidate.label,
      gain: Number.isNaN(gainOf(one)) ? null : gainOf(one),
      verdict: one.comparison?.verdict ?? null,
    }));
    const chosen = winner?.candidate.label ?? null;
    this.ask.ui.line(
      `  ${chosen === null ? `${before} stays` : `${chosen} is faster by ${(winner === null ? 1 : gainOf(winner)).toFixed(2)}x`}`,
    );
    return { name, before, tried, chosen };
  }

  private differenceWith({ settings }: Candidate): Partial<EngineSettings> {
    return differing(this.ask.run.manifest.settings, { ...this.current, ...settings });
  }

  /** The winner of a race was chosen for its luck, too: only blocks that chose nothing tell what it gains. */
  private async confirm(proposed: Partial<EngineSettings>): Promise<Comparison | null> {
    if (this.state === 'interrupted') return null;
    this.ask.ui.line('Confirming: the defaults against what was found');
    const tuned = { id: this.armId('tuned'), settings: proposed };
    const defaults = { id: this.prepared.engine.id, settings: {} };
    const compare = await this.race('confirmation', [defaults, tuned], {
      budgetMs: this.leftMs(),
      blocks: CONFIRM_BLOCKS,
    });
    return compare(tuned.id);
  }

  /** A run of its own, kept in the folder. @returns the comparison of the first arm with another */
  private async race(
    name: string,
    arms: readonly Arm[],
    { budgetMs, blocks }: { readonly budgetMs: number; readonly blocks: number },
  ): Promise<(id: string) => Comparison | null> {
    const { run, machinery, signal, ui, folder } = this.ask;
    const manifest = this.manifestFor(arms, budgetMs, blocks);
    const log = await createRun(join(folder, `${++this.races}-${slug(name)}`), manifest);
    try {
      const engines = arms.map(({ id, settings }) => ({
        ...this.prepared,
        engine: { ...withSettings(this.prepared.engine, settings), id },
      }));
      this.state = await measure({ ...run, log, engines, budgetMs, machinery, signal, ui });
      const [first] = arms;
      const events = [...log.events];
      const described = events.findLast((event) => event.type === 'engine-facts');
      if (described?.type === 'engine-facts') this.loaded = { ...described.facts, id: this.prepared.engine.id };
      return (id) => (first === undefined ? null : comparePair(pairOf(manifest, events, [first.id, id])));
    } finally {
      await log.close();
    }
  }

  private manifestFor(arms: readonly Arm[], budgetMs: number, blocks: number): Manifest {
    const { manifest } = this.ask.run;
    const facts = manifest.engines.find(({ id }) => id === this.prepared.engine.id);
    assert(facts !== undefined, 'the engine is in its manifest');
    const engines = arms.map(({ id, settings }): EngineFacts => ({ ...facts, id, tuned: settings }));
    return { ...manifest, engines, plan: { ...manifest.plan, engines: engines.map(({ id }) => id), budgetMs, blocks } };
  }

  private armId(name: string): string {
    return `${this.prepared.engine.id}-${slug(name)}`;
  }

  private leftMs(): number {
    return Math.max(0, this.deadlineMs - this.ask.machinery.nowMs());
  }
}

function slug(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
}

const VALUES: Readonly<Record<KnobName, (settings: EngineSettings) => string>> = {
  threads: ({ threads }) => String(threads),
  batch: ({ batchTokens }) => String(batchTokens),
  'flash attention': ({ flashAttention }) => (flashAttention ? 'on' : 'off'),
  mmap: ({ mmap }) => (mmap ? 'on' : 'off'),
  'KV cache type': ({ kvType }) => kvType,
};

function valueOf(name: KnobName, settings: EngineSettings): string {
  return VALUES[name](settings);
}
