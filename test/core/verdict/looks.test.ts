import { expect, test } from 'vitest';
import { analysisFor, registerLooks, withAlphas } from '../../../src/core/verdict/looks.ts';

const counts = (blocks: number): number[] => registerLooks(blocks).map((look) => look.blocks);

test('looks: three from 12 blocks, two from 8, one below, always at even counts from 6 on', () => {
  expect(counts(3)).toEqual([3]);
  expect(counts(6)).toEqual([6]);
  expect(counts(7)).toEqual([6]);
  expect(counts(8)).toEqual([6, 8]);
  expect(counts(11)).toEqual([6, 10]);
  expect(counts(12)).toEqual([6, 8, 12]);
  expect(counts(14)).toEqual([6, 10, 14]);
  expect(counts(20)).toEqual([6, 14, 20]);
  expect(counts(0)).toEqual([]);
});

test('the levels of every design sum to 5%', () => {
  for (const blocks of [3, 6, 8, 10, 12, 20, 100]) {
    expect(registerLooks(blocks).reduce((sum, look) => sum + look.alpha, 0)).toBeCloseTo(0.05, 12);
  }
  expect(registerLooks(12).map(({ alpha }) => alpha)).toEqual([0.005, 0.01, 0.035]);
});

test('a running run is tested at the last look it passed, and not at all before the first', () => {
  const looks = withAlphas([6, 8, 12]);
  expect(analysisFor({ looks, accepted: 5, ended: false })).toBeNull();
  expect(analysisFor({ looks, accepted: 7, ended: false })).toMatchObject({ blocks: 6, alpha: 0.005 });
  expect(analysisFor({ looks, accepted: 9, ended: false })).toMatchObject({ blocks: 8, alpha: 0.01 });
});

test('a run that ends early is tested there with what is left of 5%', () => {
  const looks = withAlphas([6, 8, 12]);
  expect(analysisFor({ looks, accepted: 4, ended: true })).toEqual({ blocks: 4, alpha: 0.05, alphaIfUnresolved: 0.05 });
  expect(analysisFor({ looks, accepted: 6, ended: true })?.alphaIfUnresolved).toBeCloseTo(0.05, 12);
  expect(analysisFor({ looks, accepted: 6, ended: true })?.alpha).toBe(0.005);
  expect(analysisFor({ looks, accepted: 11, ended: true })).toMatchObject({ blocks: 10, alpha: 0.035 });
  expect(analysisFor({ looks, accepted: 12, ended: true })).toEqual({
    blocks: 12,
    alpha: 0.035,
    alphaIfUnresolved: 0.035,
  });
});
