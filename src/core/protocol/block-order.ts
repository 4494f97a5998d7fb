/** Order of the engines inside each block. */
import { assert } from '../assert.ts';
import { createRandom, shuffle } from '../random.ts';

/**
 * Random order in even-indexed blocks, the mirror image in the block after it, so that a linear drift cancels within
 * each pair. For k > 2 the pairs of a cycle take the rows of a Williams design (zigzag 0, 1, k-1, 2, k-2, ...): over a
 * full cycle of k/2 pairs (k even) or k pairs (k odd), every engine follows every other equally often, which balances
 * the heat and the caches that one engine leaves to the next. Labels, rows and directions are drawn anew per cycle.
 * Source: Williams 1949, Aust. J. Sci. Res. A 2:149.
 */
export function blockOrder(engines: readonly string[], block: number, seed: number): string[] {
  assert(Number.isInteger(block) && block >= 0, 'blocks count from 0');
  const count = engines.length;
  const pair = Math.floor(block / 2);
  const cycleLength = Math.max(1, count % 2 === 0 ? count / 2 : count);
  const random = createRandom('block-order', seed, Math.floor(pair / cycleLength));
  const labels = shuffle(engines, random);
  const rows = shuffle([...Array(cycleLength).keys()], random);
  const flips = rows.map(() => random.next() < 0.5);
  const position = pair % cycleLength;
  const row = zigzag(count, rows[position] ?? 0).map((index) => labels[index]);
  const order = row.filter((engine) => engine !== undefined);
  const mirrored = (block % 2 === 1) !== (flips[position] ?? false);
  return mirrored ? order.reverse() : order;
}

/** first, first+1, first-1, first+2, ... modulo count. */
function zigzag(count: number, first: number): number[] {
  return Array.from({ length: count }, (_, index) => {
    const step = index % 2 === 1 ? (index + 1) / 2 : -index / 2;
    return (((first + step) % count) + count) % count;
  });
}
