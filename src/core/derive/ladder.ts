/** The overhead ladder: which rung is the base, which rungs share its build, and what each costs. */
import type { Ladder, LadderTokens, Rung } from '../ladder-schema.ts';
import type { EngineFacts, RunRecord, Sample } from '../record.ts';
import { mean } from '../stats/describe.ts';
import { isSameBuild } from '../verdict/same-build.ts';
import { joinWords } from '../verdict/wording.ts';
import { commonPrefix, requestKey } from './certificate.ts';
import type { Collected } from './collect.ts';
import { costsAgainst } from './ladder-costs.ts';
import type { CostsInput } from './ladder-costs.ts';
import { count, measuredSamples, promptValues } from './values.ts';

export interface LadderInput extends CostsInput {
  /** Every engine of the plan in its order, bottom rung first. */
  readonly facts: readonly EngineFacts[];
  readonly notMeasured: RunRecord['notMeasured'];
}

/** Of a rung's cost, in front of and behind its engine's own clock: with more, the layer around it may be the cause. */
const OUTSIDE_SHARE_MAX = 0.2;
const NO_TOKENS = { requestCount: 0, differentCount: 0, tokenCount: 0, firstDifferenceAt: null } as const;

/** Null where the plan is no ladder. */
export function deriveLadder(input: LadderInput): Ladder | null {
  if (!input.manifest.plan.ladder) return null;
  const base = chooseBase(input);
  const costs = base === null ? new Map<string, Rung['costs']>() : costsAgainst(base.id, input);
  const rungs = input.facts.map((facts): Rung => ({
    engine: facts.id,
    build: buildOf(facts, base),
    missing: whyMissing(facts, input),
    tokens: tokensOf(facts.id, base, input.collected),
    costs: costs.get(facts.id) ?? [],
  }));
  return {
    base: base?.id ?? null,
    prompts: base === null ? null : choosePrompts(base.id, input),
    rungs,
    notes: base === null ? [] : [...listNotes(base.id, rungs), ...insideNotes(rungs, input)],
  };
}

/** The lowest rung that was measured and that no gate voided; a void one only where all are. */
function chooseBase({ engines, voided }: LadderInput): EngineFacts | null {
  const ranked = engines.filter(({ referenceBackend }) => referenceBackend === null);
  return ranked.find(({ id }) => !voided.has(id)) ?? ranked[0] ?? null;
}

function buildOf(facts: EngineFacts, base: EngineFacts | null): Rung['build'] {
  if (facts.id === base?.id) return 'base';
  return base !== null && isSameBuild(base, facts) ? 'same' : 'as-shipped';
}

function whyMissing({ id, state, reason, nextStep }: EngineFacts, input: LadderInput): string | null {
  if (input.engines.some((engine) => engine.id === id)) return null;
  if (state === 'unavailable')
    return [reason ?? 'not available', nextStep]
      .flatMap((part) => part ?? [])
      .map((part) => part.replace(/\.?$/, '.'))
      .join(' ')
      .slice(0, 1_900);
  return input.notMeasured.find(({ engine }) => engine === id)?.reason ?? 'no block with it was accepted';
}

/** The prompts with the fewest and the most tokens that the base was measured on: a layer weighs most on the first. */
function choosePrompts(base: string, { manifest, collected }: LadderInput): Ladder['prompts'] {
  const measured = manifest.plan.prompts
    .filter(({ name }) => count(promptValues(collected, base, name, 'request')) > 0)
    .toSorted((left, right) => left.tokenCount - right.tokenCount);
  const [short, long] = [measured[0], measured.at(-1)];
  return short === undefined || long === undefined ? null : { short: short.name, long: long.name };
}

function tokensOf(engine: string, base: EngineFacts | null, collected: Collected): LadderTokens {
  if (engine === base?.id) return { state: 'base', ...NO_TOKENS };
  const ofBase = new Map(samplesOf(collected, base?.id).map((sample) => [requestKey(sample), sample]));
  const lengths: number[] = [];
  const differences: number[] = [];
  for (const sample of samplesOf(collected, engine)) {
    const other = ofBase.get(requestKey(sample));
    const length = Math.min(sample.firstTokens.length, other?.firstTokens.length ?? 0);
    if (other === undefined || length === 0) continue;
    lengths.push(length);
    const agreed = commonPrefix(sample.firstTokens, other.firstTokens);
    if (agreed < length) differences.push(agreed + 1);
  }
  if (lengths.length === 0) return { state: 'unknown', ...NO_TOKENS };
  return {
    state: differences.length === 0 ? 'identical' : 'different',
    requestCount: lengths.length,
    differentCount: differences.length,
    tokenCount: Math.max(...lengths),
    firstDifferenceAt: differences.length === 0 ? null : Math.min(...differences),
  };
}

/** Warm-ups included: they are the same request to every engine, too. */
function samplesOf(collected: Collected, engine: string | undefined): Sample[] {
  return collected.cells.filter((cell) => cell.engine === engine).flatMap(({ samples }) => samples);
}

function listNotes(base: string, rungs: readonly Rung[]): string[] {
  const position = rungs.findIndex(({ engine }) => engine === base);
  const below = rungs.slice(0, position).map(({ engine }) => engine);
  const measured = rungs.filter(({ missing }) => missing === null);
  const diverged = measured.filter(({ build, tokens }) => build === 'same' && tokens.state === 'different');
  return [
    ...(below.length === 0
      ? []
      : [`${base} is the base because ${joinWords(below)} below it gave no result: its own layer's cost is not told.`]),
    ...(measured.length < 2 ? ['Only one rung was measured: there is nothing to compare it with.'] : []),
    ...(measured.length >= 2 && !rungs.some(({ build, missing }) => build === 'same' && missing === null)
      ? [
          `No other rung is known to be on ${base}'s build of the library: every cost is of build + layer together. One build under three rungs: runoff setup --engine libllama llama-cpp-python.`,
        ]
      : []),
    ...diverged.map(
      ({ engine, tokens }) =>
        `${engine} and ${base} are one build, but their greedy tokens differ from token ${tokens.firstDifferenceAt} on: they did not compute the same, so its cost is not the layer's alone.`,
    ),
  ];
}

/**
 * Rungs on the base's build that are slower at a first token, by their own clock, too: what the engine tells of its prefill
 * leaves the connection and the layer around it out, which a reader would otherwise take for the cost.
 */
function insideNotes(rungs: readonly Rung[], { collected }: LadderInput): string[] {
  return rungs
    .filter(({ build }) => build === 'same')
    .flatMap(({ engine, costs }) =>
      costs.flatMap(({ metric, state, prompt, extra }) => {
        if (metric !== 'ttft' || state !== 'costs' || extra === null) return [];
        const outsideMs = outsideOwnClock(collected, engine, prompt);
        if (outsideMs === null || outsideMs > OUTSIDE_SHARE_MAX * extra) return [];
        return [
          `${engine}, "${prompt}": its own clock and ours are ${shortMs(outsideMs)} ms apart at the first token, so that nearly all of the ${shortMs(extra)} ms pass inside its engine, not in the layer around it.`,
        ];
      }),
    );
}

/** Three digits, and never an exponent. */
function shortMs(ms: number): number {
  return Number(ms.toPrecision(3));
}

/** Mean over the measured requests of our time to the first token less the engine's own; null where it tells none. */
function outsideOwnClock(collected: Collected, engine: string, prompt: string): number | null {
  const gaps = collected.cells
    .filter((cell) => cell.engine === engine)
    .flatMap((cell) => measuredSamples(cell, prompt))
    .flatMap(({ ttftMs, enginePrefillMs }) => (enginePrefillMs === null ? [] : [ttftMs - enginePrefillMs]));
  return gaps.length === 0 ? null : Math.max(0, mean(gaps));
}
