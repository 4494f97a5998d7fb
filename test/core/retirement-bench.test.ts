/**
 * The protocol's simulations of early retirement, smaller, with fixed seeds: equal engines and one that is three times
 * slower. `npm run bench -- statistics` prints the large ones.
 */
import { describe, expect, test } from 'vitest';
import { REGIMES } from '../../bench/statistics/regimes.ts';
import { retirementShares } from '../../bench/statistics/retirement.ts';
import { regimeOf } from '../../bench/statistics/simulate.ts';
import { wholeRun } from '../../bench/statistics/whole-run.ts';

const RUNS = 150;
const SLOW = Math.log(3);

describe.each(Object.keys(REGIMES))('in the %s regime', (name) => {
  test.each([
    ['three', { a: 0, b: 0, slow: SLOW }],
    ['four', { a: 0, b: 0, c: 0, slow: SLOW }],
  ] as const)(
    '%s engines: false FASTER in at most 2%%, "different" in at most 5%%, nobody else retired',
    (_, engines) => {
      const { faster, different, wrong } = retirementShares(name, engines, RUNS);
      expect(faster).toBeLessThanOrEqual(0.02);
      expect(different).toBeLessThanOrEqual(0.05);
      expect(wrong).toBe(0);
    },
  );

  test('an engine that is 1.9 times slower is not retired', () => {
    expect(retirementShares(name, { a: 0, b: 0, slow: Math.log(1.9) }, RUNS).retired).toBeLessThanOrEqual(0.01);
  });
});

test.each(['quiet', 'skewed', 'drift', 'thermal'])(
  '%s: the slow one is retired, and a quarter of the time is saved',
  (name) => {
    const { retired, saved } = retirementShares(name, { a: 0, b: Math.log(1.05), slow: SLOW }, RUNS);
    expect(retired).toBeGreaterThan(0.9);
    expect(saved).toBeGreaterThan(0.25);
  },
);

test('without retirement the same run is measured to the end', () => {
  const engines = { a: 0, b: Math.log(1.05), slow: SLOW };
  const whole = wholeRun(regimeOf('quiet', 1), engines, { blocks: 12, seed: 1, withRetirement: false });
  expect(whole.retired).toEqual([]);
  expect(whole.comparisons.every(({ blockCount }) => blockCount === whole.blocks)).toBe(true);
});
