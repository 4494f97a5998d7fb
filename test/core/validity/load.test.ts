import { describe, expect, test } from 'vitest';
import { regress } from '../../../src/core/stats/regression.ts';
import { judgeLoad, quietLevel, stealBias, stolenByBlock, survivesLoad } from '../../../src/core/validity/load.ts';

describe('regression', () => {
  test('slope and p: by hand, the tail of t with 4 degrees of freedom by numeric integration', () => {
    const { slope, p } = regress([1, 2, 3, 4, 5, 6], [2.1, 3.9, 6.2, 7.8, 10.1, 11.7]);
    expect(slope).toBeCloseTo(34.1 / 17.5, 9);
    expect(p).toBeCloseTo(1.829808727e-6, 11);
  });

  test('what does not vary explains nothing', () => {
    expect(regress([1, 1, 1, 1], [1, 2, 3, 4])).toEqual({ slope: 0, p: 1 });
    expect(regress([1, 2, 3, 4], [5, 5, 5, 5])).toEqual({ slope: 0, p: 1 });
  });
});

test('what was stolen, by block: of the cores that the engines used; its error is at most its mean', () => {
  const cells = [
    { block: 0, stealShare: 0.03 },
    { block: 0, stealShare: 0.05 },
    { block: 1, stealShare: null },
    { block: 2, stealShare: 0.04 },
  ];
  const byBlock = stolenByBlock(cells, [2, 0, 1], { cores: 2, threads: 2 });
  expect(byBlock.map((value) => value?.toFixed(6) ?? null)).toEqual(['0.040822', '0.040822', null]);
  expect(stealBias(byBlock)).toBeCloseTo(-Math.log(0.96), 12);
  expect(stealBias([null])).toBe(0);
  // On one thread of two cores, all of it hit that thread.
  expect(stolenByBlock(cells, [2], { cores: 2, threads: 1 })[0]).toBeCloseTo(-Math.log(0.92), 12);
  expect(stolenByBlock(cells, [2], { cores: 2, threads: 4 })[0]).toBeCloseTo(-Math.log(0.96), 12);
});

test('the quiet level is exceeded by nine in ten', () => {
  expect(quietLevel([0.3, 0.1, 0.2, 0, 0.5, 0.4, 0.9, 0.8, 0.7, 0.6])).toBe(0.1);
  expect(quietLevel([])).toBe(0);
});

describe('load of a pair', () => {
  test('excess is the mean over its blocks; a ratio that follows it is flagged', () => {
    const loads = [0, 0.02, 0.04, 0.06, 0.08];
    expect(judgeLoad([0.1, 0.11, 0.12, 0.13, 0.1401], loads)).toMatchObject({
      excess: 0.04,
      slope: expect.closeTo(0.5, 2),
    });
    expect(judgeLoad([0.1, 0.13, 0.09, 0.12, 0.1], loads).slope).toBeNull();
  });

  test('unknown without a canary, and no slope from three blocks', () => {
    expect(judgeLoad([0.1, 0.1], [null, null])).toEqual({ excess: null, slope: null });
    expect(judgeLoad([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])).toEqual({ excess: expect.closeTo(0.2, 9), slope: null });
  });

  test('over the limit only a FASTER with room for the largest error is kept', () => {
    const logMargin = Math.log(1.05);
    const kept = (excess: number | null, verdict: string, nearBound: number): boolean =>
      survivesLoad({ excess, verdict, nearBound, logMargin });
    expect(kept(0.05, 'EQUIVALENT', 0)).toBe(true);
    expect(kept(null, 'EQUIVALENT', 0)).toBe(true);
    expect(kept(0.051, 'EQUIVALENT', 0)).toBe(false);
    expect(kept(0.06, 'FASTER', logMargin + 0.061)).toBe(true);
    expect(kept(0.06, 'FASTER', logMargin + 0.059)).toBe(false);
    expect(kept(0.06, 'SLIGHTLY_FASTER', 1)).toBe(false);
  });
});
