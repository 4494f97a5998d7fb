/**
 * The protocol's simulations, smaller, with fixed seeds: does the whole chain (order, medians, pairing, looks, Holm,
 * margin, rank check) keep its promises under machine noise? docs/METHODOLOGY.md quotes the large ones.
 */
import { describe, expect, test } from 'vitest';
import { REGIMES } from '../../bench/statistics/regimes.ts';
import type { Regime } from '../../bench/statistics/regimes.ts';
import { covers, judge, measure, regimeOf, simulate as simulateRuns } from '../../bench/statistics/simulate.ts';
import type { Engines } from '../../bench/statistics/simulate.ts';
import { createRandom, normal } from '../../src/core/random.ts';
import type { Random } from '../../src/core/random.ts';
import type { Comparison } from '../../src/core/record.ts';
import { standardDeviation } from '../../src/core/stats/describe.ts';

const RUNS = 1_000;

function share(count: number, of: number): number {
  return count / of;
}

function simulate(name: string, engines: Engines, blocks = 12, runs = RUNS): Comparison[][] {
  return simulateRuns(name, engines, blocks, runs).map(({ comparisons }) => comparisons);
}

function run(values: ReadonlyMap<string, readonly number[]>, blocks: number): Comparison[] {
  return judge(values, blocks).comparisons;
}

describe.each(Object.keys(REGIMES))('in the %s regime', (name) => {
  const same = simulate(name, { a: 0, b: 0 });

  test('two equal engines: the interval covers 1 in at least 94%, a false FASTER in at most 2%', () => {
    expect(share(same.filter(([found]) => covers(found, 1)).length, RUNS)).toBeGreaterThanOrEqual(0.94);
    expect(share(same.filter(([found]) => found?.verdict === 'FASTER').length, RUNS)).toBeLessThanOrEqual(0.02);
    expect(
      share(same.filter(([found]) => found?.verdict === 'FASTER' || found?.verdict === 'SLIGHTLY_FASTER').length, RUNS),
    ).toBeLessThanOrEqual(0.05);
  });

  // Where a neighbour comes and goes, real runs measure disturbed blocks again; these do not.
  const foundMin = name === 'neighbour' || name === 'everything' ? 12 : 18;

  test(`an engine 20% slower: found and covered in at least ${foundMin} of 20 runs, never the wrong way round`, () => {
    const found = simulate(name, { a: 0, b: Math.log(1.2) }, 12, 20).flat();
    const good = found.filter(
      (comparison) => comparison.verdict === 'FASTER' && comparison.faster === 'a' && covers(comparison, 1.2),
    );
    expect(good.length).toBeGreaterThanOrEqual(foundMin);
    expect(found.filter(({ faster }) => faster === 'b')).toEqual([]);
  });
});

test.each([0.01, 0.02])('quiet and equal with a spread of %d: EQUIVALENT in at least 80%', (deviation) => {
  const regime = (random: Random): Regime => ({
    cell: () => (deviation / Math.SQRT2) * normal(random),
    request: () => 0,
  });
  const verdicts = Array.from({ length: 300 }, (_, seed) => {
    const values = measure(regime(createRandom('equal', deviation, seed)), { a: 0, b: 0 }, 12, seed);
    return run(values, 12)[0]?.verdict;
  });
  expect(share(verdicts.filter((verdict) => verdict === 'EQUIVALENT').length, 300)).toBeGreaterThanOrEqual(0.8);
});

test('an injected 30% is found in at least 7 of 10 runs on a machine with a spread of 10%', () => {
  const regime = (random: Random): Regime => ({
    cell: () => 0.07 * normal(random),
    request: () => 0.02 * normal(random),
  });
  const found = Array.from(
    { length: 10 },
    (_, seed) => run(measure(regime(createRandom('injected', seed)), { a: 0, b: Math.log(1.3) }, 12, seed), 12)[0],
  );
  expect(
    found.filter((comparison) => comparison?.verdict === 'FASTER' && comparison.faster === 'a').length,
  ).toBeGreaterThanOrEqual(7);
});

test('four engines under drift: a false FASTER anywhere in at most 2% of runs, all intervals together cover in 94%', () => {
  const runs = simulate('drift', { a: 0, b: 0, c: 0, d: 0 }, 12, 500);
  expect(
    share(runs.filter((found) => found.some(({ verdict }) => verdict === 'FASTER')).length, 500),
  ).toBeLessThanOrEqual(0.02);
  expect(
    share(runs.filter((found) => found.every((comparison) => covers(comparison, 1))).length, 500),
  ).toBeGreaterThanOrEqual(0.94);
});

test('mirrored random order is what makes it hold: all of a before all of b fails under heat', () => {
  const wrong = Array.from({ length: 200 }, (_, seed) => {
    const regime = regimeOf('thermal', seed);
    const column = (first: number): number[] =>
      Array.from({ length: 6 }, (_unused, index) => regime.cell(first + index));
    return run(
      new Map([
        ['a', column(0)],
        ['b', column(6)],
      ]),
      6,
    )[0];
  });
  expect(share(wrong.filter((found) => covers(found, 1)).length, 200)).toBeLessThan(0.5);
});

test('pairing removes the drift that engines share', () => {
  const values = measure(regimeOf('drift', 1), { a: 0, b: 0 }, 200, 1);
  const [a, b] = [values.get('a') ?? [], values.get('b') ?? []];
  const paired = standardDeviation(a.map((value, block) => value - (b[block] ?? 0)));
  expect(paired).toBeLessThan(0.8 * Math.hypot(standardDeviation(a), standardDeviation(b)));
});
