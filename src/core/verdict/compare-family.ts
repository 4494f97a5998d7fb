/** Verdicts on every pair of engines in one family: one metric on one prompt. */
import { assert } from '../assert.ts';
import type { Comparison } from '../record.ts';
import { judgeLoad, stealBias, survivesLoad } from '../validity/load.ts';
import { formatPercent } from './wording.ts';
import { smallestDetectable } from '../stats/detectable.ts';
import { mean, meanInterval } from '../stats/describe.ts';
import { holm } from '../stats/holm.ts';
import type { HolmResult } from '../stats/holm.ts';
import { pairedTest } from '../stats/paired.ts';
import type { PairedTest } from '../stats/paired.ts';
import { ALPHA, EARLY_ALPHA } from './looks.ts';
import { crossCheck } from './cross-check.ts';

/** Prompt name of the headline: the mean request time over the prompts that all ranked engines completed. */
export const MIX_PROMPT = 'mix';
/** Below this there is no verdict at all; below the second it is PRELIMINARY, unless it holds at the early look's level. */
export const BLOCKS_MIN = 3;
export const BLOCKS_FIRM = 6;
/** Fewer are PRELIMINARY at any level. */
const BLOCKS_EARLY = 4;

export interface FamilyInput {
  readonly metric: Comparison['metric'];
  readonly prompt: string;
  /** ln of the metric by block, null where the engine is missing; every engine has the same blocks. */
  readonly perEngineLogValues: ReadonlyMap<string, readonly (number | null)[]>;
  /** Only the pairs with this engine, many to one; all pairs without it. */
  readonly against?: string;
  /** Level of this look; Holm shares it out over the pairs. */
  readonly alpha: number;
  /** Practical margin, e.g. 1.05. */
  readonly margin: number;
  /** ln slowdown of the machine by the same blocks, from its quiet level; without it the machine counts as quiet. */
  readonly loads?: readonly (number | null)[];
  /** ln slowdown by what the hypervisor took from the engines in the same blocks; without it, nothing was taken. */
  readonly stolen?: readonly (number | null)[];
  /** Replaces every verdict that would have been given: a noisy run, or no planned look yet. */
  readonly override?: { readonly verdict: 'NOISY' | 'INCONCLUSIVE'; readonly reason: string } | null;
  /** Engine to reason: a gate failed. Its comparisons are VOID and carry no numbers. */
  readonly voided?: ReadonlyMap<string, string>;
  /** Engine to reason: a reference backend, or shortened work. Shown, outside the family, NOT_COMPARED. */
  readonly notCompared?: ReadonlyMap<string, string>;
  /** Pairs that an earlier look settled, because one of their engines was retired: shown as they are, and counted by Holm. */
  readonly settled?: readonly Comparison[];
  /** What qualifies a statement about this pair, e.g. different bits per weight; null where nothing does. */
  readonly qualify?: (a: string, b: string) => string | null;
}

interface Pair {
  readonly a: string;
  readonly b: string;
  /** Log-ratios by common block, positive where a is faster. */
  readonly gains: readonly number[];
  /** Of the machine in the same blocks. */
  readonly loads: readonly (number | null)[];
  /** ln of the error that unequal suffering from the hypervisor may have made. */
  readonly bias: number;
  readonly tested: PairedTest | null;
}

const EMPTY = {
  ratio: null,
  low: null,
  high: null,
  confidence: null,
  faster: null,
  pDifferent: null,
  pBeyond: null,
  pEquivalent: null,
  detectableDifferent: null,
  detectableFaster: null,
} as const;

/** Verdicts that say that a hypothesis was rejected at an earlier look: it stays rejected. */
const REJECTED_BY = {
  pDifferent: ['FASTER', 'SLIGHTLY_FASTER'],
  pBeyond: ['FASTER'],
  pEquivalent: ['EQUIVALENT'],
} as const satisfies Record<string, readonly Comparison['verdict'][]>;

/**
 * All pairs of the family (or those with one engine), in the order of the engines. Holm runs over the ranked pairs, once for each of the three
 * hypotheses (different, beyond the margin, equivalent); printed intervals are Bonferroni over the same pairs at the
 * look's level, so that all of them hold together over the family and the planned looks with 95% confidence.
 */
export function compareFamily(input: FamilyInput): Comparison[] {
  const pairs = listPairs(input);
  const ranked = pairs.filter((pair) => exclusion(input, pair) === null);
  const levelsOf = (hypothesis: keyof typeof REJECTED_BY): HolmResult[] =>
    holm(
      ranked.map((pair) => pValueOf(pair, hypothesis, settledAs(input, pair))),
      input.alpha,
    );
  const levels = {
    different: levelsOf('pDifferent'),
    beyond: levelsOf('pBeyond'),
    equivalent: levelsOf('pEquivalent'),
  };
  return pairs.map((pair) => {
    const excluded = exclusion(input, pair);
    if (excluded !== null) return describeExcluded(input, pair, excluded);
    const settled = settledAs(input, pair);
    if (settled !== null) return settled;
    const rank = ranked.indexOf(pair);
    const [different, beyond, equivalent] = [levels.different[rank], levels.beyond[rank], levels.equivalent[rank]];
    assert(different && beyond && equivalent, 'every ranked pair has its levels');
    return judge(input, pair, { different, beyond, equivalent, pairCount: ranked.length });
  });
}

function settledAs({ settled = [] }: FamilyInput, pair: Pick<Pair, 'a' | 'b'>): Comparison | null {
  return settled.find(({ a, b }) => a === pair.a && b === pair.b) ?? null;
}

/** A settled pair is not tested again: rejected for good, or kept for good. */
function pValueOf(pair: Pair, hypothesis: keyof typeof REJECTED_BY, settled: Comparison | null): number {
  if (settled === null) return pair.tested?.[hypothesis] ?? 1;
  const rejecting: readonly Comparison['verdict'][] = REJECTED_BY[hypothesis];
  return rejecting.includes(settled.verdict) ? 0 : 1;
}

/**
 * Every ranked pair of the headline has its answer: more blocks would not change it. SLIGHTLY_FASTER never stops a run.
 * @param retired engines that get no more blocks: nothing waits for their pairs
 */
export function isResolved(comparisons: readonly Comparison[], retired: readonly string[] = []): boolean {
  const headline = comparisons.filter(({ metric, prompt }) => metric === 'request' && prompt === MIX_PROMPT);
  const done: readonly Comparison['verdict'][] = ['FASTER', 'EQUIVALENT', 'VOID', 'NOT_COMPARED'];
  const isDone = ({ a, b, verdict }: Comparison): boolean =>
    done.includes(verdict) || retired.includes(a) || retired.includes(b);
  return headline.length > 0 && headline.every(isDone);
}

function listPairs(input: FamilyInput): Pair[] {
  const engines = [...input.perEngineLogValues.keys()];
  const isTime = input.metric === 'request' || input.metric === 'ttft';
  return engines.flatMap((a, index) =>
    engines.slice(index + 1).flatMap((b) => {
      if (input.against !== undefined && input.against !== a && input.against !== b) return [];
      const [left, right] = [input.perEngineLogValues.get(a) ?? [], input.perEngineLogValues.get(b) ?? []];
      const common = left.flatMap((value, block) => {
        const other = right[block] ?? null;
        if (value === null || other === null) return [];
        const gain = isTime ? other - value : value - other;
        return [{ gain, load: input.loads?.[block] ?? null, stolen: input.stolen?.[block] ?? null }];
      });
      const gains = common.map(({ gain }) => gain);
      const bias = stealBias(common.map(({ stolen }) => stolen));
      const tested = gains.length >= BLOCKS_MIN ? pairedTest(gains, input.margin, bias) : null;
      return [{ a, b, gains, bias, loads: common.map(({ load }) => load), tested }];
    }),
  );
}

function exclusion(input: FamilyInput, { a, b }: Pair): { verdict: 'VOID' | 'NOT_COMPARED'; reasons: string[] } | null {
  const list = (reasons: ReadonlyMap<string, string> | undefined): string[] =>
    [a, b].flatMap((engine) => reasons?.get(engine) ?? []);
  const voided = list(input.voided);
  if (voided.length > 0) return { verdict: 'VOID', reasons: voided };
  const notCompared = list(input.notCompared);
  return notCompared.length > 0 ? { verdict: 'NOT_COMPARED', reasons: notCompared } : null;
}

/** Outside the family: a plain 95% interval, and none for a void pair. */
function describeExcluded(
  input: FamilyInput,
  pair: Pair,
  excluded: NonNullable<ReturnType<typeof exclusion>>,
): Comparison {
  const numbers = excluded.verdict === 'VOID' ? {} : ratios(pair, ALPHA);
  return { ...identity(input, pair), ...EMPTY, ...numbers, verdict: excluded.verdict, reasons: excluded.reasons };
}

interface Levels {
  readonly different: HolmResult;
  readonly beyond: HolmResult;
  readonly equivalent: HolmResult;
  readonly pairCount: number;
}

function judge(input: FamilyInput, pair: Pair, levels: Levels): Comparison {
  const { tested } = pair;
  const localAlpha = input.alpha / levels.pairCount;
  const base = { ...identity(input, pair), ...EMPTY, ...ratios(pair, localAlpha) };
  const qualifier = input.qualify?.(pair.a, pair.b) ?? null;
  if (tested === null) {
    const blocks = pair.gains.length === 1 ? 'block' : 'blocks';
    const reason = `${pair.gains.length} common ${blocks}; a verdict needs at least ${BLOCKS_MIN}`;
    return {
      ...base,
      verdict: input.override?.verdict ?? 'INCONCLUSIVE',
      reasons: [input.override?.reason ?? [], reason].flat(),
    };
  }
  const detectable = smallestDetectable({
    deviation: tested.deviation,
    count: tested.count,
    alpha: localAlpha,
    margin: input.margin,
    bias: pair.bias,
  });
  const found = verdictOf(levels);
  const checked = crossCheck({ ...found, gains: pair.gains, margin: input.margin, bias: pair.bias });
  const loaded = underLoad(input, pair, { verdict: checked.verdict, localAlpha });
  const verdict = input.override?.verdict ?? loaded.verdict;
  const named = verdict === 'FASTER' || verdict === 'SLIGHTLY_FASTER';
  return {
    ...base,
    verdict,
    faster: named ? (tested.mean > 0 ? 'a' : 'b') : null,
    pDifferent: tested.pDifferent,
    pBeyond: tested.pBeyond,
    pEquivalent: tested.pEquivalent,
    detectableDifferent: detectable.different,
    detectableFaster: detectable.faster,
    reasons: [
      input.override?.reason ?? [],
      checked.reason,
      stealReason(pair.bias),
      verdict === 'EQUIVALENT' ? equivalenceReason(base, pair, found.localAlpha, input.margin) : [],
      loaded.reasons,
      named && qualifier !== null ? `faster, ${qualifier}` : [],
    ].flat(),
  };
}

/**
 * Equivalence is two one-sided tests: it holds where the interval at 1 - 2 alpha is inside the margin. The printed one is
 * two-sided and of all pairs together, and so may reach out of it.
 */
function equivalenceReason(
  { low, high }: Pick<Comparison, 'low' | 'high'>,
  { gains, bias }: Pair,
  localAlpha: number,
  margin: number,
): string[] {
  if (low === null || high === null || (low >= 1 / margin && high <= margin)) return [];
  const { low: from, high: to } = widened(meanInterval(gains, 1 - 2 * localAlpha), bias);
  return [
    `equivalence is a one-sided test each way, whose interval ${Math.exp(from).toFixed(3)}-${Math.exp(to).toFixed(3)} is inside the margin; the 95% interval is two-sided, of all pairs together, and wider`,
  ];
}

/** A ratio of a busy machine is not that of a quiet one (correction 2): no winner is named unless it would win anyway. */
function underLoad(
  { margin }: FamilyInput,
  { gains, loads, bias }: Pair,
  found: {
    readonly verdict: 'FASTER' | 'EQUIVALENT' | 'SLIGHTLY_FASTER' | 'INCONCLUSIVE';
    readonly localAlpha: number;
  },
): { readonly verdict: Comparison['verdict']; readonly reasons: string[] } {
  const { excess, slope } = judgeLoad(gains, loads);
  const follows =
    slope === null ? [] : ['the ratio depends on the load of the machine (its slope over the canary is beyond chance)'];
  const { low, high } = widened(meanInterval(gains, 1 - found.localAlpha), bias);
  const survives = survivesLoad({
    excess,
    verdict: found.verdict,
    nearBound: Math.max(low, -high),
    logMargin: Math.log(margin),
  });
  if (survives) return { verdict: found.verdict, reasons: follows };
  const busy = `the machine was ${formatPercent(Math.expm1(excess ?? 0))} slower than at its quietest, and engines may react differently to that: at rest the result may be another`;
  return { verdict: 'LOAD_DEPENDENT', reasons: [busy, ...follows] };
}

/** Less than this is not worth a sentence: it changes no printed digit. */
const BIAS_TOLD_MIN = 0.005;

function stealReason(bias: number): string[] {
  if (bias < BIAS_TOLD_MIN) return [];
  const share = formatPercent(-Math.expm1(-bias));
  return [
    `the hypervisor took ${share} of the engines' time throughout, from one engine maybe more than from another: the interval and the tests leave that much room`,
  ];
}

function widened<T extends { readonly low: number; readonly high: number }>(interval: T, bias: number): T {
  return { ...interval, low: interval.low - bias, high: interval.high + bias };
}

function verdictOf(levels: Levels): {
  verdict: 'FASTER' | 'EQUIVALENT' | 'SLIGHTLY_FASTER' | 'INCONCLUSIVE';
  localAlpha: number;
} {
  if (levels.beyond.rejected) return { verdict: 'FASTER', localAlpha: levels.beyond.localAlpha };
  if (levels.equivalent.rejected) return { verdict: 'EQUIVALENT', localAlpha: levels.equivalent.localAlpha };
  if (levels.different.rejected) return { verdict: 'SLIGHTLY_FASTER', localAlpha: levels.different.localAlpha };
  return { verdict: 'INCONCLUSIVE', localAlpha: levels.different.localAlpha };
}

function identity(
  input: FamilyInput,
  pair: Pair,
): Pick<Comparison, 'metric' | 'prompt' | 'a' | 'b' | 'blockCount' | 'preliminary'> {
  const blockCount = pair.gains.length;
  return {
    metric: input.metric,
    prompt: input.prompt,
    a: pair.a,
    b: pair.b,
    blockCount,
    preliminary: blockCount >= BLOCKS_MIN && !isFirm(blockCount, input.alpha),
  };
}

function isFirm(blockCount: number, alpha: number): boolean {
  return blockCount >= BLOCKS_FIRM || (blockCount >= BLOCKS_EARLY && alpha <= EARLY_ALPHA);
}

function ratios(pair: Pair, localAlpha: number): Partial<Pick<Comparison, 'ratio' | 'low' | 'high' | 'confidence'>> {
  if (pair.gains.length === 0) return {};
  if (pair.tested === null) return { ratio: Math.exp(mean([...pair.gains])) };
  const { estimate, low, high } = widened(meanInterval(pair.gains, 1 - localAlpha), pair.bias);
  // A wide interval on few blocks may leave the range of a double.
  const bounded = (log: number): number => Math.exp(Math.min(700, Math.max(-700, log)));
  return { ratio: bounded(estimate), low: bounded(low), high: bounded(high), confidence: 1 - ALPHA };
}
