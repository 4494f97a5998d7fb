import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { lazily, readIdLists, storeJsonLines, writeIdLists } from '../../../src/models/tokenizer/token-lists.ts';
import { temporaryFolder } from '../fixture.ts';

const folder = await temporaryFolder();
const path = join(folder, 'file');

function plain(lists: Iterable<Int32Array>): number[][] {
  return Array.from(lists, (list) => [...list]);
}

describe('lists of ids', () => {
  it('survive the way through a file', () => {
    const lists = [[], [1, 2, 3], [2 ** 31 - 1], []];
    writeIdLists(path, lists);
    expect(plain(readIdLists(path))).toEqual(lists);
  });

  it('are a count and the ids, in 32 bits, little-endian', () => {
    writeIdLists(path, [[7, 258], []]);
    expect([...readFileSync(path)]).toEqual([2, 0, 0, 0, 7, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]);
  });

  it('may cross the end of what is read at once, and be longer than it', () => {
    const lists = [1, 16_383, 40_000, 0, 16_384, 3].map((length, n) => Array.from({ length }, (_, i) => 1000 * n + i));
    writeIdLists(path, lists);
    expect(plain(readIdLists(path))).toEqual(lists);
  });

  it('can be gone through again', () => {
    writeIdLists(path, [[1], [2]]);
    const lists = readIdLists(path);
    expect([plain(lists), plain(lists)]).toEqual([
      [[1], [2]],
      [[1], [2]],
    ]);
  });

  it('that end early are no lists', () => {
    writeFileSync(path, Buffer.from([2, 0, 0, 0, 7, 0, 0, 0]));
    expect(() => plain(readIdLists(path))).toThrow('a list lies inside the file');
  });

  it.skipIf(process.platform !== 'linux')('leave no file open when the reader stops early', () => {
    writeIdLists(path, [[1], [2]]);
    const openFiles = (): number => readdirSync('/proc/self/fd').length;
    const before = openFiles();
    for (const list of readIdLists(path)) if (list[0] === 1) break;
    expect(openFiles()).toBe(before);
  });
});

describe('lines of JSON', () => {
  it('survive the way through a file, whatever is in them', () => {
    const values = [
      { text: 'a\nb\r\n\u2028"\\' },
      { text: '' },
      'Grüße 👋',
      { text: '\ud800' },
      'x'.repeat(200_000),
      null,
    ];
    const stored = storeJsonLines<unknown>(path, values);
    expect([stored.length, stored.path, ...stored]).toEqual([6, path, ...values]);
  });

  it('may cross the end of what is read at once, also inside a character', () => {
    const values = Array.from({ length: 3_000 }, (_, i) => 'é👋'.repeat(i % 40));
    const stored = storeJsonLines(path, values);
    expect([[...stored], [...stored]]).toEqual([values, values]);
  });
});

it('what is made lazily is made again for each reader', () => {
  let made = 0;
  const values = lazily(() => [(made += 1)]);
  expect([[...values], [...values]]).toEqual([[1], [2]]);
});
