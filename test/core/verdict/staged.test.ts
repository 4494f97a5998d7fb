import { expect, test } from 'vitest';
import type { Comparison } from '../../../src/core/record.ts';
import { compareFamily } from '../../../src/core/verdict/compare-family.ts';
import { compareStaged } from '../../../src/core/verdict/staged.ts';

const BLOCKS = 12;
/** Nearly equal: open at six blocks. */
const OFFSETS: Readonly<Record<string, number>> = { a: 0, b: 0.04, slow: Math.log(3) };

function columns(retiredAt: number): Map<string, (number | null)[]> {
  return new Map(
    Object.entries(OFFSETS).map(([id, offset], engine) => [
      id,
      Array.from({ length: BLOCKS }, (_, block) =>
        id === 'slow' && block >= retiredAt ? null : offset + 0.02 * Math.sin(1 + 5 * block + 3 * engine),
      ),
    ]),
  );
}

function compare(stages: readonly { retired: readonly string[]; blocks: number; alpha: number }[]): Comparison[] {
  const values = columns(6);
  return compareStaged(stages, ({ blocks, alpha }, settled) =>
    compareFamily({
      metric: 'request',
      prompt: 'mix',
      perEngineLogValues: new Map([...values].map(([id, column]) => [id, column.slice(0, blocks)])),
      alpha,
      margin: 1.05,
      settled,
    }),
  );
}

const find = (comparisons: readonly Comparison[], a: string, b: string): Comparison | undefined =>
  comparisons.find((pair) => pair.a === a && pair.b === b);

test('a pair that lost an engine keeps the verdict, the interval and the level of its last look', () => {
  const atLook = compare([{ retired: [], blocks: 6, alpha: 0.005 }]);
  const atEnd = compare([
    { retired: ['slow'], blocks: 6, alpha: 0.005 },
    { retired: [], blocks: 12, alpha: 0.033 },
  ]);
  expect(find(atEnd, 'a', 'slow')).toEqual(find(atLook, 'a', 'slow'));
  expect(find(atEnd, 'a', 'slow')).toMatchObject({ verdict: 'FASTER', faster: 'a', blockCount: 6 });
  expect(find(atEnd, 'b', 'slow')).toEqual(find(atLook, 'b', 'slow'));
  expect(find(atEnd, 'a', 'b')?.blockCount).toBe(12);
});

test('pairs of engines that go on still share the level with the settled ones', () => {
  const staged = compare([
    { retired: ['slow'], blocks: 6, alpha: 0.005 },
    { retired: [], blocks: 12, alpha: 0.033 },
  ]);
  // The interval is Bonferroni over all three pairs, as it was before.
  const whole = compareFamily({
    metric: 'request',
    prompt: 'mix',
    perEngineLogValues: columns(BLOCKS),
    alpha: 0.033,
    margin: 1.05,
  });
  expect(find(staged, 'a', 'b')).toMatchObject({ low: find(whole, 'a', 'b')?.low, high: find(whole, 'a', 'b')?.high });
});

test('two looks may each lose engines', () => {
  const stages = [
    { retired: ['slow'], blocks: 6, alpha: 0.005 },
    { retired: ['b'], blocks: 8, alpha: 0.01 },
    { retired: [], blocks: 12, alpha: 0.033 },
  ];
  expect(compare(stages).map(({ a, b, blockCount }) => `${a} ${b} ${blockCount}`)).toEqual([
    'a b 8',
    'a slow 6',
    'b slow 6',
  ]);
});
