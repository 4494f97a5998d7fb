/** The arithmetic of the bench: ratios to a peer, and where the time of a token goes. Pure. */
import { geometricMean, meanInterval } from '../../src/core/stats/describe.ts';

const CONFIDENCE = 0.95;
/** With two values t is 12.7, and an interval says nothing. */
const ROUNDS_MIN = 3;

/** Bounds are null below three rounds. */
export interface Estimate {
  readonly estimate: number;
  readonly low: number | null;
  readonly high: number | null;
}

/** Ratio of two times, one pair a round: geometric mean, t interval of the log-ratios. */
export function ratioOf(through: readonly number[], peer: readonly number[]): Estimate {
  return geometricMean(
    through.map((value, round) => value / (peer[round] ?? Number.NaN)),
    CONFIDENCE,
  );
}

/** Milliseconds of one token in one round. */
export interface TokenTime {
  /** As a user of runoff sees it. */
  readonly total: number;
  /** In the calls that compute the model. */
  readonly engine: number;
  /** Choosing the token. */
  readonly sampling: number;
  /** The engine's own loop around both, by the clock inside it. */
  readonly loop: number;
  /** Between the engine's own clock and ours; null where there is nothing between them. */
  readonly transport: number | null;
}

export const PARTS = ['engine', 'sampling', 'loop', 'transport', 'rest'] as const;
export type Part = (typeof PARTS)[number];

/** Shares of the total, which add up to 1; the rest is what no part explains. Null: there is no such part. */
export function splitShares(rounds: readonly TokenTime[]): Record<Part, Estimate | null> {
  const shares = rounds.map(({ total, engine, sampling, loop, transport }) => ({
    engine: engine / total,
    sampling: sampling / total,
    loop: loop / total,
    transport: (transport ?? 0) / total,
    rest: (total - engine - sampling - loop - (transport ?? 0)) / total,
  }));
  const share = (part: Part): Estimate => meanShare(shares.map((values) => values[part]));
  return {
    engine: share('engine'),
    sampling: share('sampling'),
    loop: share('loop'),
    transport: rounds.some(({ transport }) => transport !== null) ? share('transport') : null,
    rest: share('rest'),
  };
}

/** Mean with its t interval; bounds are null below three values. */
export function meanShare(values: readonly number[]): Estimate {
  if (values.length >= ROUNDS_MIN) return meanInterval(values, CONFIDENCE);
  return { estimate: values.reduce((sum, value) => sum + value, 0) / values.length, low: null, high: null };
}

/**
 * Rounds that would tell that the truth lies inside the limits, if it lies in their middle and the spread stays: the
 * interval shrinks with the root of their number. Null without an interval.
 */
export function roundsToTell(
  { low, high }: Estimate,
  limits: { readonly low: number; readonly high: number },
  rounds: number,
): number | null {
  if (low === null || high === null) return null;
  return Math.round(rounds * ((high - low) / (limits.high - limits.low)) ** 2);
}

/** `open`: the interval reaches over a limit, so that more rounds could tell. */
export type Judgement = 'holds' | 'open' | 'DOES NOT HOLD';

/** Whether the truth lies inside the limits: beyond doubt, beyond doubt not, or open. */
export function judge({ low, high }: Estimate, limits: { readonly low: number; readonly high: number }): Judgement {
  if (low === null || high === null) return 'open';
  if (low >= limits.low && high <= limits.high) return 'holds';
  return high < limits.low || low > limits.high ? 'DOES NOT HOLD' : 'open';
}
