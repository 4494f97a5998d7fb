/** The protocol from order to verdict on simulated machines, with the very functions that judge real runs. */
import { blockOrder } from '../../src/core/protocol/block-order.ts';
import { createRandom } from '../../src/core/random.ts';
import type { Comparison } from '../../src/core/record.ts';
import { fasterMean } from '../../src/core/stats/describe.ts';
import { compareFamily, isResolved } from '../../src/core/verdict/compare-family.ts';
import { registerLooks } from '../../src/core/verdict/looks.ts';
import { REGIMES } from './regimes.ts';
import type { Regime } from './regimes.ts';

export const ITERATIONS = 3;
/** Practical margin of the default plan. */
export const MARGIN = 1.05;

/** ln time of each engine on a quiet machine. */
export type Engines = Readonly<Record<string, number>>;

/** ln times by engine and block, in the protocol's order: the faster ones of K requests. */
export function measure(regime: Regime, engines: Engines, blocks: number, seed: number): Map<string, number[]> {
  const ids = Object.keys(engines);
  const values = new Map(ids.map((id) => [id, [] as number[]]));
  for (let block = 0; block < blocks; block += 1) {
    for (const [index, id] of blockOrder(ids, block, seed).entries()) {
      const cell = regime.cell(block * ids.length + index);
      const requests = Array.from({ length: ITERATIONS }, regime.request);
      values.get(id)?.push((engines[id] ?? 0) + cell + fasterMean(requests));
    }
  }
  return values;
}

/** A whole run: tested at its planned looks, stopped when resolved. `blocksUsed` counts what it took. */
export function judge(
  values: ReadonlyMap<string, readonly number[]>,
  blocks: number,
): { comparisons: Comparison[]; blocksUsed: number } {
  let last: { comparisons: Comparison[]; blocksUsed: number } = { comparisons: [], blocksUsed: 0 };
  for (const look of registerLooks(blocks, { earlyLook: true })) {
    const perEngineLogValues = new Map([...values].map(([id, column]) => [id, column.slice(0, look.blocks)]));
    const comparisons = compareFamily({
      metric: 'request',
      prompt: 'mix',
      perEngineLogValues,
      alpha: look.alpha,
      margin: MARGIN,
    });
    last = { comparisons, blocksUsed: look.blocks };
    if (isResolved(comparisons)) break;
  }
  return last;
}

export function simulate(
  name: string,
  engines: Engines,
  blocks: number,
  runs: number,
): { comparisons: Comparison[]; blocksUsed: number }[] {
  return Array.from({ length: runs }, (_, seed) => judge(measure(regimeOf(name, seed), engines, blocks, seed), blocks));
}

/** The same name and seed give the same machine. */
export function regimeOf(name: string, seed: number): Regime {
  const make = REGIMES[name];
  if (make === undefined) throw new TypeError(`there is no regime ${name}`);
  return make(createRandom(name, seed));
}

export function covers(comparison: Comparison | undefined, ratio: number): boolean {
  return comparison?.low != null && comparison.high !== null && comparison.low <= ratio && ratio <= comparison.high;
}
