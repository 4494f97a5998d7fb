/**
 * Why does node-llama-cpp gain so little from a second thread? Its library without the binding, with one thread, two, and
 * two from a threadpool, beside a library with OpenMP; then the binding itself, as runoff starts it (one libuv worker) and
 * with libuv's default of four. Fresh processes in turns. Linux and macOS.
 */
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { mean, median } from 'simple-statistics';
import { z } from 'zod';
import { realMachinery } from '../src/app/machinery.ts';
import type { PreparedEngine } from '../src/app/machinery.ts';
import { prepareRun } from '../src/app/prepare.ts';
import type { PreparedRun } from '../src/app/prepare.ts';
import type { LaunchRequest } from '../src/core/engine.ts';
import { AppError } from '../src/core/errors.ts';
import { createEnvironments } from '../src/platform/environments/environments.ts';
import { cacheFolder } from '../src/platform/folders.ts';
import { runCommand } from '../src/platform/process/run-command.ts';
import { stopAll } from '../src/platform/process/start-process.ts';
import { ratioOf } from './peers/shares.ts';
import { ratioText } from './peers/tables.ts';

const ROUNDS = Number(process.env['ROUNDS'] ?? 10);
const PROMPT_TOKENS = 16;
const TOKENS = 64;
const THREADS = 2;
const REQUESTS = 2;
const TIMEOUT_MS = 120_000;
const SCRIPT = fileURLToPath(new URL('./bare/threads.py', import.meta.url));
/** What libuv takes when nobody says otherwise. */
const LIBUV_WORKERS = '4';
/** A token that takes more than this many times the median was held up. */
const SLOW_FACTOR = 2;

const mode = z.object({ msPerToken: z.number().positive(), created: z.number().nullable() });
const reply = z.object({ one: mode, more: mode, pool: mode });

/** One process; `note` is the last column. */
interface Reading {
  readonly msPerToken: number;
  readonly note: number | null;
}

/** Rows of one program: the first is what the others are compared with. */
type Rows = Map<string, Reading[]>;

export async function threads(): Promise<void> {
  const say = (text: string): void => console.error(text);
  const environments = createEnvironments({ cacheFolder: cacheFolder(), onProgress: say });
  const python = await environments.ensure('llama-cpp-python');
  const run = await prepare(say);
  const [binding] = run.engines;
  if (binding === undefined) return;
  const folders = {
    "node-llama-cpp's library, OpenMP off": await folderOf(binding.found.location, /^llama-addon\.node$/),
    "llama-cpp-python's library, OpenMP on": await folderOf(python.root, /^libllama\.(so|dylib)$/),
  };
  const libraries = new Map<string, Rows>(Object.keys(folders).map((name) => [name, new Map()]));
  const asShipped: Rows = new Map();
  for (let round = 0; round < ROUNDS; round++) {
    const turns = [
      ...Object.entries(folders).map(
        ([name, folder]) =>
          () =>
            askLibrary(python.runtime, folder, binding.modelPath, libraries.get(name)),
      ),
      () => askBinding(binding, run, round, asShipped),
    ];
    for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await turn();
    say(`round ${round + 1} of ${ROUNDS}`);
  }
  await stopAll();
  for (const [name, rows] of libraries) print(name, rows, 'threads created a token', 1);
  print('node-llama-cpp, through runoff', asShipped, `tokens of more than ${SLOW_FACTOR} medians, %`, 0);
}

function prepare(line: (text: string) => void): Promise<PreparedRun> {
  return prepareRun({
    asked: {
      engines: ['llama-cpp'],
      prompts: [PROMPT_TOKENS],
      generate: TOKENS,
      threads: THREADS,
      gpu: 'off',
      seed: 1,
    },
    enginePaths: new Map(),
    mayInstall: async () => true,
    version: 'bench',
    signal: new AbortController().signal,
    ui: { line, status() {}, done() {} },
  });
}

async function folderOf(root: string, file: RegExp): Promise<string> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const found = entries.find(({ name }) => file.test(name));
  if (found !== undefined) return found.parentPath;
  throw new AppError('environment-failed', `there is no ${file.source} in ${root}`);
}

async function askLibrary(python: string, folder: string, model: string, rows: Rows | undefined): Promise<void> {
  const args = ['-I', SCRIPT, folder, model, String(TOKENS), String(THREADS)];
  const { code, stdout, stderr } = await runCommand(python, args, { timeoutMs: TIMEOUT_MS });
  if (code !== 0) throw new AppError('engine-launch-failed', `${SCRIPT} failed: ${stderr.slice(-2_000)}`);
  const { one, more, pool } = reply.parse(JSON.parse(stdout));
  const named = { 'one thread': one, [`${THREADS} threads`]: more, [`${THREADS} threads from a threadpool`]: pool };
  for (const [name, { msPerToken, created }] of Object.entries(named)) add(rows, name, { msPerToken, note: created });
}

async function askBinding(prepared: PreparedEngine, run: PreparedRun, round: number, rows: Rows): Promise<void> {
  const modes = [
    ['one thread', 1, null],
    [`${THREADS} threads, one libuv worker`, THREADS, null],
    [`${THREADS} threads, ${LIBUV_WORKERS} libuv workers`, THREADS, LIBUV_WORKERS],
  ] as const;
  for (const [name, count, workers] of round % 2 === 0 ? modes : modes.toReversed())
    add(rows, name, await askBindingOnce(prepared, run, round, { count, workers }));
}

async function askBindingOnce(
  prepared: PreparedEngine,
  run: PreparedRun,
  round: number,
  { count, workers }: { readonly count: number; readonly workers: string | null },
): Promise<Reading> {
  const engine = {
    ...prepared.engine,
    launchPlan: (request: LaunchRequest) => {
      const plan = prepared.engine.launchPlan(request);
      return plan === null || workers === null ? plan : { ...plan, env: { ...plan.env, UV_THREADPOOL_SIZE: workers } };
    },
  };
  const settings = { ...run.manifest.settings, threads: count };
  const running = await realMachinery.start({ ...prepared, engine }, settings, TIMEOUT_MS);
  const gaps: number[] = [];
  for (let iteration = 0; iteration <= REQUESTS; iteration++) {
    const prompt = run.manifest.plan.prompts[0]?.name ?? '';
    const { eventMs } = await running.session.generate({
      promptTokens: run.workload.promptTokens({ block: round, prompt, iteration, kind: 'measured' }),
      generateTokens: TOKENS,
      bannedTokens: run.bannedTokens,
      topLogprobs: 0,
      timeoutMs: TIMEOUT_MS,
    });
    // The first request warms up, the first interval belongs to the prompt.
    if (iteration > 0) gaps.push(...eventMs.slice(2).map((at, index) => at - (eventMs[index + 1] ?? 0)));
  }
  await running.stop();
  const slow = gaps.filter((gap) => gap > SLOW_FACTOR * median(gaps)).length;
  return { msPerToken: mean(gaps), note: (100 * slow) / gaps.length };
}

function add(rows: Rows | undefined, name: string, reading: Reading): void {
  rows?.set(name, [...(rows.get(name) ?? []), reading]);
}

function print(title: string, rows: Rows, noteTitle: string, digits: number): void {
  console.log(`${title.padEnd(40)}ms/token   against one thread (95%)   ${noteTitle}`);
  const base = rows.get('one thread')?.map(({ msPerToken }) => msPerToken) ?? [];
  for (const [name, readings] of rows) {
    const times = readings.map(({ msPerToken }) => msPerToken);
    const notes = readings.flatMap(({ note }) => note ?? []);
    const note = notes.length === 0 ? '-' : median(notes).toFixed(digits);
    const ratio = ratioText(ratioOf(times, base)).padEnd(24);
    console.log(`  ${name.padEnd(38)}${median(times).toFixed(2).padStart(8)}   ${ratio}   ${note}`);
  }
}
