/** Student's t distribution (jstat; tests compare it with printed tables and closed forms). */
import jstat from 'jstat';
import { assert } from '../assert.ts';

const { studentt } = jstat.jStat;

/** P(T <= x) for T with `degreesOfFreedom`. */
export function tCdf(x: number, degreesOfFreedom: number): number {
  assert(degreesOfFreedom >= 1, 'a t distribution has at least one degree of freedom');
  if (x === Infinity) return 1;
  if (x === -Infinity) return 0;
  return studentt.cdf(x, degreesOfFreedom);
}

/** P(T > x), without cancellation in the far tail. */
export function tTail(x: number, degreesOfFreedom: number): number {
  return tCdf(-x, degreesOfFreedom);
}

/** x with P(T <= x) = probability. */
export function tQuantile(probability: number, degreesOfFreedom: number): number {
  assert(probability > 0 && probability < 1, 'a quantile has a probability inside 0..1');
  assert(degreesOfFreedom >= 1, 'a t distribution has at least one degree of freedom');
  return studentt.inv(probability, degreesOfFreedom);
}
