import { expect, test } from 'vitest';
import { analysisFor, chargeStops, registerLooks, withAlphas } from '../../../src/core/verdict/looks.ts';

const EARLY = { earlyLook: true };
const counts = (blocks: number, earlyLook = true): number[] =>
  registerLooks(blocks, { earlyLook }).map((look) => look.blocks);

test('looks: an early one from 6 blocks on, then three from 12, two from 8, one below, always at even counts', () => {
  expect(counts(3)).toEqual([3]);
  expect(counts(5)).toEqual([5]);
  expect(counts(6)).toEqual([4, 6]);
  expect(counts(7)).toEqual([4, 6]);
  expect(counts(8)).toEqual([4, 6, 8]);
  expect(counts(11)).toEqual([4, 6, 10]);
  expect(counts(12)).toEqual([4, 6, 8, 12]);
  expect(counts(14)).toEqual([4, 6, 10, 14]);
  expect(counts(20)).toEqual([4, 6, 14, 20]);
  expect([6, 8, 12].map((blocks) => counts(blocks, false))).toEqual([[6], [6, 8], [6, 8, 12]]);
  expect(counts(0)).toEqual([]);
});

test('the levels of every design sum to 5%', () => {
  for (const blocks of [3, 5, 6, 8, 10, 12, 20, 100]) {
    expect(registerLooks(blocks, EARLY).reduce((sum, look) => sum + look.alpha, 0)).toBeCloseTo(0.05, 12);
  }
  expect(registerLooks(12, EARLY).map(({ alpha }) => alpha)).toEqual([
    0.01,
    0.005,
    0.01,
    expect.closeTo(0.025, 12) as number,
  ]);
  expect(registerLooks(8, EARLY).map(({ alpha }) => alpha)).toEqual([0.01, 0.01, expect.closeTo(0.03, 12) as number]);
  expect(registerLooks(6, EARLY).map(({ alpha }) => alpha)).toEqual([0.01, expect.closeTo(0.04, 12) as number]);
});

test('records from before there was an early look keep the levels that they registered', () => {
  expect(withAlphas([6, 8, 12]).map(({ alpha }) => alpha)).toEqual([0.005, 0.01, 0.035]);
  expect(withAlphas([6, 8]).map(({ alpha }) => alpha)).toEqual([0.01, 0.04]);
  expect(withAlphas([4]).map(({ alpha }) => alpha)).toEqual([0.05]);
});

test('five blocks are tested with all of them, and pay for the look after four', () => {
  const looks = registerLooks(12, EARLY);
  expect(analysisFor({ looks, accepted: 5, state: 'running' })).toMatchObject({ blocks: 4, alpha: 0.01 });
  expect(analysisFor({ looks, accepted: 4, state: 'ended' })).toMatchObject({ blocks: 4, alpha: 0.01 });
  const ended = analysisFor({ looks, accepted: 5, state: 'ended' });
  expect(ended?.blocks).toBe(5);
  expect(ended?.alpha).toBeCloseTo(0.04, 12);
});

test('a running run is tested at the last look it passed, and not at all before the first', () => {
  const looks = withAlphas([6, 8, 12]);
  expect(analysisFor({ looks, accepted: 5, state: 'running' })).toBeNull();
  expect(analysisFor({ looks, accepted: 7, state: 'running' })).toMatchObject({ blocks: 6, alpha: 0.005 });
  expect(analysisFor({ looks, accepted: 9, state: 'running' })).toMatchObject({ blocks: 8, alpha: 0.01 });
});

test('a run that ends early is tested there with what is left of 5%', () => {
  const looks = withAlphas([6, 8, 12]);
  expect(analysisFor({ looks, accepted: 4, state: 'ended' })).toEqual({
    blocks: 4,
    alpha: 0.05,
    alphaIfUnresolved: 0.05,
  });
  expect(analysisFor({ looks, accepted: 6, state: 'ended' })?.alphaIfUnresolved).toBeCloseTo(0.05, 12);
  expect(analysisFor({ looks, accepted: 6, state: 'ended' })?.alpha).toBe(0.005);
  expect(analysisFor({ looks, accepted: 11, state: 'ended' })).toMatchObject({ blocks: 10, alpha: 0.035 });
  expect(analysisFor({ looks, accepted: 12, state: 'ended' })).toEqual({
    blocks: 12,
    alpha: 0.035,
    alphaIfUnresolved: 0.035,
  });
});

test('the last look pays for what the looks before it spend on retiring engines', () => {
  expect(withAlphas([6, 8, 12], 0.001)).toEqual([
    { blocks: 6, alpha: 0.005 },
    { blocks: 8, alpha: 0.01 },
    { blocks: 12, alpha: expect.closeTo(0.033, 12) as number },
  ]);
  expect(withAlphas([6, 8], 0.001)[1]?.alpha).toBeCloseTo(0.039, 12);
  expect(withAlphas([6], 0.001)).toEqual([{ blocks: 6, alpha: 0.05 }]);
  expect(withAlphas([4, 6, 8, 12], 0.001)[3]?.alpha).toBeCloseTo(0.022, 12);
});

test('a level that no plan registers leaves half of the last look', () => {
  expect(withAlphas([6, 8, 10, 12, 14], 0.005).at(-1)?.alpha).toBeCloseTo(0.005, 12);
});

test('a stopped run is tested with the look that it reached and half of what is left', () => {
  const looks = withAlphas([6, 8, 12]);
  const at = (accepted: number): number | undefined =>
    analysisFor({ looks, accepted, state: 'stopped' })?.alphaIfUnresolved;
  expect(at(4)).toBeCloseTo(0.025, 12);
  expect(at(6)).toBeCloseTo(0.005 + 0.0225, 12);
  expect(at(7)).toBeCloseTo(0.005 + 0.0225, 12);
  expect(at(10)).toBeCloseTo(0.0175, 12);
  expect(at(12)).toBeCloseTo(0.035, 12);
});

test('resumed, the looks after a stop have the other half, however often it is stopped', () => {
  const looks = withAlphas([6, 8, 12]);
  const alphas = (stoppedAt: readonly number[]): number[] => chargeStops(looks, stoppedAt).map(({ alpha }) => alpha);
  expect(alphas([])).toEqual([0.005, 0.01, 0.035]);
  expect(alphas([4])).toEqual([0.0025, 0.005, 0.0175]);
  expect(alphas([7])).toEqual([0.005, 0.005, 0.0175]);
  expect(alphas([4, 7, 9])).toEqual([0.0025, 0.0025, 0.004375]);
  // Two blocks give no verdict; the same blocks tested twice are one test.
  expect(alphas([2])).toEqual([0.005, 0.01, 0.035]);
  expect(alphas([6, 7, 7])).toEqual([0.005, 0.005, 0.0175]);
});

test('however a run is stopped and resumed, its tests never have more than 5% together', () => {
  for (const registered of [withAlphas([6, 8, 12], 0.001), withAlphas([4, 6, 8, 12], 0.001)])
    for (const stops of [[], [3], [4, 5], [6], [7, 9], [3, 6, 8, 10], [11], [4, 4, 10]]) {
      // Nested tests of the same blocks count once, with the largest level.
      const spent = new Map<number, number>();
      const spend = (blocks: number, alpha: number): void =>
        void spent.set(blocks, Math.max(alpha, spent.get(blocks) ?? 0));
      for (const [index, accepted] of [...stops, 12].entries()) {
        const looks = chargeStops(registered, stops.slice(0, index));
        for (const { blocks, alpha } of looks.filter((look) => look.blocks <= accepted)) spend(blocks, alpha);
        const state = index < stops.length ? 'stopped' : 'ended';
        const analysis = analysisFor({ looks, accepted, state });
        spend(analysis?.blocks ?? 0, analysis?.alphaIfUnresolved ?? 0);
      }
      const sum = [...spent.values()].reduce((total, alpha) => total + alpha, 0);
      expect(sum, `stopped after ${stops.join(', ')}`).toBeLessThanOrEqual(0.05);
    }
});
