/** Planned looks: when the result may be tested, and at which level (alpha spending, total .05). */
import { assert } from '../assert.ts';

/** A run tests at 5%, shared out over its looks. */
export const ALPHA = 0.05;
/** Below this, no look: the first one is at 6 blocks. */
const FIRST_LOOK = 6;

/** Levels by number of looks. Type I 2.5-4.7% in the protocol's simulations; 11-23% when peeking after every block. */
const ALPHAS: Readonly<Record<number, readonly number[]>> = { 1: [0.05], 2: [0.01, 0.04], 3: [0.005, 0.01, 0.035] };

export interface Look {
  /** Accepted blocks at which the result is tested. */
  readonly blocks: number;
  readonly alpha: number;
}

/**
 * Looks to register for a run of `blocks` planned blocks: {6, ceil(2N/3) up to even, N} from 12 on, {6, N} from 8 on,
 * else {N}. Looks are at even counts, because blocks are mirrored in pairs; only runs under 6 blocks may end odd.
 */
export function registerLooks(blocks: number): Look[] {
  const last = blocks < FIRST_LOOK ? blocks : blocks - (blocks % 2);
  if (last < 1) return [];
  if (last < 8) return withAlphas([last]);
  if (last < 12) return withAlphas([FIRST_LOOK, last]);
  const second = Math.ceil((2 * last) / 3);
  return withAlphas([FIRST_LOOK, second + (second % 2), last]);
}

/** Levels of looks that a manifest registered. A number of looks that we never register gets equal shares. */
export function withAlphas(counts: readonly number[]): Look[] {
  const alphas = ALPHAS[counts.length];
  return counts.map((blocks, index) => ({ blocks, alpha: alphas?.[index] ?? ALPHA / counts.length }));
}

export interface Analysis {
  /** Accepted blocks that enter, in order of acceptance. */
  readonly blocks: number;
  readonly alpha: number;
  /** Level to use instead where the run is over and `alpha` leaves a pair unresolved; equal to `alpha` otherwise. */
  readonly alphaIfUnresolved: number;
}

/**
 * How a run with `accepted` blocks may be tested. While it runs: at the last look that it passed; null before the first.
 * After it ended early: with everything that is left of .05 (correction 14).
 */
export function analysisFor(input: {
  readonly looks: readonly Look[];
  readonly accepted: number;
  readonly ended: boolean;
}): Analysis | null {
  const { looks, accepted, ended } = input;
  assert(looks.length > 0, 'a run registers at least one look');
  const usable = accepted < FIRST_LOOK ? accepted : accepted - (accepted % 2);
  const current = looks.findLast((look) => look.blocks <= usable);
  if (!ended) {
    return current === undefined ? null : { ...current, alphaIfUnresolved: current.alpha };
  }
  const left = looks.filter((look) => look.blocks >= usable).reduce((sum, look) => sum + look.alpha, 0);
  const lastAlpha = looks.at(-1)?.alpha ?? ALPHA;
  const alphaIfUnresolved = Math.max(left, lastAlpha);
  return { blocks: usable, alpha: current?.blocks === usable ? current.alpha : alphaIfUnresolved, alphaIfUnresolved };
}
