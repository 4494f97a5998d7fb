/** Tests on paired log-ratios, one per block. */
import { assert } from '../assert.ts';
import { mean, standardDeviation } from './describe.ts';
import { tTail } from './student-t.ts';

export interface PairedTest {
  readonly count: number;
  /** Mean log-ratio d. */
  readonly mean: number;
  /** Standard deviation of the log-ratios, s_d. */
  readonly deviation: number;
  /** H0: no difference. 2 P(T > |d| / se). */
  readonly pDifferent: number;
  /** H0: the difference is within the margin. 2 P(T > (|d| - ln m) / se); 1 if |d| <= ln m. */
  readonly pBeyond: number;
  /** H0: the difference is beyond the margin. P(T > (ln m - |d|) / se). */
  readonly pEquivalent: number;
}

/**
 * The three tests of the protocol, P6, with se = s_d / sqrt(n). Two values at least.
 * @param bias ln of a systematic error that the differences may have, in either direction: what lies within it is not
 *   a difference, and equivalence has that much less room
 */
export function pairedTest(differences: readonly number[], margin: number, bias = 0): PairedTest {
  assert(differences.length >= 2, 'a paired test needs two blocks');
  assert(margin > 1, 'a margin is a ratio above 1');
  assert(bias >= 0, 'a bias is a size');
  const count = differences.length;
  const average = mean([...differences]);
  const deviation = standardDeviation(differences);
  const standardError = deviation / Math.sqrt(count);
  const distance = Math.abs(average) - bias;
  const excess = distance - Math.log(margin);
  const room = Math.log(margin) - bias - Math.abs(average);
  const tail = (size: number): number => tTail(standardize(size, standardError), count - 1);
  return {
    count,
    mean: average,
    deviation,
    pDifferent: distance <= 0 ? 1 : Math.min(1, 2 * tail(distance)),
    pBeyond: excess <= 0 ? 1 : Math.min(1, 2 * tail(excess)),
    pEquivalent: tail(room),
  };
}

/** Without any spread a distance is infinitely many standard errors, or none. */
function standardize(distance: number, standardError: number): number {
  if (standardError > 0) return distance / standardError;
  return distance === 0 ? 0 : Math.sign(distance) * Infinity;
}
