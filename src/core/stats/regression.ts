/** Least squares for one explaining variable. */
import { assert } from '../assert.ts';
import { mean } from './describe.ts';
import { tTail } from './student-t.ts';

export interface Regression {
  readonly slope: number;
  /** Two-sided, H0: slope 0, on n - 2 degrees of freedom. 1 where x or y do not vary. */
  readonly p: number;
}

/** Fewest points: with three, one degree of freedom is left and t_.975 is 12.7. */
export const REGRESSION_COUNT_MIN = 4;

/** y = a + slope * x. */
export function regress(x: readonly number[], y: readonly number[]): Regression {
  assert(x.length === y.length && x.length >= REGRESSION_COUNT_MIN, 'a regression needs four pairs');
  const [centerX, centerY] = [mean([...x]), mean([...y])];
  const sum = (term: (dx: number, dy: number) => number): number =>
    x.reduce((total, value, index) => total + term(value - centerX, (y[index] ?? 0) - centerY), 0);
  const [xx, xy, yy] = [sum((dx) => dx * dx), sum((dx, dy) => dx * dy), sum((_, dy) => dy * dy)];
  if (xx <= 0 || yy <= 0) return { slope: 0, p: 1 };
  const slope = xy / xx;
  const freedom = x.length - 2;
  const residual = Math.max(0, yy - slope * xy);
  const standardError = Math.sqrt(residual / freedom / xx);
  return { slope, p: standardError === 0 ? 0 : Math.min(1, 2 * tTail(Math.abs(slope) / standardError, freedom)) };
}
