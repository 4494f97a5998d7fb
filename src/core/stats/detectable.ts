/** What a number of blocks can find. */
import { assert } from '../assert.ts';
import { tQuantile } from './student-t.ts';

/** Usual power: a real difference of the printed size is found in 8 of 10 runs. */
const POWER = 0.8;

export interface Detectable {
  /** Ratio above 1 that is found to be "different". */
  readonly different: number;
  /** Ratio above 1 that is found to be FASTER, which is beyond the margin. */
  readonly faster: number;
}

/**
 * exp((t_{1-alpha/2} + t_{.80}) * s_d / sqrt(n)), and that times the margin for FASTER.
 * `alpha` is the local one: the look's alpha over the number of pairs. s_d = 2%, n = 6, three pairs at the look
 * alpha .005: 5.8% (log scale) and 11.2%.
 */
export function smallestDetectable(input: {
  readonly deviation: number;
  readonly count: number;
  readonly alpha: number;
  readonly margin: number;
  /** ln of a systematic error that a difference has to exceed; see pairedTest. */
  readonly bias?: number;
}): Detectable {
  const { deviation, count, alpha, margin, bias = 0 } = input;
  assert(count >= 2, 'a detectable effect needs two blocks');
  const quantiles = tQuantile(1 - alpha / 2, count - 1) + tQuantile(POWER, count - 1);
  const different = Math.exp(bias + (quantiles * deviation) / Math.sqrt(count));
  return { different, faster: different * margin };
}

/** Spread of d_b on a quiet machine; before a run it is not known, and a pilot of one block does not tell it. */
const ASSUMED_DEVIATION = 0.02;

/**
 * What a plan is expected to find: at the level of its last look, shared out over the pairs of its ranked engines.
 * Null without a comparison.
 */
export function expectedDetectable(input: {
  readonly count: number;
  readonly alpha: number;
  readonly engineCount: number;
  readonly margin: number;
}): (Detectable & { readonly deviation: number }) | null {
  const { count, alpha, engineCount, margin } = input;
  const pairs = (engineCount * (engineCount - 1)) / 2;
  if (count < 2 || pairs < 1) return null;
  const found = smallestDetectable({ deviation: ASSUMED_DEVIATION, count, alpha: alpha / pairs, margin });
  return { deviation: ASSUMED_DEVIATION, ...found };
}

/** More blocks than this are no advice: at a minute a block they are hours. */
export const BLOCKS_NEEDED_MAX = 200;

/**
 * Smallest even number of blocks at which a difference of this size and spread is expected (power .80) to be resolved:
 * FASTER where |d| > ln m, EQUIVALENT otherwise. Null above BLOCKS_NEEDED_MAX. A plan for a next run, never a reason
 * to go on with this one.
 */
export function blocksNeeded(input: {
  readonly mean: number;
  readonly deviation: number;
  readonly alpha: number;
  readonly margin: number;
}): number | null {
  const excess = Math.abs(input.mean) - Math.log(input.margin);
  // EQUIVALENT is a one-sided test, FASTER a two-sided one.
  const level = excess > 0 ? 1 - input.alpha / 2 : 1 - input.alpha;
  for (let count = 6; count <= BLOCKS_NEEDED_MAX; count += 2) {
    const quantiles = tQuantile(level, count - 1) + tQuantile(POWER, count - 1);
    if ((quantiles * input.deviation) / Math.sqrt(count) <= Math.abs(excess)) return count;
  }
  return null;
}
