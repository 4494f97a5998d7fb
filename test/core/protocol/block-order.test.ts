import { expect, test } from 'vitest';
import { blockOrder } from '../../../src/core/protocol/block-order.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];

test('every block holds every engine once, and an odd block mirrors the one before it', () => {
  for (const count of [1, 2, 3, 4, 5, 6]) {
    const engines = NAMES.slice(0, count);
    for (let block = 0; block < 24; block += 2) {
      const order = blockOrder(engines, block, 7);
      expect(order.toSorted()).toEqual(engines);
      expect(blockOrder(engines, block + 1, 7)).toEqual(order.toReversed());
    }
  }
});

test('carry-over is balanced: over a full cycle every engine directly follows every other equally often', () => {
  for (const count of [2, 3, 4, 5, 6]) {
    const engines = NAMES.slice(0, count);
    const pairs = count % 2 === 0 ? count / 2 : count;
    const follows = new Map<string, number>();
    for (let block = 0; block < 2 * pairs; block += 1) {
      const order = blockOrder(engines, block, 3);
      for (const [index, engine] of order.slice(1).entries()) {
        const key = `${order[index]}>${engine}`;
        follows.set(key, (follows.get(key) ?? 0) + 1);
      }
    }
    expect(follows.size).toBe(count * (count - 1));
    expect(new Set(follows.values()).size).toBe(1);
  }
});

test('the order is drawn from the seed: each engine starts about equally often', () => {
  const starts = Array.from({ length: 600 }, (_, seed) => blockOrder(['a', 'b', 'c'], 0, seed)[0]);
  for (const engine of ['a', 'b', 'c'])
    expect(Math.abs(starts.filter((start) => start === engine).length - 200)).toBeLessThan(50);
  expect(blockOrder(['a', 'b', 'c'], 4, 9)).toEqual(blockOrder(['a', 'b', 'c'], 4, 9));
});
