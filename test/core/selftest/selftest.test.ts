import { describe, expect, test } from 'vitest';
import {
  judgeCheat,
  judgeClocks,
  judgeHonest,
  judgeSame,
  judgeSlower,
  resolutions,
} from '../../../src/core/selftest/selftest.ts';

type Pair = NonNullable<Parameters<typeof judgeSame>[0]>;

function pair(verdict: Pair['verdict'], faster: Pair['faster'] = null): Pair {
  return {
    a: 'plain',
    b: 'copy',
    verdict,
    faster,
    ratio: 1.1,
    low: 1.05,
    high: 1.15,
    blockCount: 8,
    reasons: ['foreign CPU 40%'],
  };
}

describe('the same engine twice', () => {
  test.each([
    ['EQUIVALENT', 'passed'],
    ['INCONCLUSIVE', 'passed'],
    ['NOISY', 'undecided'],
    ['NOT_COMPARED', 'undecided'],
    ['LOAD_DEPENDENT', 'undecided'],
    ['VOID', 'failed'],
  ] as const)('%s: %s', (verdict, outcome) => {
    expect(judgeSame(pair(verdict), null).outcome).toBe(outcome);
  });

  test.each(['FASTER', 'SLIGHTLY_FASTER'] as const)('%s is a failure, whoever is faster', (verdict) => {
    expect(judgeSame(pair(verdict, 'a'), null).outcome).toBe('failed');
    expect(judgeSame(pair(verdict, 'b'), null).outcome).toBe('failed');
  });

  test('without a comparison nothing is told', () => {
    expect(judgeSame(null, null)).toEqual({ outcome: 'undecided', detail: 'fewer than 3 blocks were measured' });
  });

  test('of fewer blocks than a test needs nothing is told, neither that they are equal nor that they are not', () => {
    const stopped = { ...pair('INCONCLUSIVE'), low: null, high: null, blockCount: 2 };
    const few = { outcome: 'undecided', detail: 'fewer than 3 blocks were measured' };
    expect(judgeSame(stopped, null)).toEqual(few);
    expect(judgeSlower(stopped, { plain: 'plain', share: 0.3, noise: null })).toEqual(few);
    expect(judgeSame({ ...stopped, blockCount: 3 }, null).outcome).toBe('passed');
  });

  test('without a comparison because of noise, the noise is the reason', () => {
    expect(judgeSame(null, '3 of 3 blocks were disturbed: steal')).toEqual({
      outcome: 'undecided',
      detail: 'NOISY: 3 of 3 blocks were disturbed: steal',
    });
  });

  test('the reason of a noisy run is named', () => {
    expect(judgeSame(pair('NOISY'), null).detail).toBe('NOISY: foreign CPU 40%');
  });
});

describe('a slower copy', () => {
  test.each([
    ['FASTER', 'a', 0.3, 'passed'],
    ['SLIGHTLY_FASTER', 'a', 0.05, 'passed'],
    ['FASTER', 'b', 0.3, 'failed'],
    ['SLIGHTLY_FASTER', 'b', 0.05, 'failed'],
    ['INCONCLUSIVE', null, 0.3, 'failed'],
    ['LOAD_DEPENDENT', null, 0.3, 'undecided'],
    ['INCONCLUSIVE', null, 0.1, 'undecided'],
    ['EQUIVALENT', null, 0.1, 'failed'],
    ['EQUIVALENT', null, 0.05, 'undecided'],
    ['NOISY', null, 0.3, 'undecided'],
    ['VOID', null, 0.05, 'failed'],
  ] as const)('%s, faster %s, slowed by %d: %s', (verdict, faster, share, outcome) => {
    expect(judgeSlower(pair(verdict, faster), { plain: 'plain', share, noise: null }).outcome).toBe(outcome);
  });

  test('one that is open although its interval leaves out 1 says why', () => {
    const reasons = ['the t test says SLIGHTLY_FASTER, the signed-rank test does not: a few blocks carry the result'];
    const { detail } = judgeSlower({ ...pair('INCONCLUSIVE'), reasons }, { plain: 'plain', share: 0.1, noise: null });
    expect(detail).toMatch(/not resolved in this time; .* a few blocks carry the result$/);
  });

  test('the order of the two in the comparison does not matter', () => {
    const swapped = { ...pair('FASTER', 'b'), a: 'copy', b: 'plain' };
    expect(judgeSlower(swapped, { plain: 'plain', share: 0.3, noise: null }).outcome).toBe('passed');
  });
});

describe('gates', () => {
  const gate = (name: 'truncation' | 'prompt-cache' | 'early-end', outcome: 'passed' | 'failed' | 'unknown') => ({
    gate: name,
    outcome,
    detail: `${name} ${outcome}`,
  });

  test('a cheat is caught by its own gate only', () => {
    expect(judgeCheat('cache', [gate('prompt-cache', 'failed')]).outcome).toBe('passed');
    expect(judgeCheat('cache', [gate('prompt-cache', 'passed'), gate('early-end', 'failed')]).outcome).toBe('failed');
    expect(judgeCheat('early-stop', [gate('early-end', 'unknown')]).outcome).toBe('failed');
    expect(judgeCheat('truncation', []).outcome).toBe('failed');
  });

  test('an honest engine may leave a gate open, and fails none', () => {
    expect(judgeHonest([gate('truncation', 'passed'), gate('prompt-cache', 'unknown')]).outcome).toBe('passed');
    expect(judgeHonest([gate('truncation', 'passed'), gate('prompt-cache', 'failed')])).toEqual({
      outcome: 'failed',
      detail: 'prompt-cache: prompt-cache failed',
    });
    expect(judgeHonest([]).outcome).toBe('failed');
  });
});

describe('clocks', () => {
  const clocks = { engine: 'llama-server', requestCount: 6 };

  test.each([
    [1.01, 0.999, 'passed'],
    [1.04, 1, 'failed'],
    [1, 0.9, 'failed'],
    [null, null, 'undecided'],
    [1.02, null, 'passed'],
  ] as const)('prefill %d, decode %d: %s', (prefillRatio, decodeRatio, outcome) => {
    expect(judgeClocks({ ...clocks, prefillRatio, decodeRatio }).outcome).toBe(outcome);
  });
});

describe('what the machine resolves', () => {
  const differences = [0.02, -0.02, 0.02, -0.02, 0.02, -0.02];

  test('a spread of 2.2% lets six blocks tell 3.3% apart; the protocol says 2.8% at 2%', () => {
    const [six] = resolutions(differences, { blockMs: 20_000, margin: 1.05 });
    // s_d = 0.02 * sqrt(6/5); t(.975, 5) = 2.5706, t(.80, 5) = 0.9195.
    const expected = Math.exp(((2.5706 + 0.9195) * 0.02 * Math.sqrt(6 / 5)) / Math.sqrt(6)) - 1;
    expect(six?.different).toBeCloseTo(expected, 5);
    expect(six?.faster).toBeCloseTo((1 + expected) * 1.05 - 1, 5);
  });

  test('more blocks resolve less, at their price in time', () => {
    const list = resolutions(differences, { blockMs: 20_000, margin: 1.05 });
    expect(list.map(({ blocks, runMs }) => [blocks, runMs])).toEqual([
      [6, 120_000],
      [8, 160_000],
      [12, 240_000],
      [20, 400_000],
    ]);
    const sizes = list.map(({ different }) => different);
    expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
  });

  test('two blocks promise nothing', () => {
    expect(resolutions([0.01, 0.02], { blockMs: 1, margin: 1.05 })).toEqual([]);
  });
});
