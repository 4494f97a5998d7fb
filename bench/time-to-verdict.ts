/**
 * How long until the answer, for a true 30%? runoff against "5 repetitions of everything, one engine after the other"
 * (llama-bench's default), in seconds of engines at work, beside how often each is wrong. Bar: at most half of the
 * engine seconds at equal error.
 */
import { mean } from '../src/core/stats/describe.ts';
import { simulatedMachine } from './statistics/machines.ts';
import type { Machine } from './statistics/machines.ts';
import { designCost, FIVE } from './statistics/repetitions.ts';
import { REGIMES } from './statistics/regimes.ts';
import { regimeOf } from './statistics/simulate.ts';
import { wholeRun } from './statistics/whole-run.ts';
import type { WholeRun } from './statistics/whole-run.ts';
import { percent } from './table.ts';
import {
  BLOCKS,
  COST_HEADS,
  COST_LEGEND,
  costCells,
  EFFECT,
  onAverage,
  oursOn,
  row,
  verdictCosts,
} from './time-to-verdict/costs.ts';
import { realRuns } from './time-to-verdict/real.ts';

const RUNS = Number(process.env['RUNS'] ?? 1_000);

/** `simulated` or a part of an engine's path or id leaves the other tables out. */
export async function timeToVerdict(): Promise<void> {
  const only = process.argv[3];
  console.log(COST_LEGEND);
  if (only === undefined || only === 'simulated') simulated();
  if (only !== 'simulated') await realRuns(only);
}

function simulated(): void {
  console.log(`Simulated, ${RUNS} runs a cell, fixed seeds.`);
  console.log(row(['regime', ...COST_HEADS]));
  const all: readonly { name: string; machine: Machine }[] = Object.keys(REGIMES).map((name) => ({
    name,
    machine: simulatedMachine(name, RUNS),
  }));
  const ours = all.map(({ machine }) => oursOn(machine));
  for (const [index, { name, machine }] of all.entries()) {
    const own = ours[index];
    if (own !== undefined) console.log(row([name, ...costCells(verdictCosts([machine], own))]));
  }
  const machines = all.map(({ machine }) => machine);
  console.log(row(['any of them', ...costCells(verdictCosts(machines, onAverage(ours)))]));
  console.log(
    `\nFour engines: one 30% faster than two, and one three times slower. Until the verdict, in the same unit.\n`,
  );
  console.log(row(['regime', 'winner', 'cost', 'no retiring', '"5 times"']));
  for (const { name } of all) console.log(row([name, ...fieldCells(name)]));
}

function fieldCells(name: string): string[] {
  const field = { a: 0, b: EFFECT, c: EFFECT, d: Math.log(3) };
  const made = (withRetirement: boolean): WholeRun[] =>
    Array.from({ length: RUNS }, (_, seed) =>
      wholeRun(regimeOf(name, seed), field, { blocks: BLOCKS, seed, withRetirement }),
    );
  const runs = made(true);
  const won = runs.filter(({ comparisons }) =>
    ['b', 'c', 'd'].every((other) =>
      comparisons.some(
        ({ a, b, verdict, faster }) => a === 'a' && b === other && verdict === 'FASTER' && faster === 'a',
      ),
    ),
  );
  const five = Object.values(field).reduce((sum, ln) => sum + designCost(FIVE, ln) - designCost(FIVE, 0) / 2, 0);
  return [
    percent(won.length / RUNS),
    mean(runs.map(({ cost }) => cost)).toFixed(0),
    mean(made(false).map(({ cost }) => cost)).toFixed(0),
    five.toFixed(0),
  ];
}
