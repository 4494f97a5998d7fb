/** `runoff selftest`: runoff measures what is known, on a real engine and this machine, and must say so. */
import { join } from 'node:path';
import { AssertionFailure } from '../../core/assert.ts';
import { collect } from '../../core/derive/collect.ts';
import { comparePair, pairOf } from '../../core/derive/compare-pair.ts';
import type { ArmPair } from '../../core/derive/compare-pair.ts';
import { logs, mixValues } from '../../core/derive/values.ts';
import type { Engine } from '../../core/engine.ts';
import { AppError, messageOf } from '../../core/errors.ts';
import { planRun } from '../../core/protocol/plan-run.ts';
import type { EngineFacts, GateEvent, Manifest, RunEvent } from '../../core/record.ts';
import {
  CHEATS,
  judgeCheat,
  judgeClocks,
  judgeHonest,
  judgeSame,
  judgeSlower,
  resolutions,
  SLOWDOWNS,
} from '../../core/selftest/selftest.ts';
import type { Cheat, Clocks, Gate, Judgement, Outcome, Resolution } from '../../core/selftest/selftest.ts';
import { remedyOf, runNoise } from '../../core/validity/noise.ts';
import { atomicWrite } from '../../platform/files/atomic-write.ts';
import { createRun } from '../../store/run-folder.ts';
import { checkEngine } from '../check-engine.ts';
import type { Machinery, PreparedEngine } from '../machinery.ts';
import { measure } from '../measure.ts';
import type { EngineCopy } from '../measure.ts';
import { NAMED_PROMPTS, planDefaults } from '../plan.ts';
import type { PreparedRun } from '../prepare.ts';
import type { Ui } from '../ui.ts';
import { compareClocks } from './clocks.ts';
import { cheating, copyOf, slowerBy } from './inject.ts';

/** Short, so that five arms get blocks enough; request times are compared, for which these lengths do. */
export const SELFTEST_PLAN = { prompts: [128], generate: 32, blocks: 8, budgetSeconds: 240 } as const;
export const RESULT_FILE = 'selftest.json';
/** An engine that hangs in a check must not eat the time of the comparison. */
const CHECK_MS_MAX = 120_000;

export interface SelftestAsk {
  readonly machinery: Machinery;
  /** One engine whose worker takes `burnShare`. */
  readonly run: PreparedRun;
  /** An engine with times of its own, where there is one. */
  readonly timed: PreparedEngine | null;
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

export interface SelftestItem extends Judgement {
  readonly id: string;
  /** What was done, and what must come out. */
  readonly title: string;
}

export interface SelftestResult {
  readonly schemaVersion: 1;
  readonly runoffVersion: string;
  readonly startedAt: string;
  readonly machine: string;
  readonly model: string;
  readonly engine: string;
  readonly state: 'complete' | 'interrupted';
  readonly outcome: Outcome;
  readonly items: readonly SelftestItem[];
  readonly clocks: Clocks | null;
  /** Of all blocks; a pair counts them where its own two processes were left alone. */
  readonly rejectedBlocks: number;
  /** What would have kept them: the beginning of a sentence; null without any. */
  readonly remedy: string | null;
  /** Of a run with the default prompts and two engines as fast as this one; empty where the spread is unknown. */
  readonly resolutions: readonly Resolution[];
  /** Why a run of two different engines would have named no winner of the largest difference; null where it would have. */
  readonly loadDependent: string | null;
}

interface Arm {
  readonly id: string;
  /** Null: the same engine again. */
  readonly share: number | null;
  readonly engine: Engine;
}

/** @throws AppError `usage` for an engine that cannot be slowed, `interrupted`, and as a run does */
export async function selftest(ask: SelftestAsk): Promise<SelftestResult> {
  const { run, ui } = ask;
  const [prepared] = run.engines;
  const facts = run.manifest.engines.find(({ id }) => id === prepared?.engine.id);
  if (prepared === undefined || facts === undefined || prepared.engine.burnsOnRequest !== true)
    throw new AppError('usage', `${prepared?.engine.id ?? 'the engine'} cannot be slowed down on request`, {
      hint: 'Leave --engine out: llama-cpp can.',
    });
  const arms = armsOf(prepared.engine);
  const manifest = withArms(run.manifest, facts, arms);
  const log = await createRun(ask.folder, manifest);
  try {
    const checks = await checkCheats(ask, prepared, facts);
    const clocks = await readClocks(ask);
    ui.line('Measuring the engine against itself and against slower copies');
    const engines = [prepared, ...arms.map(({ engine }) => ({ ...prepared, engine }))];
    const { machinery, signal } = ask;
    const { budgetMs } = manifest.plan;
    const copies = copiesOf(prepared.engine.id, arms);
    const state = await measure({ ...run, log, engines, copies, budgetMs, machinery, signal, ui });
    const compared = compareArms(manifest, log.events, prepared.engine.id, arms);
    const { rejected } = collect(log.events);
    const honest = honestItem(log.events, prepared.engine.id);
    const items = [...compared.items, honest, ...checks, ...clocksItem(clocks)];
    const result: SelftestResult = {
      schemaVersion: 1,
      runoffVersion: manifest.runoffVersion,
      startedAt: manifest.startedAt,
      machine: `${manifest.machine.cpu}, ${manifest.machine.physicalCores} cores, ${manifest.machine.os}`,
      model: manifest.models[0]?.name ?? manifest.plan.model,
      engine: `${prepared.engine.id} (${facts.build?.version ?? 'unknown build'})`,
      state,
      outcome: overall(items),
      items,
      clocks,
      rejectedBlocks: rejected.length,
      remedy: rejected.length === 0 ? null : remedyOf(rejected),
      resolutions: compared.resolutions,
      loadDependent: compared.loadDependent,
    };
    await atomicWrite(join(log.path, RESULT_FILE), `${JSON.stringify(result, null, 2)}\n`);
    return result;
  } finally {
    await log.close();
  }
}

/** One failure fails all; otherwise what could not be told keeps it from passing. */
function overall(items: readonly SelftestItem[]): Outcome {
  if (items.some(({ outcome }) => outcome === 'failed')) return 'failed';
  return items.some(({ outcome }) => outcome === 'undecided') ? 'undecided' : 'passed';
}

function armsOf(engine: Engine): Arm[] {
  const again = `${engine.id}-again`;
  return [
    { id: again, share: null, engine: copyOf(engine, again) },
    ...SLOWDOWNS.map((share) => {
      const id = `${engine.id}-slower-${Math.round(100 * share)}`;
      return { id, share, engine: slowerBy(engine, share, id) };
    }),
  ];
}

/** One build with one set of settings: the gates and the cost of the first are those of all. */
function copiesOf(plain: string, arms: readonly Arm[]): Map<string, EngineCopy> {
  return new Map(arms.map(({ id, share }) => [id, { of: plain, slowdown: 1 + (share ?? 0) }]));
}

function withArms(manifest: Manifest, facts: EngineFacts, arms: readonly Arm[]): Manifest {
  const engines = [facts, ...arms.map(({ id, engine }) => ({ ...facts, id, title: engine.title }))];
  return { ...manifest, engines, plan: { ...manifest.plan, engines: engines.map(({ id }) => id) } };
}

/** The gates on an engine that cheats in each way. */
async function checkCheats(ask: SelftestAsk, prepared: PreparedEngine, facts: EngineFacts): Promise<SelftestItem[]> {
  const items: SelftestItem[] = [];
  for (const cheat of Object.keys(CHEATS) as Cheat[]) {
    const what = CHEAT_TITLES[cheat];
    const cheater = { ...prepared, engine: cheating(prepared.engine, cheat) };
    const onStep = (step: string): void => ask.ui.status(`Gates on ${cheater.engine.id} with ${what} · ${step}`);
    const judgement = await judged(ask, cheater, facts, onStep, (gates) => judgeCheat(cheat, gates));
    items.push({ id: cheat, title: `${what} is caught`, ...judgement });
  }
  return items;
}

const CHEAT_TITLES: Readonly<Record<Cheat, string>> = {
  truncation: 'a prompt cut in half without a word',
  cache: 'a hidden prompt cache',
  'early-stop': 'an answer of half the length',
};

/** By the check that every run begins with. */
function honestItem(events: readonly RunEvent[], plain: string): SelftestItem {
  const gates = events.flatMap((event) => (event.type === 'gate' && event.engine === plain ? [event] : []));
  const failure = events.find((event) => event.type === 'warning' && event.engine === plain);
  const judgement: Judgement =
    gates.length === 0 && failure?.type === 'warning'
      ? { outcome: 'undecided', detail: failure.message }
      : judgeHonest(gates);
  return { id: 'honest', title: 'the engine as it is passes every gate', ...judgement };
}

/** A check that breaks off, as on a machine that is too busy, leaves its question open. */
async function judged(
  ask: SelftestAsk,
  prepared: PreparedEngine,
  facts: EngineFacts,
  onStep: (step: string) => void,
  judge: (gates: readonly Gate[]) => Judgement,
): Promise<Judgement> {
  const gates: GateEvent[] = [];
  const { machinery, run, signal } = ask;
  signal.throwIfAborted();
  const { manifest, workload, bannedTokens, bosToken, vocabularySize } = run;
  try {
    await checkEngine(machinery, {
      prepared,
      facts,
      manifest,
      workload,
      bannedTokens,
      bosToken,
      vocabularySize,
      deadlineMs: machinery.nowMs() + CHECK_MS_MAX,
      append: async (event) => void (event.type === 'gate' && gates.push(event)),
      onStep,
      signal,
    });
  } catch (error) {
    if (signal.aborted || error instanceof AssertionFailure) throw error;
    return { outcome: 'undecided', detail: `could not be checked: ${messageOf(error)}` };
  }
  return judge(gates);
}

async function readClocks({ machinery, run, timed: prepared, signal, ui }: SelftestAsk): Promise<Clocks | null> {
  if (prepared === null) return null;
  ui.status(`Our clock against ${prepared.engine.id}'s own`);
  try {
    return await compareClocks({ machinery, prepared, run, signal });
  } catch (error) {
    if (signal.aborted) throw error;
    ui.line(`${prepared.engine.id} could not be asked for its own times: ${messageOf(error)}`);
    return null;
  }
}

function clocksItem(clocks: Clocks | null): SelftestItem[] {
  if (clocks === null) return [];
  return [{ id: 'clocks', title: `our times of ${clocks.engine} are its own, within 3%`, ...judgeClocks(clocks) }];
}

/** Each arm is judged as a run of two would be: the family of five would ask for more than anybody's run does. */
function compareArms(
  manifest: Manifest,
  events: readonly RunEvent[],
  plain: string,
  arms: readonly Arm[],
): Pick<SelftestResult, 'items' | 'resolutions' | 'loadDependent'> {
  const pairs = arms.map((arm) => ({ ...arm, pair: pairOf(manifest, events, [plain, arm.id]) }));
  const items = pairs.map(({ share, pair }): SelftestItem => {
    const compared = comparePair(pair, { copies: true });
    const noise = noiseIn(pair);
    return share === null
      ? { id: 'same', title: 'the same engine twice is no difference', ...judgeSame(compared, noise) }
      : {
          id: `slower-${Math.round(100 * share)}`,
          title: `a copy slower by ${Math.round(100 * share)}% is found`,
          ...judgeSlower(compared, { plain, share, noise }),
        };
  });
  const same = pairs.find(({ share }) => share === null);
  const largest = pairs.findLast(({ share }) => share !== null);
  const asOthers = largest === undefined ? null : comparePair(largest.pair);
  const { margin } = manifest.plan;
  return {
    items,
    resolutions:
      same === undefined
        ? []
        : resolutions(differencesOf(same.pair, plain, same.id), { blockMs: defaultBlockMs(events, plain), margin }),
    loadDependent: asOthers?.verdict === 'LOAD_DEPENDENT' ? (asOthers.reasons[0] ?? '') : null,
  };
}

/** Why there may be no comparison at all; null where the machine was quiet enough. */
function noiseIn({ events, manifest: { plan } }: ArmPair): string | null {
  const { acceptedBlocks, rejected } = collect(events);
  return runNoise({ planned: plan.blocks, accepted: acceptedBlocks.length, rejected, ended: true }).reason;
}

/** ln of the ratio of their request times, one an accepted block. */
function differencesOf({ events, manifest: { plan } }: ArmPair, plain: string, again: string): number[] {
  const collected = collect(events);
  const [left, right] = [plain, again].map((id) =>
    logs(
      mixValues(
        collected,
        id,
        plan.prompts.map(({ name }) => name),
      ),
    ),
  );
  return (left ?? []).flatMap((value, block) => {
    const other = right?.[block] ?? null;
    return value === null || other === null ? [] : [other - value];
  });
}

/** What a block of two engines as fast as this one takes with the prompts of the default run, ms. */
function defaultBlockMs(events: readonly RunEvent[], plain: string): number {
  const pilot = events.find((event) => event.type === 'pilot' && event.engine === plain);
  if (pilot?.type !== 'pilot') return 0;
  const { prompts, generate, blocks } = planDefaults({});
  const plan = planRun({
    engines: ['a', 'b'].map((id) => ({ id, referenceBackend: null, pilot })),
    prompts: prompts.map((name) => ({ name: String(name), tokenCount: NAMED_PROMPTS[name] ?? Number(name) })),
    generateTokens: generate,
    iterations: 3,
    maxBlocks: blocks,
    remainingMs: Number.MAX_SAFE_INTEGER,
    earlyLook: true,
  });
  return plan.estimateMsPerBlock;
}
