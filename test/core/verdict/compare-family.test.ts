import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Comparison } from '../../../src/core/record.ts';
import { compareFamily, isResolved } from '../../../src/core/verdict/compare-family.ts';
import type { FamilyInput } from '../../../src/core/verdict/compare-family.ts';

/** Small fixed deviations with mean 0, so that every ratio is exact. */
const WOBBLE = [0.01, -0.01, 0.005, -0.005, 0.012, -0.012, 0.002, -0.002, 0.007, -0.007, 0.004, -0.004];

function family(
  engines: Readonly<Record<string, readonly (number | null)[]>>,
  options: Partial<FamilyInput> = {},
): Comparison[] {
  return compareFamily({
    metric: 'request',
    prompt: 'mix',
    perEngineLogValues: new Map(Object.entries(engines)),
    alpha: 0.05,
    margin: 1.05,
    ...options,
  });
}

function times(ms: number, blocks = 12, scale = 0): number[] {
  return Array.from({ length: blocks }, (_, block) => Math.log(ms) + scale * (WOBBLE[block % WOBBLE.length] ?? 0));
}

describe('the four verdicts', () => {
  test('FASTER beyond the margin', () => {
    const [found] = family({ a: times(100), b: times(130, 12, 1) });
    expect(found).toMatchObject({
      verdict: 'FASTER',
      faster: 'a',
      blockCount: 12,
      preliminary: false,
      confidence: 0.95,
    });
    expect(found?.ratio).toBeCloseTo(1.3, 10);
    expect(found?.reasons).toEqual(['the signed-rank cross-check agrees']);
  });

  test('EQUIVALENT within it', () => {
    expect(family({ a: times(100), b: times(101, 12, 1) })[0]).toMatchObject({ verdict: 'EQUIVALENT', faster: null });
  });

  test('SLIGHTLY_FASTER when there is a difference of unresolved size', () => {
    const [found] = family({ a: times(100), b: times(105, 12, 3) });
    expect(found).toMatchObject({ verdict: 'SLIGHTLY_FASTER', faster: 'a' });
  });

  test('INCONCLUSIVE in noise', () => {
    expect(family({ a: times(100), b: times(103, 12, 20) })[0]).toMatchObject({
      verdict: 'INCONCLUSIVE',
      faster: null,
    });
  });

  test('a difference that the hypervisor may have made is not claimed, and the interval has room for it', () => {
    const stolen = Array.from({ length: 12 }, () => 0.04);
    const engines = { a: times(100), b: times(103, 12, 1) };
    expect(family(engines)[0]).toMatchObject({ verdict: 'EQUIVALENT' });
    const [found] = family(engines, { stolen });
    expect(found).toMatchObject({ verdict: 'INCONCLUSIVE', faster: null });
    expect(found?.reasons.at(-1)).toBe(
      "the hypervisor took 3.9% of the engines' time throughout, from one engine maybe more than from another: the interval and the tests leave that much room",
    );
    const [plain] = family(engines);
    expect(Math.log(found?.high ?? 0) - Math.log(plain?.high ?? 0)).toBeCloseTo(0.04, 10);
    expect(Math.log(plain?.low ?? 0) - Math.log(found?.low ?? 0)).toBeCloseTo(0.04, 10);
    expect(family({ a: times(100), b: times(130, 12, 1) }, { stolen })[0]).toMatchObject({ verdict: 'FASTER' });
    expect(family({ a: times(100), b: times(109, 12, 1) })[0]).toMatchObject({ verdict: 'FASTER' });
    expect(family({ a: times(100), b: times(109, 12, 1) }, { stolen })[0]).toMatchObject({
      verdict: 'SLIGHTLY_FASTER',
    });
  });

  test('rates: more is faster', () => {
    expect(family({ a: times(50), b: times(80) }, { metric: 'decode' })[0]).toMatchObject({
      verdict: 'FASTER',
      faster: 'b',
      ratio: expect.closeTo(0.625, 10),
    });
  });
});

describe('few blocks', () => {
  test('three to five are preliminary', () => {
    expect(family({ a: times(100, 3), b: times(150, 3, 1) })[0]).toMatchObject({
      verdict: 'FASTER',
      preliminary: true,
      blockCount: 3,
    });
    expect(family({ a: times(100, 6), b: times(150, 6, 1) })[0]).toMatchObject({ preliminary: false });
  });

  test('four are firm at the level of the early look, three are not', () => {
    const ofBlocks = (count: number, alpha: number): unknown =>
      family({ a: times(100, count), b: times(150, count, 1) }, { alpha })[0]?.preliminary;
    expect([ofBlocks(3, 0.01), ofBlocks(4, 0.01), ofBlocks(4, 0.02), ofBlocks(5, 0.05)]).toEqual([
      true,
      false,
      true,
      true,
    ]);
  });

  test('two are no verdict, and say so', () => {
    const [found] = family({ a: times(100, 2), b: times(150, 2) });
    expect(found).toMatchObject({
      verdict: 'INCONCLUSIVE',
      low: null,
      high: null,
      confidence: null,
      preliminary: false,
    });
    expect(found?.ratio).toBeCloseTo(1.5, 10);
    expect(found?.reasons).toEqual(['2 common blocks; a verdict needs at least 3']);
  });

  test('a block without one of the engines is skipped for its pairs only', () => {
    const found = family({ a: times(100), b: [null, ...times(130, 11)], c: times(160) });
    expect(found.map(({ a, b, blockCount }) => [a, b, blockCount])).toEqual([
      ['a', 'b', 11],
      ['a', 'c', 12],
      ['b', 'c', 11],
    ]);
  });
});

describe('overrides', () => {
  test('a noisy run names no winner but shows its numbers', () => {
    const [found] = family(
      { a: times(100), b: times(200) },
      { override: { verdict: 'NOISY', reason: '7 of 12 blocks were disturbed' } },
    );
    expect(found).toMatchObject({ verdict: 'NOISY', faster: null, ratio: expect.closeTo(2, 10) });
    expect(found?.reasons[0]).toBe('7 of 12 blocks were disturbed');
  });

  test('a void engine has no numbers and leaves the family to the others', () => {
    const found = family(
      { a: times(100), b: times(130, 12, 1), c: times(160) },
      { voided: new Map([['c', 'c: prompt cache']]) },
    );
    expect(found.map(({ verdict }) => verdict)).toEqual(['FASTER', 'VOID', 'VOID']);
    expect(found[1]).toMatchObject({ ratio: null, low: null, reasons: ['c: prompt cache'] });
    const alone = family({ a: times(100), b: times(130, 12, 1) });
    expect(found[0]).toEqual(alone[0]);
  });

  test('a reference backend is shown with an interval and not compared', () => {
    const found = family({ a: times(100, 3), r: times(4_000, 3, 1) }, { notCompared: new Map([['r', 'reference']]) });
    expect(found[0]).toMatchObject({ verdict: 'NOT_COMPARED', faster: null, reasons: ['reference'] });
    expect(found[0]?.low).toBeGreaterThan(38);
  });

  test('different bits per weight qualify a FASTER', () => {
    const qualify = (): string => 'with 4.50 (a) against 5.00 (b) bits per weight';
    expect(family({ a: times(100), b: times(130, 12, 1) }, { qualify })[0]?.reasons).toContain(
      'faster, with 4.50 (a) against 5.00 (b) bits per weight',
    );
    expect(family({ a: times(100), b: times(101, 12, 1) }, { qualify })[0]?.reasons).toEqual([
      'the signed-rank cross-check agrees',
    ]);
  });
});

test('intervals are simultaneous: three pairs widen them', () => {
  const [pair] = family({ a: times(100), b: times(130, 12, 1) });
  const [inFamily] = family({ a: times(100), b: times(130, 12, 1), c: times(170) });
  expect(inFamily?.low).toBeLessThan(pair?.low ?? 0);
  expect(inFamily?.detectableFaster).toBeGreaterThan(pair?.detectableFaster ?? 0);
});

test('a verdict that the ranks do not confirm is downgraded', () => {
  // Ten blocks far beyond the margin, two inside it: sure by the mean, not sure by the ranks at this level.
  const skewed = [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.04, 0.04].map((value) => Math.log(100) + value);
  const [found] = family({ a: times(100), b: skewed }, { alpha: 0.0005 });
  expect(found?.verdict).toBe('INCONCLUSIVE');
  expect(found?.reasons[0]).toContain('the signed-rank test does not');
});

test('where ranks cannot reach the level, the signs are reported', () => {
  expect(family({ a: times(100, 6), b: times(130, 6, 1) }, { alpha: 0.005 })[0]).toMatchObject({
    verdict: 'FASTER',
    reasons: ['6 of 6 blocks point the same way (too few for a rank test at this level)'],
  });
});

test('a run is resolved when the headline is, and SLIGHTLY_FASTER never is', () => {
  expect(isResolved(family({ a: times(100), b: times(130, 12, 1) }))).toBe(true);
  expect(isResolved(family({ a: times(100), b: times(105, 12, 3) }))).toBe(false);
  expect(isResolved([])).toBe(false);
});

test('nothing waits for the pairs of a retired engine', () => {
  const open = family({ a: times(100), b: times(130, 12, 1), slow: times(137, 12, 3) });
  expect(open.map(({ verdict }) => verdict)).toEqual(['FASTER', 'FASTER', 'SLIGHTLY_FASTER']);
  expect(isResolved(open)).toBe(false);
  expect(isResolved(open, ['slow'])).toBe(true);
  expect(isResolved(open, ['a'])).toBe(false);
});

describe('a settled pair', () => {
  const engines = { a: times(100), b: times(103, 12, 2), c: times(300, 12, 1) };
  const settledAs = (verdict: Comparison['verdict']): Comparison[] =>
    family(engines)
      .filter(({ b }) => b === 'c')
      .map((pair) => ({ ...pair, verdict, ratio: 7 }));

  test('is shown as it was', () => {
    const pairs = family(engines, { settled: settledAs('INCONCLUSIVE') });
    expect(pairs.map(({ a, b, verdict }) => `${a} ${b} ${verdict}`).slice(1)).toEqual([
      'a c INCONCLUSIVE',
      'b c INCONCLUSIVE',
    ]);
    expect(pairs[1]?.ratio).toBe(7);
  });

  test('that was rejected stays rejected, and Holm goes on to the others; one that was not holds them back', () => {
    // Open at a third of the level, equivalent at all of it.
    const alpha = 3 * (family(engines)[0]?.pEquivalent ?? 0) * 0.9;
    const equivalent = (verdict: Comparison['verdict']): boolean =>
      family(engines, { alpha, settled: settledAs(verdict) })[0]?.verdict === 'EQUIVALENT';
    expect(equivalent('INCONCLUSIVE')).toBe(false);
    expect(equivalent('EQUIVALENT')).toBe(true);
  });

  test('is void all the same when a gate of its engine fails', () => {
    const voided = new Map([['c', 'c failed a gate']]);
    expect(family(engines, { settled: settledAs('FASTER'), voided })[1]?.verdict).toBe('VOID');
  });
});

test('EQUIVALENT with an interval that reaches out of the margin says why', () => {
  const [found] = family({ a: times(100), b: times(101, 12, 8.4) });
  expect(found?.verdict).toBe('EQUIVALENT');
  expect(found?.high).toBeGreaterThan(1.05);
  expect(found?.reasons).toContain(
    'equivalence is a one-sided test each way, whose interval 0.976-1.045 is inside the margin; the 95% interval is two-sided, of all pairs together, and wider',
  );
  const [narrow] = family({ a: times(100), b: times(101, 12, 1) });
  expect(narrow?.reasons).toEqual(['the signed-rank cross-check agrees']);
});

const column = fc.array(fc.double({ min: -0.3, max: 0.3, noNaN: true }), { minLength: 6, maxLength: 14 });

test('property: the order of the engines does not matter', () => {
  fc.assert(
    fc.property(column, column, (left, right) => {
      const length = Math.min(left.length, right.length);
      const [a, b] = [left.slice(0, length), right.slice(0, length)];
      const [forward, backward] = [family({ a, b })[0], family({ b, a })[0]];
      expect(backward?.verdict).toBe(forward?.verdict);
      expect(backward?.faster).toBe(forward?.faster === null ? null : forward?.faster === 'a' ? 'b' : 'a');
      expect(Math.log(backward?.ratio ?? 0)).toBeCloseTo(-Math.log(forward?.ratio ?? 0), 9);
    }),
    { numRuns: 200, seed: 1 },
  );
});

test('property: swapping the times flips the verdict', () => {
  fc.assert(
    fc.property(column, (values) => {
      const zero = values.map(() => 0);
      const [forward, swapped] = [family({ a: values, b: zero })[0], family({ a: zero, b: values })[0]];
      expect(swapped?.verdict).toBe(forward?.verdict);
      expect(swapped?.faster).toBe(forward?.faster === null ? null : forward?.faster === 'a' ? 'b' : 'a');
    }),
    { numRuns: 200, seed: 2 },
  );
});

test('property: a machine that is c times slower gives the same verdict', () => {
  fc.assert(
    fc.property(column, column, fc.double({ min: 0.01, max: 100, noNaN: true }), (left, right, factor) => {
      const length = Math.min(left.length, right.length);
      const [a, b] = [left.slice(0, length), right.slice(0, length)];
      const scale = (values: number[]): number[] => values.map((value) => value + Math.log(factor));
      const [plain, scaled] = [family({ a, b })[0], family({ a: scale(a), b: scale(b) })[0]];
      expect(scaled?.ratio).toBeCloseTo(plain?.ratio ?? 0, 9);
      expect(scaled?.verdict).toBe(plain?.verdict);
    }),
    { numRuns: 200, seed: 3 },
  );
});
