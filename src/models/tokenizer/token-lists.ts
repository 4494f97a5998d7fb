/** Lists of token ids in one flat array: for every text the number of its ids, then the ids. Workers answer in it. */
import { assert } from '../../core/assert.ts';

export function packIds(lists: readonly ArrayLike<number>[]): Uint8Array {
  const all = new Int32Array(lists.reduce((sum, list) => sum + list.length + 1, 0));
  let at = 0;
  for (const list of lists) {
    all[at] = list.length;
    all.set(list, at + 1);
    at += list.length + 1;
  }
  return new Uint8Array(all.buffer);
}

export function unpackIds(bytes: Uint8Array): Int32Array[] {
  const all = new Int32Array(new Uint8Array(bytes).buffer);
  const lists: Int32Array[] = [];
  for (let at = 0; at < all.length; at += 1 + (all[at] ?? 0)) {
    const count = all[at] ?? 0;
    assert(count >= 0 && at + count < all.length, 'a list lies inside the array');
    lists.push(all.subarray(at + 1, at + 1 + count));
  }
  return lists;
}
