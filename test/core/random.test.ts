import { expect, test } from 'vitest';
import { createRandom, hashSeed, normal, shuffle } from '../../src/core/random.ts';

test('the same seed gives the same numbers, another seed others', () => {
  const draw = (seed: number): number[] => Array.from({ length: 4 }, createRandom('test', seed).next);
  expect(draw(1)).toEqual(draw(1));
  expect(draw(1)).not.toEqual(draw(2));
});

test('parts of a seed do not run together', () => {
  expect(hashSeed('a', 'bc')).not.toBe(hashSeed('ab', 'c'));
  expect(hashSeed('block', 1, 11)).not.toBe(hashSeed('block', 11, 1));
});

test('uniform and normal deviates have their moments', () => {
  const random = createRandom('moments');
  const uniform = Array.from({ length: 20_000 }, random.next);
  const gauss = Array.from({ length: 20_000 }, () => normal(random));
  const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(mean(uniform)).toBeCloseTo(0.5, 2);
  expect(mean(gauss)).toBeCloseTo(0, 1);
  expect(mean(gauss.map((value) => value * value))).toBeCloseTo(1, 1);
});

test('a shuffle keeps every item and gives each order equally often', () => {
  const random = createRandom('shuffle');
  const counts = new Map<string, number>();
  for (let round = 0; round < 6_000; round += 1) {
    const key = shuffle(['a', 'b', 'c'], random).join('');
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  expect([...counts.keys()].sort()).toEqual(['abc', 'acb', 'bac', 'bca', 'cab', 'cba']);
  for (const count of counts.values()) expect(Math.abs(count - 1_000)).toBeLessThan(120);
});
