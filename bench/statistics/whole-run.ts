/**
 * A whole run on a simulated machine, block by block as the application goes: its order, its looks, whom a look retires,
 * and what all of it costs, with the very functions that decide in real runs.
 */
import { blockOrder } from '../../src/core/protocol/block-order.ts';
import type { Comparison } from '../../src/core/record.ts';
import type { RetirementRule } from '../../src/core/retirement-schema.ts';
import { fasterMean } from '../../src/core/stats/describe.ts';
import { compareFamily, isResolved } from '../../src/core/verdict/compare-family.ts';
import { registerLooks, withAlphas } from '../../src/core/verdict/looks.ts';
import { chooseRetired, findBehind, retirementRule } from '../../src/core/verdict/retirement.ts';
import { compareStaged } from '../../src/core/verdict/staged.ts';
import type { Regime } from './regimes.ts';
import { ITERATIONS, MARGIN } from './simulate.ts';
import type { Engines } from './simulate.ts';

/** Of one process, in requests of the fastest engine: start and small warm-up, full-shape warm-up, measured requests. */
export const START_COST = 0.3;
const REQUESTS = 1 + ITERATIONS;

export interface WholeRun {
  readonly comparisons: readonly Comparison[];
  readonly retired: readonly string[];
  /** Blocks until the verdict, and the time of all processes in requests of the fastest engine. */
  readonly blocks: number;
  readonly cost: number;
}

interface Stage {
  readonly retired: readonly string[];
  readonly blocks: number;
  readonly alpha: number;
}

/** @param withRetirement false: everybody is measured to the end, with the same levels as before there was retirement */
export function wholeRun(
  regime: Regime,
  engines: Engines,
  options: { readonly blocks: number; readonly seed: number; readonly withRetirement?: boolean },
): WholeRun {
  const { blocks, seed, withRetirement = true } = options;
  const ids = Object.keys(engines);
  const counts = registerLooks(blocks, { earlyLook: true }).map((look) => look.blocks);
  const rule = withRetirement ? retirementRule({ rankedCount: ids.length, lookCount: counts.length }) : null;
  const measurement = new Measurement(regime, engines, seed);
  const stages: Stage[] = [];
  let comparisons: Comparison[] = [];
  const gone = (): string[] => stages.flatMap(({ retired }) => retired);
  for (const look of withAlphas(counts, rule?.alpha)) {
    measurement.goOnTo(look.blocks, gone());
    const compare = (by: RetirementRule | null): Comparison[] =>
      compareStaged([...stages, { ...look, retired: [] }], (stage, settled) =>
        compareFamily({
          metric: 'request',
          prompt: 'mix',
          perEngineLogValues: measurement.upTo(stage.blocks),
          alpha: by?.alpha ?? stage.alpha,
          margin: by?.ratio ?? MARGIN,
          settled,
        }),
      );
    comparisons = compare(null);
    if (isResolved(comparisons, gone()) || look.blocks === counts.at(-1)) break;
    if (rule === null) continue;
    const ranked = ids.filter((id) => !gone().includes(id));
    const restMs = new Map(ranked.map((id) => [id, (blocks - look.blocks) * costOf(engines[id] ?? 0)]));
    const retired = chooseRetired({ behind: findBehind(compare(rule), rule), ranked, restMs });
    if (retired.length > 0) stages.push({ ...look, retired: retired.map(({ engine }) => engine) });
    if (isResolved(comparisons, gone())) break;
  }
  return { comparisons, retired: gone(), blocks: measurement.blocks, cost: measurement.cost };
}

function costOf(lnTime: number): number {
  return START_COST + REQUESTS * Math.exp(lnTime);
}

class Measurement {
  blocks = 0;
  cost = 0;
  private position = 0;
  private readonly regime: Regime;
  private readonly values: Map<string, (number | null)[]>;
  private readonly engines: Engines;
  private readonly seed: number;

  constructor(regime: Regime, engines: Engines, seed: number) {
    this.engines = engines;
    this.seed = seed;
    this.regime = regime;
    this.values = new Map(Object.keys(engines).map((id) => [id, []]));
  }

  goOnTo(blocks: number, gone: readonly string[]): void {
    for (; this.blocks < blocks; this.blocks += 1) {
      const present = Object.keys(this.engines).filter((id) => !gone.includes(id));
      for (const id of blockOrder(present, this.blocks, this.seed)) this.cell(id);
      for (const id of gone) this.values.get(id)?.push(null);
    }
  }

  upTo(blocks: number): Map<string, (number | null)[]> {
    return new Map([...this.values].map(([id, column]) => [id, column.slice(0, blocks)]));
  }

  private cell(id: string): void {
    const lnTime = this.engines[id] ?? 0;
    const slowdown = this.regime.cell(this.position);
    this.position += 1;
    const requests = Array.from({ length: ITERATIONS }, this.regime.request);
    this.values.get(id)?.push(lnTime + slowdown + fasterMean(requests));
    this.cost += costOf(lnTime);
  }
}
