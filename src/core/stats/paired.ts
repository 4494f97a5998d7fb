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

/** The three tests of the protocol, P6, with se = s_d / sqrt(n). Two values at least. */
export function pairedTest(differences: readonly number[], margin: number): PairedTest {
  assert(differences.length >= 2, 'a paired test needs two blocks');
  assert(margin > 1, 'a margin is a ratio above 1');
  const count = differences.length;
  const average = mean([...differences]);
  const deviation = standardDeviation(differences);
  const standardError = deviation / Math.sqrt(count);
  const excess = Math.abs(average) - Math.log(margin);
  const tail = (distance: number): number => tTail(standardize(distance, standardError), count - 1);
  return {
    count,
    mean: average,
    deviation,
    pDifferent: Math.min(1, 2 * tail(Math.abs(average))),
    pBeyond: excess <= 0 ? 1 : Math.min(1, 2 * tail(excess)),
    pEquivalent: tail(-excess),
  };
}

/** Without any spread a distance is infinitely many standard errors, or none. */
function standardize(distance: number, standardError: number): number {
  if (standardError > 0) return distance / standardError;
  return distance === 0 ? 0 : Math.sign(distance) * Infinity;
}
