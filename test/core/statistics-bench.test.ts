/**
 * The protocol's simulations, smaller, with fixed seeds: does the whole chain (order, medians, pairing, looks, Holm,
 * margin, rank check) keep its promises under machine noise? docs/METHODOLOGY.md quotes the large ones.
 */
import { describe, expect, test } from 'vitest';
import { blockOrder } from '../../src/core/protocol/block-order.ts';
import { createRandom, normal } from '../../src/core/random.ts';
import type { Random } from '../../src/core/random.ts';
import type { Comparison } from '../../src/core/record.ts';
import { median, standardDeviation } from '../../src/core/stats/describe.ts';
import { compareFamily, isResolved } from '../../src/core/verdict/compare-family.ts';
import { registerLooks } from '../../src/core/verdict/looks.ts';

/** Log-slowdown of one cell (position counts cells over the run), and of one request in it. */
interface Regime {
  readonly cell: (position: number) => number;
  readonly request: () => number;
}

type MakeRegime = (random: Random) => Regime;

const REGIMES: Readonly<Record<string, MakeRegime>> = {
  quiet: (random) => ({ cell: () => 0.01 * normal(random), request: () => 0.01 * normal(random) }),
  // Drift with memory: neighbours in time are alike, correlation 0.8 from cell to cell.
  drift: (random) => {
    let level = 0;
    return {
      cell: () => {
        level = 0.8 * level + 0.03 * normal(random);
        return level + 0.01 * normal(random);
      },
      request: () => 0.01 * normal(random),
    };
  },
  // One request in five stalls, by 15% on average.
  skewed: (random) => ({
    cell: () => 0.01 * normal(random),
    request: () => (random.next() < 0.2 ? -0.15 * Math.log(1 - random.next()) : 0),
  }),
  // The machine heats up and slows by 20% over the first dozen cells.
  thermal: (random) => ({
    cell: (position) => 0.2 * (1 - Math.exp(-position / 12)) + 0.01 * normal(random),
    request: () => 0.01 * normal(random),
  }),
};

const ITERATIONS = 3;

/** ln times by engine and block, measured in the protocol's order. */
function measure(
  regime: Regime,
  engines: Readonly<Record<string, number>>,
  blocks: number,
  seed: number,
): Map<string, number[]> {
  const ids = Object.keys(engines);
  const values = new Map(ids.map((id) => [id, [] as number[]]));
  for (let block = 0; block < blocks; block += 1) {
    for (const [index, id] of blockOrder(ids, block, seed).entries()) {
      const cell = regime.cell(block * ids.length + index);
      const requests = Array.from({ length: ITERATIONS }, regime.request);
      values.get(id)?.push((engines[id] ?? 0) + cell + median(requests));
    }
  }
  return values;
}

/** A whole run: tests at its planned looks, stops when resolved. */
function run(values: ReadonlyMap<string, readonly number[]>, blocks: number): Comparison[] {
  let found: Comparison[] = [];
  for (const look of registerLooks(blocks)) {
    const perEngineLogValues = new Map([...values].map(([id, column]) => [id, column.slice(0, look.blocks)]));
    found = compareFamily({ metric: 'request', prompt: 'mix', perEngineLogValues, alpha: look.alpha, margin: 1.05 });
    if (isResolved(found)) return found;
  }
  return found;
}

function share(count: number, of: number): number {
  return count / of;
}

const RUNS = 1_000;

function simulate(name: string, engines: Readonly<Record<string, number>>, blocks = 12, runs = RUNS): Comparison[][] {
  const make = REGIMES[name];
  if (make === undefined) throw new TypeError(`no regime ${name}`);
  return Array.from({ length: runs }, (_, seed) =>
    run(measure(make(createRandom(name, seed)), engines, blocks, seed), blocks),
  );
}

function covers(comparison: Comparison | undefined, ratio: number): boolean {
  return comparison?.low != null && comparison.high !== null && comparison.low <= ratio && ratio <= comparison.high;
}

describe.each(Object.keys(REGIMES))('in the %s regime', (name) => {
  const same = simulate(name, { a: 0, b: 0 });

  test('two equal engines: the interval covers 1 in at least 94%, a false FASTER in at most 2%', () => {
    expect(share(same.filter(([found]) => covers(found, 1)).length, RUNS)).toBeGreaterThanOrEqual(0.94);
    expect(share(same.filter(([found]) => found?.verdict === 'FASTER').length, RUNS)).toBeLessThanOrEqual(0.02);
    expect(
      share(same.filter(([found]) => found?.verdict === 'FASTER' || found?.verdict === 'SLIGHTLY_FASTER').length, RUNS),
    ).toBeLessThanOrEqual(0.05);
  });

  test('an engine 20% slower: found, covered and never the wrong way round in at least 18 of 20 runs', () => {
    const found = simulate(name, { a: 0, b: Math.log(1.2) }, 12, 20).flat();
    const good = found.filter(
      (comparison) => comparison.verdict === 'FASTER' && comparison.faster === 'a' && covers(comparison, 1.2),
    );
    expect(good.length).toBeGreaterThanOrEqual(18);
    expect(found.filter(({ faster }) => faster === 'b')).toEqual([]);
  });
});

test.each([0.01, 0.02])('quiet and equal with a spread of %d: EQUIVALENT in at least 80%', (deviation) => {
  const regime = (random: Random): Regime => ({
    cell: () => (deviation / Math.SQRT2) * normal(random),
    request: () => 0,
  });
  const verdicts = Array.from({ length: 300 }, (_, seed) => {
    const values = measure(regime(createRandom('equal', deviation, seed)), { a: 0, b: 0 }, 12, seed);
    return run(values, 12)[0]?.verdict;
  });
  expect(share(verdicts.filter((verdict) => verdict === 'EQUIVALENT').length, 300)).toBeGreaterThanOrEqual(0.8);
});

test('an injected 30% is found in at least 7 of 10 runs on a machine with a spread of 10%', () => {
  const regime = (random: Random): Regime => ({
    cell: () => 0.07 * normal(random),
    request: () => 0.02 * normal(random),
  });
  const found = Array.from(
    { length: 10 },
    (_, seed) => run(measure(regime(createRandom('injected', seed)), { a: 0, b: Math.log(1.3) }, 12, seed), 12)[0],
  );
  expect(
    found.filter((comparison) => comparison?.verdict === 'FASTER' && comparison.faster === 'a').length,
  ).toBeGreaterThanOrEqual(7);
});

test('four engines under drift: a false FASTER anywhere in at most 2% of runs, all intervals together cover in 94%', () => {
  const runs = simulate('drift', { a: 0, b: 0, c: 0, d: 0 }, 12, 500);
  expect(
    share(runs.filter((found) => found.some(({ verdict }) => verdict === 'FASTER')).length, 500),
  ).toBeLessThanOrEqual(0.02);
  expect(
    share(runs.filter((found) => found.every((comparison) => covers(comparison, 1))).length, 500),
  ).toBeGreaterThanOrEqual(0.94);
});

test('mirrored random order is what makes it hold: all of a before all of b fails under heat', () => {
  const make = REGIMES['thermal'];
  if (make === undefined) throw new TypeError('the regime exists');
  const wrong = Array.from({ length: 200 }, (_, seed) => {
    const regime = make(createRandom('sequential', seed));
    const column = (first: number): number[] =>
      Array.from({ length: 6 }, (_unused, index) => regime.cell(first + index));
    return run(
      new Map([
        ['a', column(0)],
        ['b', column(6)],
      ]),
      6,
    )[0];
  });
  expect(share(wrong.filter((found) => covers(found, 1)).length, 200)).toBeLessThan(0.5);
});

test('pairing removes the drift that engines share', () => {
  const make = REGIMES['drift'];
  if (make === undefined) throw new TypeError('the regime exists');
  const values = measure(make(createRandom('pairing')), { a: 0, b: 0 }, 200, 1);
  const [a, b] = [values.get('a') ?? [], values.get('b') ?? []];
  const paired = standardDeviation(a.map((value, block) => value - (b[block] ?? 0)));
  expect(paired).toBeLessThan(0.8 * Math.hypot(standardDeviation(a), standardDeviation(b)));
});
