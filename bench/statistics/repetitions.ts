/**
 * What most people do instead: one bench after the other, some repetitions of each, and a look at mean +- standard
 * deviation, as llama-bench prints it. Two engines are called different where these two ranges do not overlap.
 */
import { mean, standardDeviation } from '../../src/core/stats/describe.ts';
import type { Machine } from './machines.ts';
import type { Regime } from './regimes.ts';
import { START_COST } from './whole-run.ts';

export interface Design {
  /** Starts of each engine, all of the first engine's before any of the second's. */
  readonly processes: number;
  /** Measured in each process, after one that warms up. */
  readonly repetitions: number;
}

/** llama-bench's default: one start, a warm-up, five repetitions. */
export const FIVE: Design = { processes: 1, repetitions: 5 };

/** Larger designs than the last ones cost more than 40 times llama-bench's default. */
export const DESIGNS: readonly Design[] = [
  ...[5, 10, 20, 50, 100, 200].map((repetitions) => ({ processes: 1, repetitions })),
  ...[2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40].flatMap((processes) =>
    [1, 5].map((repetitions) => ({ processes, repetitions })),
  ),
];

/** The default again and again, its means compared: what "5 repetitions" takes to err less. */
export const FIVES: readonly Design[] = [1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40].map((processes) => ({
  ...FIVE,
  processes,
}));

export interface Errors {
  /** Two equal engines called different. */
  readonly wrong: number;
  /** A true difference not called different, or the wrong way round. */
  readonly missed: number;
}

/** Of all processes of the two engines, in requests of the faster one. */
export function designCost({ processes, repetitions }: Design, effect: number): number {
  return [0, effect].reduce((sum, ln) => sum + processes * (START_COST + (1 + repetitions) * Math.exp(ln)), 0);
}

/** Which engine is called faster; null: the ranges overlap. */
export function callFaster(a: readonly number[], b: readonly number[]): 'a' | 'b' | null {
  const apart = Math.abs(mean([...a]) - mean([...b])) > standardDeviation(a) + standardDeviation(b);
  if (!apart) return null;
  return mean([...a]) < mean([...b]) ? 'a' : 'b';
}

/** With several processes the values are their means: people run the whole bench again and compare its results. */
function outcome(regime: Regime, { processes, repetitions }: Design, effect: number): 'a' | 'b' | null {
  const column = (first: number, lnTime: number): number[] => {
    const made = Array.from({ length: processes }, (_, index) => {
      const cell = regime.cell(first + index);
      return Array.from({ length: repetitions }, () => Math.exp(lnTime + cell + regime.request()));
    });
    return processes === 1 ? made.flat() : made.map((values) => mean(values));
  };
  const a = column(0, 0);
  return callFaster(a, column(processes, effect));
}

/**
 * Shares of runs, NaN where no run of that length is on record.
 *
 * @param machines each as likely as the others: who measures a machine does not know which it is
 */
export function errorsOf(machines: readonly Machine[], design: Design, effect: number): Errors {
  const cells = 2 * design.processes;
  const share = (size: number, holds: (found: 'a' | 'b' | null) => boolean): number =>
    mean(
      machines.map((machine) => {
        const runs = machine.runsOf(cells, design.repetitions);
        const made = Array.from({ length: runs }, (_, run) => outcome(machine.during(run), design, size));
        return made.filter(holds).length / runs;
      }),
    );
  return { wrong: share(0, (found) => found !== null), missed: share(effect, (found) => found !== 'a') };
}

/** The cheapest of these designs that errs no more than this; null: none does, or none whose error can be told. */
export function cheapest(
  designs: readonly Design[],
  { machines, most, effect }: { readonly machines: readonly Machine[]; readonly most: Errors; readonly effect: number },
): Design | null {
  const byCost = designs.toSorted((left, right) => designCost(left, effect) - designCost(right, effect));
  return (
    byCost.find((design) => {
      const { wrong, missed } = errorsOf(machines, design, effect);
      return wrong <= most.wrong && missed <= most.missed;
    }) ?? null
  );
}
