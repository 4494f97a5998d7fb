/** The limits of the headline, each a sentence. */
import type { Certificate, EngineFacts, Manifest, RunEvent } from '../record.ts';
import type { RunNoise } from '../validity/noise.ts';
import type { Retired } from '../retirement-schema.ts';
import { BLOCKS_MIN } from '../verdict/compare-family.ts';
import type { Analysis, Look } from '../verdict/looks.ts';
import { describeRetired } from '../verdict/retirement.ts';
import { isSameBuild } from '../verdict/same-build.ts';
import { joinWords, sentence, twinSentence } from '../verdict/wording.ts';
import type { Collected } from './collect.ts';
import { disturbedCaveats } from './disturbed.ts';
import type { Mix, Work } from './work.ts';

export interface CaveatsInput {
  readonly manifest: Manifest;
  readonly facts: readonly EngineFacts[];
  readonly measured: readonly EngineFacts[];
  readonly events: readonly RunEvent[];
  readonly collected: Collected;
  readonly mix: Mix;
  readonly work: Work;
  readonly certificate: Certificate;
  readonly noise: RunNoise;
  readonly analysis: Analysis | null;
  readonly looks: readonly Look[];
  /** Accepted blocks each time that the run was stopped and resumed. */
  readonly stops: readonly number[];
  readonly ended: boolean;
  readonly retired: readonly Retired[];
}

export function listCaveats(input: CaveatsInput): string[] {
  const { mix, work, measured } = input;
  const disturbed = disturbedCaveats(input.events, input.collected, input.ended);
  if (measured.length === 0) return disturbed;
  return [
    ...mix.caveats,
    ...scopeCaveats(input.manifest),
    ...work.reductions,
    ...runningInstances(measured),
    ...absentEngines(input),
    ...retiredEngines(input),
    ...looksCaveat(input),
    ...stopsCaveat(input),
    ...(input.noise.reason === null ? [] : [sentence(`The run is NOISY: ${input.noise.reason}`)]),
    ...disturbed,
    ...weightsCaveat(input.certificate),
    ...settingsCaveat(input.certificate),
    ...buildCaveat(measured),
    ...blindCaveat(input.events),
    ...machineCaveats(input.events),
    ...(input.collected.cells.some(({ loadMs }) => loadMs !== null) ? ['Load times are from a warm page cache.'] : []),
  ];
}

/** Below this size, overheads that a larger model hides decide; see docs/METHODOLOGY.md. */
const SMALL_MODEL_PARAMETERS = 1e9;

/** What this model says about others: the less, the smaller it is. */
function scopeCaveats({ models }: Manifest): string[] {
  const [model] = models;
  if (model === undefined) return [];
  const caveats: string[] = [];
  if (model.parameterCount < SMALL_MODEL_PARAMETERS) {
    const millions = Math.round(model.parameterCount / 1e6);
    caveats.push(
      `A model of ${millions} million parameters does not predict a larger one. Measure yours: runoff run --model FILE.gguf.`,
    );
  }
  if (model.twinOf !== undefined) caveats.push(twinSentence(model.twinOf));
  else if (model.derivedBy !== null) {
    // A copy says the same as the original.
    const effect = model.derivedBy.endsWith('byte for byte') ? '' : "; its answers differ from the original's";
    caveats.push(sentence(`${model.name} was ${model.derivedBy}${effect}`));
  }
  return caveats;
}

/** A server with its own history, cache and load cannot be started anew for every block. */
function runningInstances(measured: readonly EngineFacts[]): string[] {
  const running = measured.filter(({ runningInstance }) => runningInstance).map(({ id }) => id);
  return running.length === 0
    ? []
    : [
        `${joinWords(running)}: this running instance only. It was not restarted between blocks, so its state is part of the result.`,
      ];
}

function absentEngines({ facts, measured }: CaveatsInput): string[] {
  const absent = facts.filter(({ state, id }) => state === 'available' && !measured.some((engine) => engine.id === id));
  return absent.length === 0
    ? []
    : [`Not measured, so neither better nor worse: ${joinWords(absent.map(({ id }) => id))}.`];
}

function retiredEngines({ retired }: CaveatsInput): string[] {
  return retired.map(
    ({ engine, blocks, ...evidence }) =>
      `${engine} was ${describeRetired(evidence, blocks)}. Its other blocks are not measured: neither losses nor ties.`,
  );
}

/** "planned looks, stopped at n" (P5). */
function looksCaveat({ looks, analysis, ended, collected }: CaveatsInput): string[] {
  if (!ended || analysis === null) return [];
  const last = looks.at(-1)?.blocks ?? 0;
  const planned = `Looks were planned after ${joinWords(looks.map(({ blocks }) => String(blocks)))} blocks`;
  if (looks.length === 1 && analysis.blocks === last) return [];
  const unused = collected.acceptedBlocks.length - analysis.blocks;
  const odd = unused > 0 ? `; ${unused} block without its mirror image is not tested` : '';
  return [`${planned}; the run was tested after ${analysis.blocks}${odd}.`];
}

/** Who stops a run can read it, and go on or not as he likes what he reads. */
function stopsCaveat({ stops }: CaveatsInput): string[] {
  const read = [...new Set(stops)].filter((accepted) => accepted >= BLOCKS_MIN);
  if (read.length === 0) return [];
  return [
    `The run was stopped and resumed after ${joinWords(read.map(String))} blocks. It could be read then, which was a test: the looks after that have half of their level.`,
  ];
}

function weightsCaveat({ weights }: Certificate): string[] {
  if (weights.state === 'different') return [sentence(`The engines ran different weights: ${weights.detail}`)];
  return weights.state === 'unproven'
    ? [sentence(`That the engines ran the same weights is not proven: ${weights.detail}`)]
    : [];
}

function settingsCaveat({ settings }: Certificate): string[] {
  if (settings.state === 'tuned')
    return [
      sentence(
        `Tuned: best with best, each engine with its own settings: ${settings.differences.join('; ')}`.slice(0, 1_500),
      ),
    ];
  return settings.state === 'matched'
    ? []
    : [sentence(`Compared as shipped, settings differ: ${settings.differences.join('; ')}`.slice(0, 1_500))];
}

/** Builds are not layers (correction 5). */
function buildCaveat(measured: readonly EngineFacts[]): string[] {
  const isShared = (engine: EngineFacts): boolean =>
    measured.some((other) => other !== engine && isSameBuild(engine, other));
  const others = measured.filter((engine) => !isShared(engine));
  if (others.length < measured.length) {
    return others.length === 0
      ? []
      : [`As shipped, so of build + layer together: ${joinWords(others.map(({ id }) => id))}.`];
  }
  const builds = measured.map(({ build }) => (build === null ? null : (build.library ?? build.version)));
  return measured.length > 1 && new Set(builds).size > 1
    ? ['The engines are different builds: each figure is of build + layer together.']
    : [];
}

/** Heat that the engines make themselves is part of what a user gets, and no disturbance (correction 11). */
function machineCaveats(events: readonly RunEvent[]): string[] {
  const sustained = events.findLast((event) => event.type === 'block-end' && event.sustained !== undefined);
  const plan = events.find((event) => event.type === 'canary-plan');
  return [
    ...(sustained?.type === 'block-end'
      ? [sentence(`Sustained speed, not that of a rested machine: ${sustained.sustained ?? ''}`)]
      : []),
    ...(plan?.mode === 'off' && plan.reason !== null ? [sentence(upperFirst(plan.reason))] : []),
  ];
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function blindCaveat(events: readonly RunEvent[]): string[] {
  const ends = events.filter((event) => event.type === 'cell-end' && event.state === 'complete');
  const blind = ends.every(
    (event) =>
      event.type === 'cell-end' &&
      event.interference.foreignCpuShare === null &&
      event.interference.stealShare === null,
  );
  return ends.length > 0 && blind
    ? ['This system does not tell what other programs did meanwhile: noise was not gated.']
    : [];
}
