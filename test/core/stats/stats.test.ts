import { expect, test } from 'vitest';
import { fasterMean, geometricMean, meanInterval, standardDeviation } from '../../../src/core/stats/describe.ts';
import { blocksNeeded, smallestDetectable } from '../../../src/core/stats/detectable.ts';
import { holm } from '../../../src/core/stats/holm.ts';
import { compactLetters } from '../../../src/core/stats/letters.ts';
import { pairedTest } from '../../../src/core/stats/paired.ts';
import { hodgesLehmann, signedRankApplies, signedRankP } from '../../../src/core/stats/signed-rank.ts';
import { tCdf, tQuantile, tTail } from '../../../src/core/stats/student-t.ts';

test('t quantiles match the printed tables, tails the closed forms', () => {
  expect(tQuantile(0.975, 5)).toBeCloseTo(2.570582, 6);
  expect(tQuantile(0.995, 11)).toBeCloseTo(3.105807, 6);
  expect(tQuantile(0.975, 1)).toBeCloseTo(12.706205, 4);
  expect(tQuantile(0.8, 5)).toBeCloseTo(0.919544, 6);
  expect(tCdf(0, 7)).toBeCloseTo(0.5, 7);
  expect(tCdf(3.105807, 11)).toBeCloseTo(0.995, 6);
  // One degree of freedom is Cauchy: P(T > x) = atan(1 / x) / pi.
  expect(tTail(40, 1)).toBeCloseTo(Math.atan(1 / 40) / Math.PI, 9);
  // Three: P(T > t) = 1/2 - (x / (1 + x^2) + atan x) / pi, x = t / sqrt 3.
  const x = 9 / Math.sqrt(3);
  expect(tTail(9, 3)).toBeCloseTo(0.5 - (x / (1 + x * x) + Math.atan(x)) / Math.PI, 9);
  expect([tCdf(Infinity, 3), tTail(Infinity, 3)]).toEqual([1, 0]);
});

test('a mean interval: 1..5 is 3 +- 2.776 * 1.5811 / sqrt(5)', () => {
  const { estimate, low, high } = meanInterval([1, 2, 3, 4, 5], 0.95);
  expect([estimate, low, high].map((value) => Number(value.toFixed(4)))).toEqual([3, 1.0368, 4.9632]);
});

test('the mean of the faster two thirds, rounded up', () => {
  expect([[7], [3, 1], [9, 2, 4], [8, 1, 3, 2], [5, 1, 2, 3, 4], [6, 5, 4, 3, 2, 1]].map(fasterMean)).toEqual([
    7, 2, 3, 2, 2.5, 2.5,
  ]);
});

test('equal values have no spread, up to rounding', () => {
  expect(standardDeviation([0.1 + 0.2, 0.3, 0.3])).toBe(0);
  expect(standardDeviation([7])).toBe(0);
});

test('a geometric mean has no bounds under three values', () => {
  expect(geometricMean([10, 1_000])).toEqual({ estimate: expect.closeTo(100, 9), low: null, high: null });
  expect(geometricMean([10, 100, 1_000])).toEqual({
    estimate: expect.closeTo(100, 9),
    low: expect.closeTo(0.328, 2),
    high: expect.closeTo(30_482, -2),
  });
});

test('the three paired tests at hand-computed values', () => {
  // d = 0.10, s_d = 0.02, n = 4, se = 0.01: t = 10 and, beyond ln 1.05, 5.121.
  const values = [0.1 - 0.02, 0.1 + 0.02, 0.1 - 0.01, 0.1 + 0.01];
  const scale = 0.02 / standardDeviation(values);
  const result = pairedTest(
    values.map((value) => 0.1 + (value - 0.1) * scale),
    1.05,
  );
  expect(result.mean).toBeCloseTo(0.1, 12);
  expect(result.deviation).toBeCloseTo(0.02, 12);
  expect(result.pDifferent).toBeCloseTo(2 * tTail(10, 3), 10);
  expect(result.pBeyond).toBeCloseTo(2 * tTail(5.121, 3), 5);
  expect(result.pEquivalent).toBeCloseTo(1 - tTail(5.121, 3), 5);
});

test('without spread the tests are certain, and a difference of exactly nothing is no difference', () => {
  expect(pairedTest([0.2, 0.2, 0.2], 1.05)).toMatchObject({ pDifferent: 0, pBeyond: 0, pEquivalent: 1 });
  expect(pairedTest([0, 0, 0], 1.05)).toMatchObject({ pDifferent: 1, pBeyond: 1, pEquivalent: 0 });
});

test('a systematic error takes its size off a difference, and room off equivalence', () => {
  const values = [0.08, 0.12, 0.09, 0.11];
  const plain = (mean: number, margin = 1.05) =>
    pairedTest(
      values.map((value) => value - 0.1 + mean),
      margin,
    );
  const biased = pairedTest(values, 1.05, 0.03);
  expect(biased.mean).toBeCloseTo(0.1, 12);
  expect(biased.pDifferent).toBeCloseTo(plain(0.07).pDifferent, 10);
  expect(biased.pBeyond).toBeCloseTo(plain(0.07).pBeyond, 10);
  expect(pairedTest(values, 1.2, 0.03).pEquivalent).toBeCloseTo(plain(0.13, 1.2).pEquivalent, 10);
  expect(pairedTest(values, 1.05, 0.2)).toMatchObject({ pDifferent: 1, pBeyond: 1 });
  expect(pairedTest([0, 0, 0], 1.05, 0.06).pEquivalent).toBe(1);
});

test('Holm rejects down to the first acceptance and no further', () => {
  const results = holm([0.01, 0.04, 0.03, 0.005], 0.05);
  expect(results.map(({ rejected }) => rejected)).toEqual([true, false, false, true]);
  expect(results.map(({ localAlpha }) => Number(localAlpha.toFixed(4)))).toEqual([0.0167, 0.025, 0.025, 0.0125]);
  expect(holm([], 0.05)).toEqual([]);
});

// Hollander & Wolfe (1973), Hamilton depression scale, 9 patients before and after a tranquilliser.
const BEFORE = [1.83, 0.5, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.3];
const AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
const DEPRESSION = BEFORE.map((value, index) => value - (AFTER[index] ?? 0));

test('the signed-rank test reproduces the published example: V = 40, p = 0.03906', () => {
  expect(signedRankP(DEPRESSION)).toBeCloseTo(0.0390625, 10);
  const { estimate, low, high } = hodgesLehmann(DEPRESSION, 0.95);
  expect(estimate).toBeCloseTo(0.46, 3);
  expect(low).toBeCloseTo(0.01, 3);
  expect(high).toBeCloseTo(0.786, 3);
});

test('signed ranks: smallest p-value is 2^(1-n), ties and zeros stay exact', () => {
  expect(signedRankP([1, 2, 3, 4, 5, 6])).toBe(2 ** -5);
  expect(signedRankP([1, 1, 1, 1, 1, 1])).toBe(2 ** -5);
  expect(signedRankP([1, -1])).toBe(1);
  expect(signedRankP([0, 0])).toBe(1);
  expect(hodgesLehmann([1, 2, 3, 4, 5], 0.95)).toEqual({ estimate: 3, low: null, high: null });
  expect(hodgesLehmann([1, 2, 3, 4, 5, 6], 0.95)).toEqual({ estimate: 3.5, low: 1, high: 6 });
});

test('the signed-rank check applies only where it can reach the level', () => {
  expect(signedRankApplies(6, 0.05)).toBe(true);
  expect(signedRankApplies(6, 0.03)).toBe(false);
  expect(signedRankApplies(5, 0.5)).toBe(false);
  expect(signedRankApplies(8, 0.01)).toBe(true);
});

test('smallest detectable effects of the protocol: s_d 2%, n = 6, three pairs at the first look: 5.8% and 11.2%', () => {
  const { different, faster } = smallestDetectable({ deviation: 0.02, count: 6, alpha: 0.005 / 3, margin: 1.05 });
  expect((100 * Math.log(different)).toFixed(1)).toBe('5.8');
  expect((100 * (faster - 1)).toFixed(1)).toBe('11.2');
});

test('smallest detectable effects without look and family: 2.8% at 6 blocks, 2.0% at 10, 7.1% at 5% spread', () => {
  const at = (deviation: number, count: number): string =>
    (100 * Math.log(smallestDetectable({ deviation, count, alpha: 0.05, margin: 1.05 }).different)).toFixed(1);
  expect([at(0.02, 6), at(0.02, 10), at(0.05, 6), at(0.05, 10)]).toEqual(['2.8', '2.0', '7.1', '5.0']);
});

test('blocks needed grow with the spread and end in "no advice" next to the margin', () => {
  const at = (mean: number, deviation: number): number | null =>
    blocksNeeded({ mean, deviation, alpha: 0.05, margin: 1.05 });
  expect(at(0.3, 0.02)).toBe(6);
  expect(at(0, 0.05)).toBe(10);
  expect(at(0.1, 0.1)).toBe(32);
  expect(at(Math.log(1.05), 0.05)).toBeNull();
});

test('letters join only what is equivalent, and show that ties are not transitive', () => {
  const equivalent =
    (...pairs: string[]) =>
    (left: string, right: string) =>
      pairs.includes(left + right) || pairs.includes(right + left);
  expect(compactLetters(['a', 'b', 'c', 'd'], equivalent('ab', 'bc'))).toEqual({ a: 'a', b: 'ab', c: 'b', d: 'c' });
  expect(compactLetters(['a', 'b', 'c'], equivalent())).toEqual({ a: 'a', b: 'b', c: 'c' });
  expect(compactLetters(['a', 'b', 'c'], equivalent('ab', 'ac', 'bc'))).toEqual({ a: 'a', b: 'a', c: 'a' });
  expect(compactLetters(['x'], equivalent())).toEqual({ x: 'a' });
  expect(compactLetters([], equivalent())).toEqual({});
});
