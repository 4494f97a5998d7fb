/** Does early retirement keep the promises of the protocol, is it ever wrong, and what does it save? */
import type { Comparison } from '../../src/core/record.ts';
import { percent, row as tableRow } from '../table.ts';
import { REGIMES } from './regimes.ts';
import { regimeOf } from './simulate.ts';
import type { Engines } from './simulate.ts';
import { wholeRun } from './whole-run.ts';
import type { WholeRun } from './whole-run.ts';

const BLOCKS = 12;
/** Equal engines, and one that is three times slower. */
const FIELDS: Readonly<Record<string, Engines>> = {
  'k=3': { a: 0, b: 0, slow: Math.log(3) },
  'k=4': { a: 0, b: 0, c: 0, slow: Math.log(3) },
};
/** An engine that may not be retired: slower, but by less than the bound, or just at it. */
const NEAR: Readonly<Record<string, Engines>> = {
  '1.9x': { a: 0, b: 0, slow: Math.log(1.9) },
  '2x': { a: 0, b: 0, slow: Math.log(2) },
};

export interface RetirementShares {
  /** Of runs: two equal engines called FASTER, or different at all. */
  readonly faster: number;
  readonly different: number;
  /** The slow one was retired; anybody else was, or the slow one came out ahead of an equal engine. */
  readonly retired: number;
  readonly wrong: number;
  /** Of the time that the same run takes when everybody is measured to the end. */
  readonly saved: number;
}

export function retirementShares(regime: string, engines: Engines, runs: number): RetirementShares {
  const made = Array.from({ length: runs }, (_, seed) =>
    wholeRun(regimeOf(regime, seed), engines, { blocks: BLOCKS, seed }),
  );
  const whole = Array.from({ length: runs }, (_, seed) =>
    wholeRun(regimeOf(regime, seed), engines, { blocks: BLOCKS, seed, withRetirement: false }),
  );
  const share = (holds: (run: WholeRun) => boolean): number => made.filter(holds).length / runs;
  const cost = (list: readonly WholeRun[]): number => list.reduce((sum, run) => sum + run.cost, 0);
  return {
    faster: share(({ comparisons }) => amongEqual(comparisons).some(({ verdict }) => verdict === 'FASTER')),
    different: share(({ comparisons }) => amongEqual(comparisons).some(({ faster }) => faster !== null)),
    retired: share(({ retired }) => retired.includes('slow')),
    wrong: share((run) => run.retired.some((id) => id !== 'slow') || run.comparisons.some(isUpsideDown)),
    saved: 1 - cost(made) / cost(whole),
  };
}

function amongEqual(comparisons: readonly Comparison[]): Comparison[] {
  return comparisons.filter(({ a, b }) => a !== 'slow' && b !== 'slow');
}

function isUpsideDown({ a, b, faster }: Comparison): boolean {
  return (faster === 'a' && a === 'slow') || (faster === 'b' && b === 'slow');
}

export function printRetirement(runs: number): void {
  console.log(
    '\nEarly retirement. Equal engines and one three times slower; whole runs of 12 blocks with their looks.',
  );
  console.log(
    'FASTER, wrong: of the equal engines. retired: the slow one. mistaken: another one, or the wrong way round.',
  );
  console.log('saved: of the time of all processes, against measuring everybody to the end.');
  console.log('1.9x, 2x: share of runs that retire an engine which is that much slower, so must not be retired.\n');
  const head = Object.keys(FIELDS).flatMap((name) => [`${name} FASTER`, 'wrong', 'retired', 'mistaken', 'saved']);
  console.log(row(['regime', ...head, ...Object.keys(NEAR)]));
  for (const regime of Object.keys(REGIMES)) {
    const cells = Object.values(FIELDS).flatMap((engines) => {
      const { faster, different, retired, wrong, saved } = retirementShares(regime, engines, runs);
      return [faster, different, retired, wrong, saved];
    });
    const near = Object.values(NEAR).map((engines) => retirementShares(regime, engines, runs).retired);
    console.log(row([regime, ...[...cells, ...near].map((value) => percent(value))]));
  }
}

function row(cells: readonly string[]): string {
  return tableRow(cells, { first: 11, rest: 11 });
}
