import { describe, expect, test } from 'vitest';
import type { Comparison } from '../../../src/core/record.ts';
import { compareFamily } from '../../../src/core/verdict/compare-family.ts';
import { chooseRetired, describeRetired, findBehind, retirementRule } from '../../../src/core/verdict/retirement.ts';

const RULE = { ratio: 2, alpha: 0.001 };

/** ln of times around `ms`; the wobble is another for each engine. */
function times(ms: number, blocks = 6, wobble = 1): number[] {
  return Array.from({ length: blocks }, (_, block) => Math.log(ms) + (0.002 * ((block * 7 * wobble) % 5)) / 5);
}

function byRule(engines: Readonly<Record<string, readonly number[]>>): Comparison[] {
  return compareFamily({
    metric: 'request',
    prompt: 'mix',
    perEngineLogValues: new Map(Object.entries(engines)),
    alpha: RULE.alpha,
    margin: RULE.ratio,
  });
}

const SLOW = { than: 'a', ratio: 3, low: 2.9 };

describe('the rule', () => {
  test('needs three ranked engines and a look before the last', () => {
    expect(retirementRule({ rankedCount: 3, lookCount: 2 })).toEqual({ ratio: 2, alpha: 0.001 });
    expect(retirementRule({ rankedCount: 2, lookCount: 3 })).toBeNull();
    expect(retirementRule({ rankedCount: 5, lookCount: 1 })).toBeNull();
  });
});

describe('who is behind', () => {
  test('an engine whose lower bound is beyond twice the time, against the one it is farthest behind', () => {
    const behind = findBehind(byRule({ a: times(100), b: times(110, 6, 2), slow: times(300, 6, 3) }), RULE);
    expect(behind.map(({ engine, than }) => `${engine} behind ${than}`)).toEqual(['slow behind a']);
    expect(behind[0]?.ratio).toBeCloseTo(3, 2);
    expect(behind[0]?.low).toBeGreaterThan(2.9);
    expect(behind[0]?.low).toBeLessThan(3);
  });

  test('the order of the engines does not matter', () => {
    const behind = findBehind(byRule({ slow: times(300, 6, 3), a: times(100), b: times(110, 6, 2) }), RULE);
    expect(behind.map(({ engine, than }) => `${engine} behind ${than}`)).toEqual(['slow behind a']);
  });

  test.each([1.9, 2])('nobody who is %d times slower', (factor) => {
    expect(findBehind(byRule({ a: times(100), b: times(110), slow: times(100 * factor, 6, 3) }), RULE)).toEqual([]);
  });

  test('nobody by a point estimate: with a spread of 40% three times is not beyond doubt', () => {
    const noisy = [0.4, -0.4, 0.3, -0.3, 0.5, -0.5].map((off) => Math.log(300) + off);
    expect(findBehind(byRule({ a: times(100), b: times(110), slow: noisy }), RULE)).toEqual([]);
  });

  test('nobody before four blocks', () => {
    const ofBlocks = (count: number): string[] =>
      findBehind(byRule({ a: times(100, count), b: times(110, count, 2), slow: times(300, count, 3) }), RULE).map(
        ({ engine }) => engine,
      );
    expect([3, 4].map(ofBlocks)).toEqual([[], ['slow']]);
  });
});

describe('who is retired', () => {
  const ranked = ['a', 'b', 'c', 'slow', 'slower'];
  const restMs = new Map([
    ['a', 10_000],
    ['b', 10_000],
    ['c', 10_000],
    ['slow', 30_000],
    ['slower', 60_000],
  ]);
  const behind = [
    { engine: 'slow', ...SLOW },
    { engine: 'slower', than: 'a', ratio: 6, low: 5.8 },
  ];
  const retired = (input: Partial<Parameters<typeof chooseRetired>[0]>): string[] =>
    chooseRetired({ behind, ranked, restMs, ...input }).map(({ engine }) => engine);

  test('the slowest first, with the time that is saved', () => {
    expect(chooseRetired({ behind, ranked, restMs })).toEqual([
      { engine: 'slower', than: 'a', ratio: 6, low: 5.8, restMs: 60_000 },
      { engine: 'slow', ...SLOW, restMs: 30_000 },
    ]);
  });

  test('two engines stay, however slow', () => {
    expect(retired({ ranked: ['a', 'slow', 'slower'] })).toEqual(['slower']);
    expect(retired({ ranked: ['a', 'slow'] })).toEqual([]);
  });

  test('only whom it pays to leave out: 15% of what the rest of the run would take', () => {
    // 5 of 35 s are 14%; 6 of 36 s are 17%.
    const withRest = (ms: number): Map<string, number> =>
      new Map([...['a', 'b', 'c'].map((id) => [id, 10_000] as const), ['slow', ms]]);
    expect(retired({ behind: [{ engine: 'slow', ...SLOW }], restMs: withRest(5_000) })).toEqual([]);
    expect(retired({ behind: [{ engine: 'slow', ...SLOW }], restMs: withRest(6_000) })).toEqual(['slow']);
  });

  test('not one with nothing left to do, and not one that is not ranked', () => {
    expect(retired({ restMs: new Map([['slower', 0]]) })).toEqual([]);
    expect(retired({ ranked: ['a', 'b', 'c', 'slow'] })).toEqual(['slow']);
  });
});

test('the words: the bound, never rounded up; evidence that is missing is said', () => {
  expect(describeRetired({ than: 'a', low: 2.99 }, 6)).toBe('retired after block 6: at least 2.9x slower than a');
  expect(describeRetired({ than: 'a', low: 12.9 }, 8)).toBe('retired after block 8: at least 12x slower than a');
  expect(describeRetired({ than: null, low: null }, 6)).toBe('retired after block 6, which its samples do not support');
});
