/**
 * Does the protocol keep its promises, and do the usual ways? Seven noise regimes, fixed seeds, the functions that judge
 * real runs. Bars: coverage of the paired 95% interval >= 94% in every regime and at every n; with four engines and
 * optional stopping false FASTER <= 2% and false "different" <= 5%; a 5% effect found as different in >= 90% of runs of
 * 10 blocks where it is quiet, skewed or drifting. With an engine that is retired on the way the same holds for the
 * others, and nobody else is ever retired.
 */
import { LOAD_REGIMES, loadedRun } from './statistics/load.ts';
import type { LoadedRun } from './statistics/load.ts';
import { NAIVE, pairedHolds } from './statistics/naive.ts';
import { REGIMES } from './statistics/regimes.ts';
import { printRetirement } from './statistics/retirement.ts';
import { measure, regimeOf, simulate } from './statistics/simulate.ts';
import { percent, row as tableRow } from './table.ts';

const RUNS = Number(process.env['RUNS'] ?? 4_000);
/** A run with its canary takes ten times as long to simulate. */
const LOAD_RUNS = Math.min(RUNS, 1_000);
/** Each simulated twice, with retirement and without, for four fields of engines. */
const RETIREMENT_RUNS = Math.min(RUNS, 1_000);
const BLOCKS = [5, 6, 8, 10, 12, 15];
const RUN_BLOCKS = 12;
const POWER_BLOCKS = 10;
const EFFECT = Math.log(1.05);
const FOUR = { a: 0, b: 0, c: 0, d: 0 };

export async function statistics(): Promise<void> {
  console.log(`${RUNS} runs a cell, fixed seeds. "wrong": share of runs that call two equal engines different.\n`);
  console.log(
    row([
      'regime',
      'coverage',
      'k=2 wrong',
      'FASTER',
      'k=4 wrong',
      'FASTER',
      'finds 5%',
      'inside',
      ...NAIVE.map(({ name }) => name),
    ]),
  );
  for (const name of Object.keys(REGIMES)) console.log(row([name, ...protocolCells(name), ...naiveCells(name)]));
  console.log(
    '\ncoverage: worst of n = 5, 6, 8, 10, 12, 15 blocks, paired 95% interval. k: engines; whole runs of 12 blocks with',
  );
  console.log(
    'their looks. finds 5%: a true 5% shown as a difference with 10 blocks; inside: of these, the ones that are called',
  );
  console.log(
    'EQUIVALENT as well, because it is shown to be inside the margin of 5%. Right of it: wrong, with 12 blocks.',
  );
  printRetirement(RETIREMENT_RUNS);
  underLoad();
}

/** Engines that are equal on a quiet machine and feel its load differently; whole runs with their canary. */
function underLoad(): void {
  console.log('\nUnder load. Two engines, equal on a quiet machine, that feel the load 1:1, 1:1.5 and 1:2; 12 blocks.');
  console.log(
    'raw: as measured. Then with the canary: reruns, NOISY, and LOAD-DEPENDENT. finds 30%: a true 30% called FASTER.\n',
  );
  console.log(row(['load', 'feel', 'raw FASTER', 'raw wrong', 'FASTER', 'wrong', 'NOISY', 'LOAD-DEP.', 'finds 30%']));
  for (const name of Object.keys(LOAD_REGIMES)) for (const b of [1, 1.5, 2]) console.log(row(loadCells(name, b)));
}

function loadCells(name: string, b: number): string[] {
  const run = (seed: number, effect = 0): LoadedRun =>
    loadedRun(name, { a: 1, b }, { blocks: RUN_BLOCKS, seed, effect });
  const equal = Array.from({ length: LOAD_RUNS }, (_, seed) => run(seed));
  const counted = (holds: (found: LoadedRun) => boolean): string => percent(equal.filter(holds).length / LOAD_RUNS);
  const isWrong = (verdict: string): boolean => verdict === 'FASTER' || verdict === 'SLIGHTLY_FASTER';
  const found = share(LOAD_RUNS, (seed) => {
    const { verdict, faster } = run(seed, Math.log(1.3));
    return verdict === 'FASTER' && faster === 'a';
  });
  return [
    name,
    `1:${b}`,
    counted(({ raw }) => raw === 'FASTER'),
    counted(({ raw }) => isWrong(raw)),
    counted(({ verdict }) => verdict === 'FASTER'),
    counted(({ verdict }) => isWrong(verdict)),
    counted(({ verdict }) => verdict === 'NOISY'),
    counted(({ verdict }) => verdict === 'LOAD_DEPENDENT'),
    percent(found),
  ];
}

function protocolCells(name: string): string[] {
  const coverage = Math.min(...BLOCKS.map((blocks) => coverageAt(name, blocks)));
  const two = falseShares(name, { a: 0, b: 0 });
  const four = falseShares(name, FOUR);
  const { shown, inside } = power(name);
  return [coverage, two.different, two.faster, four.different, four.faster, shown, inside].map(percent);
}

function coverageAt(name: string, blocks: number): number {
  return share(RUNS, (seed) => {
    const values = measure(regimeOf(name, seed), { a: 0, b: EFFECT }, blocks, seed);
    const [a, b] = [values.get('a') ?? [], values.get('b') ?? []];
    return pairedHolds(
      b.map((value, block) => value - (a[block] ?? 0)),
      EFFECT,
    );
  });
}

function falseShares(name: string, engines: Readonly<Record<string, number>>): { different: number; faster: number } {
  const runs = simulate(name, engines, RUN_BLOCKS, RUNS);
  const withVerdict = (...verdicts: string[]): number =>
    runs.filter(({ comparisons }) => comparisons.some(({ verdict }) => verdicts.includes(verdict))).length / RUNS;
  return { different: withVerdict('FASTER', 'SLIGHTLY_FASTER'), faster: withVerdict('FASTER') };
}

/**
 * Shown: the run says that they differ, and which is faster. The true difference is the margin itself, so that up to 5% of
 * runs also show that it is inside: EQUIVALENT, with an interval that excludes equality.
 */
function power(name: string): { readonly shown: number; readonly inside: number } {
  const runs = simulate(name, { a: 0, b: EFFECT }, POWER_BLOCKS, RUNS);
  const found = runs.flatMap(({ comparisons: [comparison] }) => {
    if (comparison === undefined || comparison.verdict === 'INCONCLUSIVE') return [];
    const { faster, verdict, low } = comparison;
    const shows = verdict === 'EQUIVALENT' ? low !== null && low > 1 : faster === 'a';
    return shows ? [verdict] : [];
  });
  const inside = found.filter((verdict) => verdict === 'EQUIVALENT').length;
  return { shown: found.length / RUNS, inside: inside / RUNS };
}

function naiveCells(name: string): string[] {
  return NAIVE.map(({ refusesEqual }) =>
    percent(share(RUNS, (seed) => refusesEqual(regimeOf(name, seed), RUN_BLOCKS, seed))),
  );
}

function share(runs: number, holds: (seed: number) => boolean): number {
  let count = 0;
  for (let seed = 0; seed < runs; seed++) if (holds(seed)) count++;
  return count / runs;
}

function row(cells: readonly string[]): string {
  return tableRow(cells, { first: 13, rest: 11 });
}
