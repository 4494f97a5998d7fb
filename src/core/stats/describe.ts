/** Means, spreads and one-sample intervals. */
import { mean, median, sampleStandardDeviation } from 'simple-statistics';
import { assert } from '../assert.ts';
import { tQuantile } from './student-t.ts';

export { mean, median };

/** Rounding leaves this much spread, relative to the mean, in values that are equal. */
const RELATIVE_ROUNDING = 1e-12;

/** Sample standard deviation (n - 1); 0 for fewer than two values and for values equal up to rounding. */
export function standardDeviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const deviation = sampleStandardDeviation([...values]);
  return deviation <= RELATIVE_ROUNDING * (1 + Math.abs(mean([...values]))) ? 0 : deviation;
}

/** Of the absolute deviations of normal values, the standard deviation over the median. */
const NORMAL_OVER_MEDIAN = 1.4826;

/** Standard deviation of normal values of which nearly half may be something else, from the median of what they are off their middle. */
export function robustDeviation(deviations: readonly number[]): number {
  assert(deviations.length > 0, 'a deviation needs a value');
  return NORMAL_OVER_MEDIAN * median(deviations.map(Math.abs));
}

/** Of the requests of a process, those that count. */
const FASTER_SHARE = 2 / 3;

/**
 * Mean of the faster two thirds, rounded up: of two of three. What else happens on a machine only ever adds time, so the
 * slowest says most about the machine and least about the engine. Against the median it finds a difference of 5% in 89%
 * instead of 76% of simulated runs where requests stall, and is no worse elsewhere (docs/BENCHES.md); the fastest alone
 * would flatter an engine that is slow in two requests of three.
 * @param times in any unit, at least one
 */
export function fasterMean(times: readonly number[]): number {
  assert(times.length > 0, 'a mean needs a value');
  const sorted = times.toSorted((left, right) => left - right);
  return mean(sorted.slice(0, Math.ceil(FASTER_SHARE * times.length)));
}

export interface Interval {
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
}

/** mean +- t_{(1+confidence)/2, n-1} * s / sqrt(n). Needs two values. */
export function meanInterval(values: readonly number[], confidence: number): Interval {
  assert(values.length >= 2, 'an interval needs two values');
  const estimate = mean([...values]);
  const halfWidth =
    (tQuantile((1 + confidence) / 2, values.length - 1) * standardDeviation(values)) / Math.sqrt(values.length);
  return { estimate, low: estimate - halfWidth, high: estimate + halfWidth };
}

/** Fewest values for an interval in a report: with two, t_.975 is 12.7 and the interval says nothing. */
const INTERVAL_VALUES_MIN = 3;

/** Geometric mean of positive values with a t interval on the log scale; null bounds under 3 values. */
export function geometricMean(
  values: readonly number[],
  confidence = 0.95,
): { readonly estimate: number; readonly low: number | null; readonly high: number | null } {
  assert(values.length > 0 && values.every((value) => value > 0), 'a geometric mean needs positive values');
  const logs = values.map(Math.log);
  if (logs.length < INTERVAL_VALUES_MIN) return { estimate: Math.exp(mean(logs)), low: null, high: null };
  const { estimate, low, high } = meanInterval(logs, confidence);
  return { estimate: Math.exp(estimate), low: Math.exp(low), high: Math.exp(high) };
}
