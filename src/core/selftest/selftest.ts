/**
 * What `runoff selftest` expects of runoff itself: the same engine twice is no difference, a known slowdown is found
 * with its sign, and an engine that cheats is void. Pure: judges comparisons and gates that a real run produced.
 */
import type { Comparison, GateEvent } from '../record.ts';
import { standardDeviation } from '../stats/describe.ts';
import { smallestDetectable } from '../stats/detectable.ts';
import { BLOCKS_MIN } from '../verdict/compare-family.ts';

/** Slowdowns that are injected. The smallest is the margin itself: it can be found, but never be FASTER. */
export const SLOWDOWNS = [0.05, 0.1, 0.3] as const;
/** A slowdown of this size that no one finds is a failure of the method, not of the time given. */
const MUST_BE_FOUND = 0.3;

/** `undecided`: the machine was too noisy, or the time too short, to tell. */
export type Outcome = 'passed' | 'failed' | 'undecided';

export interface Judgement {
  readonly outcome: Outcome;
  readonly detail: string;
}

/** How an engine is made to cheat, and the gate that must see it. */
export const CHEATS = {
  truncation: 'truncation',
  cache: 'prompt-cache',
  'early-stop': 'early-end',
} as const satisfies Record<string, GateEvent['gate']>;
export type Cheat = keyof typeof CHEATS;

export type Gate = Pick<GateEvent, 'gate' | 'outcome' | 'detail'>;
type Pair = Pick<Comparison, 'a' | 'b' | 'verdict' | 'faster' | 'ratio' | 'low' | 'high' | 'blockCount' | 'reasons'>;

/** With fewer blocks no test was made, and none of the numbers says anything. */
function isTested(pair: Pair | null): pair is Pair {
  if (pair === null || pair.verdict === 'NOT_COMPARED') return false;
  return pair.verdict !== 'INCONCLUSIVE' || pair.blockCount >= BLOCKS_MIN;
}

/**
 * The same engine twice. Null: there was no comparison.
 * @param noise why blocks were rejected, where too many were
 */
export function judgeSame(pair: Pair | null, noise: string | null): Judgement {
  if (!isTested(pair)) return tooFew(noise);
  if (pair.verdict === 'NOISY') return noisy(pair);
  const told = `${pair.verdict}, ${intervalOf(pair)}`;
  if (pair.verdict === 'LOAD_DEPENDENT') return busy(told, pair);
  if (pair.verdict === 'EQUIVALENT' || pair.verdict === 'INCONCLUSIVE') return { outcome: 'passed', detail: told };
  return {
    outcome: 'failed',
    detail: `${told}: the same engine twice is no difference. Chance alone does this in one of twenty selftests; if it happens again, processes of one engine differ on this machine.`,
  };
}

/** An engine against its copy that is slower by `share`. */
export function judgeSlower(
  pair: Pair | null,
  { plain, share, noise }: { readonly plain: string; readonly share: number; readonly noise: string | null },
): Judgement {
  if (!isTested(pair)) return tooFew(noise);
  if (pair.verdict === 'NOISY') return noisy(pair);
  const told = `${pair.verdict}, ${intervalOf(pair)}`;
  const fasterId = pair.faster === null ? null : pair[pair.faster];
  if (fasterId === plain) return { outcome: 'passed', detail: told };
  if (fasterId !== null) return { outcome: 'failed', detail: `${told}: the wrong sign` };
  if (pair.verdict === 'LOAD_DEPENDENT') return busy(told, pair);
  if (pair.verdict === 'VOID') return { outcome: 'failed', detail: `void: ${pair.reasons.join('; ')}` };
  if (share >= MUST_BE_FOUND) return { outcome: 'failed', detail: `${told}: not found` };
  if (pair.verdict === 'EQUIVALENT' && share > SLOWDOWNS[0])
    return { outcome: 'failed', detail: `${told}: called equal` };
  return {
    outcome: 'undecided',
    detail: [`${told}: not resolved in this time`, ...pair.reasons.slice(0, 1)].join('; '),
  };
}

/** A cheating engine must fail the gate that is made for it, whatever else it fails. */
export function judgeCheat(cheat: Cheat, gates: readonly Gate[]): Judgement {
  const gate = gates.find((candidate) => candidate.gate === CHEATS[cheat]);
  if (gate === undefined) return { outcome: 'failed', detail: `the gate ${CHEATS[cheat]} did not run` };
  return { outcome: gate.outcome === 'failed' ? 'passed' : 'failed', detail: gate.detail };
}

/** The honest engine must pass every gate; one that could not be told is no failure. */
export function judgeHonest(gates: readonly Gate[]): Judgement {
  const bad = gates.filter(({ outcome }) => outcome === 'failed');
  if (gates.length === 0) return { outcome: 'failed', detail: 'no gate ran' };
  if (bad.length === 0) return { outcome: 'passed', detail: `${gates.length} gates, none failed` };
  return { outcome: 'failed', detail: bad.map(({ gate, detail }) => `${gate}: ${detail}`).join('; ') };
}

/** Client and engine look at one request; more apart than this, one of the two clocks is wrong. */
const CLOCKS_APART_MAX = 1.03;

export interface Clocks {
  readonly engine: string;
  readonly requestCount: number;
  /** Our time over the engine's own, median of the requests; null where it does not tell. */
  readonly prefillRatio: number | null;
  readonly decodeRatio: number | null;
}

/** Our clock against the engine's own. The prefill seen from outside holds the transport, so it may only be longer. */
export function judgeClocks({ prefillRatio, decodeRatio, requestCount }: Clocks): Judgement {
  const told = [['prefill', prefillRatio] as const, ['decode', decodeRatio] as const].flatMap(([name, ratio]) =>
    ratio === null ? [] : [{ name, ratio }],
  );
  if (told.length === 0) return { outcome: 'undecided', detail: 'the engine tells no times of its own' };
  const detail = `${told.map(({ name, ratio }) => `${name} ours / its own ${ratio.toFixed(3)}`).join(', ')} (median of ${requestCount} requests)`;
  const wrong = told.filter(({ ratio }) => Math.max(ratio, 1 / ratio) > CLOCKS_APART_MAX);
  return wrong.length === 0
    ? { outcome: 'passed', detail }
    : { outcome: 'failed', detail: `${detail}: more than 3% apart` };
}

export interface Resolution {
  readonly blocks: number;
  /** Measuring time of a run with two engines, ms. */
  readonly runMs: number;
  /** Smallest difference found in 8 of 10 runs, e.g. 0.04. */
  readonly different: number;
  /** The same for the verdict FASTER, which is beyond the margin. */
  readonly faster: number;
}

const BLOCK_COUNTS = [6, 8, 12, 20] as const;
const ALPHA = 0.05;

/**
 * What a run with two engines can tell apart here, from the spread of the same engine against itself.
 * @param differences ln of the ratio of the two, one a block
 * @param blockMs of two engines with the default prompts
 */
export function resolutions(
  differences: readonly number[],
  { blockMs, margin }: { readonly blockMs: number; readonly margin: number },
): Resolution[] {
  if (differences.length < BLOCKS_MIN) return [];
  const deviation = standardDeviation(differences);
  return BLOCK_COUNTS.map((count) => {
    const { different, faster } = smallestDetectable({ deviation, count, alpha: ALPHA, margin });
    return { blocks: count, runMs: count * blockMs, different: different - 1, faster: faster - 1 };
  });
}

function tooFew(noise: string | null): Judgement {
  return noise === null
    ? { outcome: 'undecided', detail: `fewer than ${BLOCKS_MIN} blocks were measured` }
    : noisyBecause(noise);
}

function noisy({ reasons }: Pair): Judgement {
  return noisyBecause(reasons[0] ?? 'other work took the processor');
}

function busy(told: string, { reasons }: Pair): Judgement {
  return { outcome: 'undecided', detail: [told, ...reasons.slice(0, 1)].join(': ') };
}

function noisyBecause(reason: string): Judgement {
  return { outcome: 'undecided', detail: `NOISY: ${reason}` };
}

function intervalOf({ ratio, low, high, blockCount }: Pair): string {
  const range = low === null || high === null ? '' : ` (${low.toFixed(3)}-${high.toFixed(3)})`;
  return `ratio ${ratio?.toFixed(3) ?? '?'}${range}, ${blockCount} blocks`;
}
