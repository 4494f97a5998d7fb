/** Bar 7: a known difference is found, with its size, and no difference is never made up. */
import { describe, expect, test } from 'vitest';
import type { Comparison, RunRecord } from '../../src/core/record.ts';
import { simulate } from './simulation.ts';
import type { SimulatedEngine } from './simulation.ts';

const RUNS = 20;
const NOISE = { process: 0.02, request: 0.01 };

/** Seeded bursts of other programs: one cell in fifteen is disturbed, and its block is run again. */
function bursts(seed: number): (cell: number) => { foreignCpuShare?: number } {
  return (cell) => ((cell * 7 + seed * 3) % 15 === 0 ? { foreignCpuShare: 0.4 } : {});
}

async function runs(engines: readonly SimulatedEngine[]): Promise<RunRecord[]> {
  const records: RunRecord[] = [];
  for (let seed = 1; seed <= RUNS; seed++) {
    const { record } = await simulate({
      engines,
      noise: NOISE,
      interferenceAt: bursts(seed),
      plan: { seed, blocks: 12, iterations: 3, budgetMs: 900_000 },
    });
    records.push(record);
  }
  return records;
}

function headline(record: RunRecord): Comparison {
  const comparison = record.comparisons.find(({ metric, prompt }) => metric === 'request' && prompt === 'mix');
  if (comparison === undefined) throw new TypeError('the record has no headline comparison');
  return comparison;
}

describe(`${RUNS} seeded runs with noise`, () => {
  test('an engine that is 20% slower comes out slower, by 20%', async () => {
    const records = await runs([{ id: 'alpha' }, { id: 'slow', slowdown: 1.2 }]);
    const comparisons = records.map(headline);
    const covering = comparisons.filter(({ low, high }) => low !== null && high !== null && low <= 1.2 && 1.2 <= high);
    expect(records.map(({ verdict }) => verdict.winner)).toEqual(records.map(() => 'alpha'));
    expect(comparisons.filter(({ faster }) => faster !== 'a')).toEqual([]);
    expect(covering.length).toBeGreaterThanOrEqual(18);
  });

  test('the same with the slow engine named first', async () => {
    const records = await runs([{ id: 'slow', slowdown: 1.2 }, { id: 'zeta' }]);
    expect(records.map(({ verdict }) => verdict.winner)).toEqual(records.map(() => 'zeta'));
  });

  test('two identical engines are never one faster than the other', async () => {
    const records = await runs([{ id: 'alpha' }, { id: 'twin' }]);
    const verdicts = new Set(records.map((record) => headline(record).verdict));
    expect([...verdicts].filter((verdict) => verdict !== 'EQUIVALENT' && verdict !== 'INCONCLUSIVE')).toEqual([]);
    expect(records.map(({ verdict }) => verdict.winner).filter((winner) => winner !== null)).toEqual([]);
    expect(records.filter((record) => headline(record).verdict === 'EQUIVALENT').length).toBeGreaterThanOrEqual(
      RUNS / 2,
    );
  });
});

test('disturbed blocks were run again, and none of them counts', async () => {
  const { record, events } = await simulate({
    engines: [{ id: 'alpha' }, { id: 'beta' }],
    noise: NOISE,
    interferenceAt: bursts(3),
    plan: { seed: 3, blocks: 12, iterations: 3, budgetMs: 900_000 },
  });
  expect(record.blocks.rejected).toBeGreaterThan(0);
  const accepted = events.filter((event) => event.type === 'block-end' && event.state === 'accepted');
  expect(record.blocks.accepted).toBeLessThanOrEqual(accepted.length);
});
