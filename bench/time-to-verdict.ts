/**
 * How long until the answer, for a true 30%? runoff against "5 repetitions of everything, one engine after the other"
 * (llama-bench's default), in seconds of engines at work, beside how often each is wrong. Bar: at most half of the
 * engine seconds at equal error.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { realMachinery } from '../src/app/machinery.ts';
import type { PreparedEngine } from '../src/app/machinery.ts';
import { measure } from '../src/app/measure.ts';
import { prepareRun } from '../src/app/prepare.ts';
import type { PreparedRun } from '../src/app/prepare.ts';
import { copyOf, slowerBy } from '../src/app/selftest/inject.ts';
import { comparePair } from '../src/core/derive/compare-pair.ts';
import type { RunEvent } from '../src/core/record.ts';
import { stopAll } from '../src/platform/process/start-process.ts';
import { createRun } from '../src/store/run-folder.ts';
import { REGIMES } from './statistics/regimes.ts';
import { callFaster, cheapest, designCost, DESIGNS, errorsOf, FIVE, FIVES } from './statistics/repetitions.ts';
import type { Design, Errors } from './statistics/repetitions.ts';
import { wholeRun } from './statistics/whole-run.ts';
import type { WholeRun } from './statistics/whole-run.ts';

const RUNS = Number(process.env['RUNS'] ?? 1_000);
/** Pairs of equal engines, and as many with the difference, each way on the real machine. */
const REAL_PAIRS = Number(process.env['PAIRS'] ?? 3);
const BLOCKS = 12;
const SHARE = 0.3;
const EFFECT = Math.log(1 + SHARE);
/** What runoff promises: an equal engine called different in 5% of runs. */
const PROMISED_MAX = 0.05;
/** Fewer errors than this the simulation does not tell apart from none. */
const TOLD_MIN = 0.005;
const LOAD_TIMEOUT_MS = 120_000;
const REQUEST_TIMEOUT_MS = 60_000;
/** The selftest's: with shorter requests the starts of processes would decide, of which runoff makes more. */
const REAL = { prompts: [128], generate: 32, threads: 1, gpu: 'off', seed: 1, blocks: BLOCKS } as const;
/**
 * So often "5 times" must be repeated, its means compared, to err no more than runoff: the fewest of all simulated machines
 * where any number does.
 */
const EQUAL_ERROR_TIMES = 6;
const BUDGET_MS = 180_000;
const FIXTURE = fileURLToPath(new URL('../test/fixtures/engines/alpha.ts', import.meta.url));
/** Sleeps for a quarter of a second a request: the harness is real, the engine costs no processor. */
const FIXTURE_BEHAVIOUR = { prefillMsPerToken: 2, decodeMsPerToken: 8, loadMs: 100, noise: 0.01 };

export async function timeToVerdict(): Promise<void> {
  const only = process.argv[3];
  if (only === undefined || only === 'simulated') simulated();
  if (only === 'simulated') return;
  console.log(`\nReal runs, ${REAL_PAIRS} of each. The second engine is the first again, or slower by an exact 30%.`);
  console.log('seconds: of engines at work for one comparison, starts and warm-ups included.');
  console.log(`at equal error: of ${EQUAL_ERROR_TIMES} times "5 times", from the simulation.\n`);
  console.log(
    row(['engine', 'way', 'equal: wrong', '30%: found', 'wrong way', 'seconds', 'of "5 times"', 'at equal error']),
  );
  const folder = await mkdtemp(join(tmpdir(), 'runoff-fixtures-'));
  await writeFile(join(folder, 'alpha.json'), JSON.stringify(FIXTURE_BEHAVIOUR));
  process.env['RUNOFF_FIXTURES'] = folder;
  for (const engine of [FIXTURE, 'llama-cpp']) if (only === undefined || engine.includes(only)) await real(engine);
  await rm(folder, { recursive: true, force: true });
  await stopAll();
}

function simulated(): void {
  console.log(
    `Simulated, ${RUNS} runs a cell, fixed seeds. Two engines; a true 30%. Cost in requests of the faster engine.`,
  );
  console.log('wrong: equal engines called different. missed: the 30% not found, or the wrong way round.');
  console.log('"5 times": one process each, a warm-up, 5 repetitions; different where mean +- sd do not overlap.');
  console.log(
    '5 again: as many runs of it (processes x repetitions) as it takes to err no more than runoff does, and what',
  );
  console.log(
    'runoff costs of that: the bar is 0.5x. cheapest: the cheapest sequential design of any kind that errs no more.',
  );
  console.log(
    'at 5%: the cheapest that errs in no more than 5% each way. Blocks are not gated here: nothing is run again.\n',
  );
  const head = [
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
  console.log(row(['regime', ...head]));
  const ours = new Map(Object.keys(REGIMES).map((name) => [name, ourErrors(name)]));
  for (const [name, errors] of ours) console.log(row([name, ...simulatedCells([name], errors)]));
  console.log(row(['any of them', ...simulatedCells([...ours.keys()], onAverage([...ours.values()]))]));
  console.log(
    `\nFour engines: one 30% faster than two, and one three times slower. Until the verdict, in the same unit.\n`,
  );
  console.log(row(['regime', 'winner', 'cost', 'no retiring', '"5 times"']));
  for (const name of Object.keys(REGIMES)) console.log(row([name, ...fieldCells(name)]));
}

type OurErrors = Errors & { readonly cost: number };

function onAverage(list: readonly OurErrors[]): OurErrors {
  return {
    wrong: meanOf(list.map(({ wrong }) => wrong)),
    missed: meanOf(list.map(({ missed }) => missed)),
    cost: meanOf(list.map(({ cost }) => cost)),
  };
}

function simulatedCells(names: readonly string[], ours: OurErrors): string[] {
  const five = errorsOf(names, FIVE, EFFECT, RUNS);
  const atMost = (share: number): Errors => ({
    wrong: Math.max(share, ours.wrong),
    missed: Math.max(share, ours.missed),
  });
  const fiveCost = designCost(FIVE, EFFECT);
  const against = (designs: readonly Design[], share: number): string[] => {
    const design = cheapest(designs, { names, most: atMost(share), effect: EFFECT, runs: RUNS });
    if (design === null) return ['never', '-'];
    return [`${design.processes} x ${design.repetitions}`, `${(ours.cost / designCost(design, EFFECT)).toFixed(1)}x`];
  };
  return [
    percent(five.wrong),
    percent(five.missed),
    fiveCost.toFixed(0),
    percent(ours.wrong),
    percent(ours.missed),
    ours.cost.toFixed(0),
    `${(ours.cost / fiveCost).toFixed(1)}x`,
    ...against(FIVES, TOLD_MIN),
    ...against(DESIGNS, TOLD_MIN),
    ...against(DESIGNS, PROMISED_MAX),
  ];
}

/** Cost: of the runs with the difference, which is what is asked for. */
function ourErrors(name: string): OurErrors {
  const made = (effect: number): WholeRun[] =>
    Array.from({ length: RUNS }, (_, seed) => wholeRun(name, { a: 0, b: effect }, { blocks: BLOCKS, seed }));
  const [equal, apart] = [made(0), made(EFFECT)];
  const called = ({ comparisons }: WholeRun): 'a' | 'b' | null => comparisons[0]?.faster ?? null;
  return {
    wrong: equal.filter((run) => called(run) !== null).length / RUNS,
    missed: apart.filter((run) => called(run) !== 'a').length / RUNS,
    cost: meanOf(apart.map(({ cost }) => cost)),
  };
}

function fieldCells(name: string): string[] {
  const field = { a: 0, b: EFFECT, c: EFFECT, d: Math.log(3) };
  const made = (withRetirement: boolean): WholeRun[] =>
    Array.from({ length: RUNS }, (_, seed) => wholeRun(name, field, { blocks: BLOCKS, seed, withRetirement }));
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
    meanOf(runs.map(({ cost }) => cost)).toFixed(0),
    meanOf(made(false).map(({ cost }) => cost)).toFixed(0),
    five.toFixed(0),
  ];
}

interface Found {
  readonly faster: 'a' | 'b' | null;
  readonly seconds: number;
}

async function real(id: string): Promise<void> {
  const controller = new AbortController();
  const ui = { line() {}, status() {}, done() {} };
  const run = await prepareRun({
    asked: { ...REAL, prompts: [...REAL.prompts], engines: [id] },
    enginePaths: new Map(),
    mayInstall: async () => true,
    version: 'bench',
    signal: controller.signal,
    ui,
  });
  const [prepared] = run.engines;
  if (prepared === undefined) {
    console.log(`${id}: not here`);
    return;
  }
  const ways = [
    { name: '5 times', ask: (other: PreparedEngine, round: number) => fiveTimes(run, prepared, other, round) },
    { name: 'runoff', ask: (other: PreparedEngine, round: number) => asRunoff(run, prepared, other, round) },
  ];
  let fiveSeconds = 0;
  for (const { name, ask } of ways) {
    const [equal, apart]: [Found[], Found[]] = [[], []];
    for (let round = 0; round < REAL_PAIRS; round += 1) {
      equal.push(await ask({ ...prepared, engine: copyOf(prepared.engine, 'other') }, round));
      apart.push(await ask({ ...prepared, engine: slowerBy(prepared.engine, SHARE, 'other') }, round));
    }
    const seconds = meanOf(apart.map((found) => found.seconds));
    if (name === '5 times') fiveSeconds = seconds;
    const of = (list: readonly Found[], faster: readonly (string | null)[]): string =>
      `${list.filter((found) => faster.includes(found.faster)).length} of ${REAL_PAIRS}`;
    const cells = [of(equal, ['a', 'b']), of(apart, ['a']), of(apart, ['b']), seconds.toFixed(1)];
    const ratio = seconds / fiveSeconds;
    const equally = name === '5 times' ? '' : `${(ratio / EQUAL_ERROR_TIMES).toFixed(2)}x`;
    console.log(row([prepared.engine.id.slice(0, 10), name, ...cells, `${ratio.toFixed(1)}x`, equally]));
  }
}

async function fiveTimes(
  run: PreparedRun,
  prepared: PreparedEngine,
  other: PreparedEngine,
  round: number,
): Promise<Found> {
  const startedMs = performance.now();
  const columns = [await repeated(run, prepared, round), await repeated(run, other, round)];
  const seconds = (performance.now() - startedMs) / 1_000;
  return { faster: callFaster(columns[0] ?? [], columns[1] ?? []), seconds };
}

/** Time of each measured request, ms. */
async function repeated(run: PreparedRun, prepared: PreparedEngine, round: number): Promise<number[]> {
  const running = await realMachinery.start(prepared, run.manifest.settings, LOAD_TIMEOUT_MS);
  const times: number[] = [];
  const prompt = run.manifest.plan.prompts[0]?.name ?? '';
  for (let iteration = 0; iteration <= FIVE.repetitions; iteration += 1) {
    const { eventMs } = await running.session.generate({
      promptTokens: run.workload.promptTokens({ block: round, prompt, iteration, kind: 'measured' }),
      generateTokens: REAL.generate,
      bannedTokens: run.bannedTokens,
      topLogprobs: 0,
      timeoutMs: REQUEST_TIMEOUT_MS,
    });
    if (iteration > 0) times.push(eventMs.at(-1) ?? 0);
  }
  await running.stop();
  return times;
}

async function asRunoff(
  run: PreparedRun,
  prepared: PreparedEngine,
  other: PreparedEngine,
  round: number,
): Promise<Found> {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-bench-'));
  const facts = run.manifest.engines.find(({ id }) => id === prepared.engine.id);
  if (facts === undefined) throw new TypeError('the prepared engine is in the manifest');
  const arms = [facts, { ...facts, id: other.engine.id, title: other.engine.title }];
  const plan = { ...run.manifest.plan, engines: arms.map(({ id }) => id), seed: round + 1, budgetMs: BUDGET_MS };
  const manifest = { ...run.manifest, engines: arms, plan };
  const log = await createRun(join(folder, 'run'), manifest);
  try {
    const { signal } = new AbortController();
    const ui = { line() {}, status() {}, done() {} };
    const engines = [prepared, other];
    const copies = new Map([[other.engine.id, { of: prepared.engine.id, slowdown: 1 }]]);
    await measure({ ...run, log, engines, copies, budgetMs: BUDGET_MS, machinery: realMachinery, signal, ui });
    const pair = comparePair({ manifest, events: log.events }, { copies: true });
    return { faster: pair?.faster ?? null, seconds: engineSeconds(log.events) };
  } finally {
    await log.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** All processes of the blocks, rejected ones, too; not the gates, which the other way leaves out. */
function engineSeconds(events: readonly RunEvent[]): number {
  let openedMs = 0;
  let totalMs = 0;
  for (const event of events) {
    if (event.type === 'cell-start') openedMs = event.elapsedMs;
    if (event.type === 'cell-end') totalMs += event.elapsedMs - openedMs;
  }
  return totalMs / 1_000;
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function percent(value: number): string {
  return `${(100 * value).toFixed(1)}%`;
}

function row(cells: readonly string[]): string {
  return cells.map((cell, index) => (index === 0 ? cell.padEnd(11) : cell.padStart(14))).join('');
}
