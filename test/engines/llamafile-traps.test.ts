/** docs/LLAMAFILE.md names a guard and a test for every trap, and test/traps/llamafile.ts how to take the guard away. */
import { expect, test } from 'vitest';
import { MUTATIONS } from '../traps/llamafile.ts';
import { read, traps } from '../traps/rows.ts';

test('every trap has a guard and a test', () => {
  expect(traps().length).toBeGreaterThanOrEqual(80);
  expect(traps().filter(({ guard, testFile }) => guard === '' || testFile === null)).toEqual([]);
});

test('every guard can be taken away, and only those in the table', () => {
  const mutated = new Set(MUTATIONS.map(({ trap }) => trap));
  const names = traps().map(({ name }) => name);
  expect(names.filter((name) => !mutated.has(name))).toEqual([]);
  expect([...mutated].filter((name) => !names.includes(name))).toEqual([]);
  expect(new Set(names).size).toBe(names.length);
});

test.each(MUTATIONS)('$trap: its guard is still where it was', ({ file, from, to }) => {
  expect(read(file).split(from)).toHaveLength(2);
  expect(to).not.toBe(from);
});
