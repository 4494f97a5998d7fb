/** What a verdict costs on a machine, ours and that of "5 times", and how often each is wrong. */
import { mean } from '../../src/core/stats/describe.ts';
import type { Machine } from '../statistics/machines.ts';
import { cheapest, designCost, DESIGNS, errorsOf, FIVE, FIVES } from '../statistics/repetitions.ts';
import type { Design, Errors } from '../statistics/repetitions.ts';
import { ITERATIONS } from '../statistics/simulate.ts';
import { percent, row as tableRow } from '../table.ts';
import { wholeRun } from '../statistics/whole-run.ts';
import type { WholeRun } from '../statistics/whole-run.ts';

export const BLOCKS = 12;
export const SHARE = 0.3;
export const EFFECT = Math.log(1 + SHARE);
/** What runoff promises: an equal engine called different in 5% of runs. */
const PROMISED_MAX = 0.05;
/** Fewer errors than this are not told apart from none. */
const TOLD_MIN = 0.005;

export interface Ours extends Errors {
  /** In requests of the faster engine, of the runs with the difference, which is what is asked for. */
  readonly cost: number;
}

export interface VerdictCosts {
  readonly five: Ours;
  readonly ours: Ours;
  /** "5 times" again and again, as often as it takes to err no more than runoff. */
  readonly again: Design | null;
  readonly cheapest: Design | null;
  readonly promised: Design | null;
}

export function oursOn(machine: Machine): Ours {
  const processes = 2 * BLOCKS;
  const runs = machine.runsOf(processes, ITERATIONS);
  const made = (effect: number): WholeRun[] =>
    Array.from({ length: runs }, (_, run) =>
      wholeRun(machine.during(run), { a: 0, b: effect }, { blocks: BLOCKS, seed: run }),
    );
  const [equal, apart] = [made(0), made(EFFECT)];
  const called = ({ comparisons }: WholeRun): 'a' | 'b' | null => comparisons[0]?.faster ?? null;
  return {
    wrong: equal.filter((run) => called(run) !== null).length / runs,
    missed: apart.filter((run) => called(run) !== 'a').length / runs,
    cost: mean(apart.map(({ cost }) => cost)),
  };
}

export function onAverage(list: readonly Ours[]): Ours {
  return {
    wrong: mean(list.map(({ wrong }) => wrong)),
    missed: mean(list.map(({ missed }) => missed)),
    cost: mean(list.map(({ cost }) => cost)),
  };
}

export function verdictCosts(machines: readonly Machine[], ours: Ours): VerdictCosts {
  const least = (designs: readonly Design[], share: number): Design | null => {
    const most = { wrong: Math.max(share, ours.wrong), missed: Math.max(share, ours.missed) };
    return cheapest(designs, { machines, most, effect: EFFECT });
  };
  return {
    five: { ...errorsOf(machines, FIVE, EFFECT), cost: designCost(FIVE, EFFECT) },
    ours,
    again: least(FIVES, TOLD_MIN),
    cheapest: least(DESIGNS, TOLD_MIN),
    promised: least(DESIGNS, PROMISED_MAX),
  };
}

export const COST_LEGEND = `Two engines; a true 30%. Cost in requests of the faster engine.
wrong: equal engines called different. missed: the 30% not found, or the wrong way round.
"5 times": one process each, a warm-up, 5 repetitions; different where mean +- sd do not overlap.
5 again: as many runs of it (processes x repetitions) as it takes to err no more than runoff does, and what
runoff costs of that: the bar is 0.5x. cheapest: the cheapest sequential design of any kind that errs no more.
at 5%: the cheapest that errs in no more than 5% each way. Blocks are not gated here: nothing is run again.
`;

export const COST_HEADS = [
  '5: wrong',
  'missed',
  'cost',
  'runoff: wrong',
  'missed',
  'cost',
  'of "5"',
  '5 again',
  'of that',
  'cheapest',
  'of that',
  'at 5%',
  'of that',
];

export function costCells({ five, ours, again, cheapest: any, promised }: VerdictCosts): string[] {
  const beside = (design: Design | null): string[] =>
    design === null
      ? ['never', '-']
      : [`${design.processes} x ${design.repetitions}`, `${(ours.cost / designCost(design, EFFECT)).toFixed(2)}x`];
  return [
    percent(five.wrong),
    percent(five.missed),
    five.cost.toFixed(0),
    percent(ours.wrong),
    percent(ours.missed),
    ours.cost.toFixed(0),
    `${(ours.cost / five.cost).toFixed(1)}x`,
    ...beside(again),
    ...beside(any),
    ...beside(promised),
  ];
}

export function row(cells: readonly string[]): string {
  return tableRow(cells, { first: 11, rest: 15 });
}
