/** The same question on the machine at hand: a record of it for "5 times", and real runs of both. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { realMachinery } from '../../src/app/machinery.ts';
import type { PreparedEngine } from '../../src/app/machinery.ts';
import { measure } from '../../src/app/measure.ts';
import { prepareRun } from '../../src/app/prepare.ts';
import type { PreparedRun } from '../../src/app/prepare.ts';
import { copyOf, slowerBy } from '../../src/app/selftest/inject.ts';
import { comparePair } from '../../src/core/derive/compare-pair.ts';
import type { RunEvent } from '../../src/core/record.ts';
import { mean } from '../../src/core/stats/describe.ts';
import { stopAll } from '../../src/platform/process/start-process.ts';
import { createRun } from '../../src/store/run-folder.ts';
import { RECORDED_RUNS_MIN, recordedMachine } from '../statistics/machines.ts';
import { callFaster, FIVE } from '../statistics/repetitions.ts';
import type { Design } from '../statistics/repetitions.ts';
import { untilInterrupted } from '../interrupted.ts';
import { BLOCKS, COST_HEADS, costCells, oursOn, row, SHARE, verdictCosts } from './costs.ts';

/** Pairs of equal engines, and as many with the difference, each way. */
const PAIRS = Number(process.env['PAIRS'] ?? 3);
/** Processes in a row. "5 times", 40 times over, takes 80, and 20 stretches of that length. */
const RECORDED = Number(process.env['RECORDED'] ?? 100);
/** Twelve blocks of both engines, and enough stretches of that length to tell how often runoff errs. */
const RECORDED_MIN = 2 * BLOCKS + RECORDED_RUNS_MIN - 1;
const LOAD_TIMEOUT_MS = 120_000;
const REQUEST_TIMEOUT_MS = 60_000;
/** The selftest's: with shorter requests the starts of processes would decide, of which runoff makes more. */
const ASKED = { prompts: [128], generate: 32, threads: 1, gpu: 'off', seed: 1, blocks: BLOCKS } as const;
const BUDGET_MS = 180_000;
const FIXTURE = fileURLToPath(new URL('../../test/fixtures/engines/alpha.ts', import.meta.url));
/** Sleeps for a quarter of a second a request: the harness is real, the engine costs no processor. */
const FIXTURE_BEHAVIOUR = { prefillMsPerToken: 2, decodeMsPerToken: 8, loadMs: 100, noise: 0.01 };

interface Found {
  readonly faster: 'a' | 'b' | null;
  readonly seconds: number;
  /** Of runoff: blocks that counted, and attempts rejected. */
  readonly blocks?: { readonly counted: number; readonly rejected: number };
}

/** Interrupted, it tells what was found until then. @param only part of an engine's path or id */
export async function realRuns(only: string | undefined): Promise<void> {
  if (!(RECORDED >= RECORDED_MIN) || !(PAIRS >= 1)) {
    console.error(`RECORDED is ${RECORDED_MIN} or more, PAIRS 1 or more`);
    process.exitCode = 2;
    return;
  }
  const signal = untilInterrupted();
  const folder = await mkdtemp(join(tmpdir(), 'runoff-fixtures-'));
  try {
    await writeFile(join(folder, 'alpha.json'), JSON.stringify(FIXTURE_BEHAVIOUR));
    process.env['RUNOFF_FIXTURES'] = folder;
    for (const engine of [FIXTURE, 'llama-cpp'])
      if (!signal.aborted && (only === undefined || engine.includes(only))) await onEngine(engine, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    if (signal.aborted) {
      console.error('interrupted');
      process.exitCode = 1;
    }
    await rm(folder, { recursive: true, force: true });
    await stopAll();
  }
}

async function onEngine(id: string, signal: AbortSignal): Promise<void> {
  const run = await prepareRun({
    asked: { ...ASKED, prompts: [...ASKED.prompts], engines: [id] },
    enginePaths: new Map(),
    mayInstall: async () => true,
    version: 'bench',
    signal,
    ui: { line() {}, status() {}, done() {} },
  });
  const [prepared] = run.engines;
  if (prepared === undefined) {
    console.log(`${id}: not here`);
    return;
  }
  const bench = { run, prepared, signal };
  const again = await recorded(bench);
  if (!signal.aborted) await pairs(bench, again);
}

interface Bench {
  readonly run: PreparedRun;
  readonly prepared: PreparedEngine;
  readonly signal: AbortSignal;
}

/** @returns how often "5 times" must be repeated here to err no more than runoff */
async function recorded({ run, prepared, signal }: Bench): Promise<Design | null> {
  const startedMs = performance.now();
  const perProcessMs: number[][] = [];
  while (perProcessMs.length < RECORDED && !signal.aborted) {
    perProcessMs.push(await repeated(run, prepared, perProcessMs.length));
    console.error(`process ${perProcessMs.length} of ${RECORDED}`);
  }
  const { length } = perProcessMs;
  if (length < RECORDED_MIN) {
    console.log(`${length} processes tell nothing: it takes ${RECORDED_MIN}`);
    return null;
  }
  const seconds = (performance.now() - startedMs) / 1_000 / length;
  const machine = recordedMachine(perProcessMs);
  const costs = verdictCosts([machine], oursOn(machine));
  console.log(
    `\n${prepared.engine.id.slice(0, 10)}, ${length} processes of "5 times" in a row, ${seconds.toFixed(1)} s each. A run is a stretch of them, in its order;`,
  );
  console.log('of the slower engine, times are 1.3 times as long. Of the record, nothing is simulated but that.\n');
  console.log(row(['machine', ...COST_HEADS]));
  console.log(row(['this one', ...costCells(costs)]));
  return costs.again;
}

async function pairs({ run, prepared, signal }: Bench, again: Design | null): Promise<void> {
  console.log(`\nReal runs, ${PAIRS} of each. The second engine is the first again, or slower by 30%.`);
  console.log('seconds: of engines at work for one comparison, starts, warm-ups and rejected blocks included.');
  console.log('at equal error: of "5 times" as often as it takes by the record of this machine.\n');
  const head = [
    'equal: wrong',
    '30%: found',
    'wrong way',
    'blocks',
    'rejected',
    'seconds',
    'of "5 times"',
    'at equal error',
  ];
  console.log(row(['way', ...head]));
  const ways = [
    { name: '5 times', ask: (other: PreparedEngine, round: number) => fiveTimes(run, [prepared, other], round) },
    {
      name: 'runoff',
      ask: (other: PreparedEngine, round: number) => asRunoff({ run, prepared, signal }, other, round),
    },
  ];
  let fiveSeconds = 0;
  for (const { name, ask } of ways) {
    const [equal, apart]: [Found[], Found[]] = [[], []];
    for (let round = 0; round < PAIRS && !signal.aborted; round += 1) {
      const same = await ask({ ...prepared, engine: copyOf(prepared.engine, 'other') }, round);
      const slower = await ask({ ...prepared, engine: slowerBy(prepared.engine, SHARE, 'other') }, round);
      // A run that was interrupted compares nothing.
      if (signal.aborted) break;
      equal.push(same);
      apart.push(slower);
      console.error(`${name}: pair ${round + 1} of ${PAIRS}`);
    }
    if (apart.length === 0) return;
    const seconds = mean(apart.map((found) => found.seconds));
    if (name === '5 times') fiveSeconds = seconds;
    const of = (list: readonly Found[], faster: readonly (string | null)[]): string =>
      `${list.filter((found) => faster.includes(found.faster)).length} of ${list.length}`;
    const blocks = apart.flatMap((found) => found.blocks ?? []);
    console.log(
      row([
        name,
        of(equal, ['a', 'b']),
        of(apart, ['a']),
        of(apart, ['b']),
        blocks.map(({ counted }) => counted).join(' ') || '-',
        blocks.map(({ rejected }) => rejected).join(' ') || '-',
        seconds.toFixed(1),
        `${(seconds / fiveSeconds).toFixed(1)}x`,
        name === '5 times' ? '' : atEqualError(seconds / fiveSeconds, again),
      ]),
    );
  }
}

function atEqualError(ratio: number, again: Design | null): string {
  return again === null ? 'it never errs as little' : `${(ratio / again.processes).toFixed(2)}x (${again.processes} x)`;
}

async function fiveTimes(
  run: PreparedRun,
  [one, other]: readonly [PreparedEngine, PreparedEngine],
  round: number,
): Promise<Found> {
  const startedMs = performance.now();
  const columns = [await repeated(run, one, round), await repeated(run, other, round)];
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
      generateTokens: ASKED.generate,
      bannedTokens: run.bannedTokens,
      topLogprobs: 0,
      timeoutMs: REQUEST_TIMEOUT_MS,
    });
    if (iteration > 0) times.push(eventMs.at(-1) ?? 0);
  }
  await running.stop();
  return times;
}

async function asRunoff({ run, prepared, signal }: Bench, other: PreparedEngine, round: number): Promise<Found> {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-bench-'));
  const facts = run.manifest.engines.find(({ id }) => id === prepared.engine.id);
  if (facts === undefined) throw new TypeError('the prepared engine is in the manifest');
  const arms = [facts, { ...facts, id: other.engine.id, title: other.engine.title }];
  const plan = { ...run.manifest.plan, engines: arms.map(({ id }) => id), seed: round + 1, budgetMs: BUDGET_MS };
  const manifest = { ...run.manifest, engines: arms, plan };
  const log = await createRun(join(folder, 'run'), manifest);
  try {
    const ui = { line() {}, status() {}, done() {} };
    const engines = [prepared, other];
    const copies = new Map([[other.engine.id, { of: prepared.engine.id, slowdown: 1 }]]);
    await measure({ ...run, log, engines, copies, budgetMs: BUDGET_MS, machinery: realMachinery, signal, ui });
    const pair = comparePair({ manifest, events: log.events }, { copies: true });
    const attempts = log.events.filter((event) => event.type === 'block-end').length;
    const counted = pair?.blockCount ?? 0;
    return {
      faster: pair?.faster ?? null,
      seconds: engineSeconds(log.events),
      blocks: { counted, rejected: attempts - counted },
    };
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
