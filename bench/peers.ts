/**
 * Does runoff measure what the projects' own benchmarks measure? llama-bench, runoff's libllama and llama-server engines
 * load ONE libllama file; fresh processes each round, which take turns; one thread, one model file. Then
 * mlx_lm.benchmark and runoff's mlx-lm engine, in a small shape: MLX on a CPU is slow.
 * Bars: prefill through runoff within 0.98-1.02 of llama-bench on a quiet machine; decode split into engine, sampling and
 * transport, with nothing unexplained above 2%.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareRun } from '../src/app/prepare.ts';
import type { PreparedRun } from '../src/app/prepare.ts';
import { serverIn } from '../src/app/ladder.ts';
import { realMachinery } from '../src/app/machinery.ts';
import type { PreparedEngine } from '../src/app/machinery.ts';
import { AppError } from '../src/core/errors.ts';
import { createRandom, shuffle } from '../src/core/random.ts';
import { createEnvironments } from '../src/platform/environments/environments.ts';
import { cacheFolder } from '../src/platform/folders.ts';
import { stopAll } from '../src/platform/process/start-process.ts';
import { untilInterrupted } from './interrupted.ts';
import { ensureLlamaBench, requireOneLibrary } from './peers/build-llama-bench.ts';
import type { LlamaBench } from './peers/build-llama-bench.ts';
import { askMlx, askMlxBenchmark } from './peers/mlx.ts';
import type { Shape } from './peers/requests.ts';
import { ratioOf } from './peers/shares.ts';
import { llamaTable, mlxTable, ratioText } from './peers/tables.ts';
import type { MlxRound } from './peers/tables.ts';
import { askTogether } from './peers/turns.ts';
import type { LlamaRound } from './peers/turns.ts';

/** A good minute each on two cores of 2024. */
const ROUNDS = Number(process.env['ROUNDS'] ?? 12);
/** Turns of everybody in a round. */
const REPETITIONS = Number(process.env['REPETITIONS'] ?? 5);
/** Some 30 seconds each; 0 leaves MLX out. */
const MLX_ROUNDS = Number(process.env['MLX_ROUNDS'] ?? 3);
const ROUNDS_MAX = 100;
/** Each with a prompt before it and two at the start: a block of prompts has room for sixteen. */
const REPETITIONS_MAX = 7;
const TOKENS_MAX = 4_096;
const SEED = 1;
const ENVIRONMENT = 'llama-cpp-python';
/** 512 is llama-bench's own. Shorter ones make more turns in the same time, where a machine's speed wanders. */
const LLAMA_SHAPE: Shape = {
  promptTokens: Number(process.env['PROMPT'] ?? 512),
  generateTokens: Number(process.env['GENERATE'] ?? 32),
  repetitions: REPETITIONS,
};
const MLX_SHAPE: Shape = { promptTokens: 32, generateTokens: 16, repetitions: 1 };

const WHAT_IS_MEASURED = `
llama-bench: random token ids, no sampling, a threadpool of its own, a warm-up right before each repetition. pp${LLAMA_SHAPE.promptTokens} fills an
empty context, tg${LLAMA_SHAPE.generateTokens} starts behind ${LLAMA_SHAPE.promptTokens} tokens (-d): as long as runoff's prompt and answer. A process for each of the two tests.
runoff: text with a nonce, end-of-generation tokens masked, greedy; two warm-ups for each process, and here, as in llama-bench, a
prompt and a token right before each repetition: another process was at work meanwhile. Prefill is the time to the
first token, its choice included; decode goes from the first token to the last (a run's own figure leaves the first interval out).
Its loop: llama-bench's, on the model that runoff's libllama engine has loaded.
Turns: all processes are loaded, one is at work at a time (llama-bench's are stopped while they wait), one repetition of each in
random order, seconds apart, again and again. Of a token's time, engine and sampling are the calls of these very requests, timed
inside the engine's process: around llama_decode and llama_sampler_sample in runoff's worker, around llama_process and
common_sampler_sample in llama-server (preloaded). Own loop is what lies between these calls: llama-server wakes a thread for its
queue with each decode and waits for it, and makes text and events. Transport is our clock less the server's own.
Outputs: llama-server's context has one row of logits for each slot, llama-bench's as many as a batch has tokens. llama.cpp lays
its tensors at multiples of 32 bytes one after the other: behind one row (4 bytes of ids) all of them lie across the lines of the
cache, which 512-bit instructions and AMX pay for. A second llama-server, with llama-bench's number (preloaded), shows how much.
`;

export async function peers(): Promise<void> {
  const { promptTokens, generateTokens } = LLAMA_SHAPE;
  const isInside = (value: number, least: number, most: number): boolean =>
    Number.isInteger(value) && value >= least && value <= most;
  if (
    !isInside(ROUNDS, 1, ROUNDS_MAX) ||
    !isInside(REPETITIONS, 1, REPETITIONS_MAX) ||
    !isInside(MLX_ROUNDS, 0, ROUNDS_MAX) ||
    !isInside(promptTokens, 2, TOKENS_MAX) ||
    !isInside(generateTokens, 2, TOKENS_MAX)
  ) {
    console.error(
      `ROUNDS is 1 to ${ROUNDS_MAX}, REPETITIONS 1 to ${REPETITIONS_MAX}, MLX_ROUNDS 0 to ${ROUNDS_MAX}, PROMPT and GENERATE 2 to ${TOKENS_MAX}`,
    );
    process.exitCode = 2;
    return;
  }
  const signal = untilInterrupted();
  try {
    await llama(signal);
    signal.throwIfAborted();
    if (MLX_ROUNDS > 0) await mlx(signal);
  } catch (error) {
    if (!(error instanceof AppError) && !signal.aborted) throw error;
    console.error(error instanceof AppError ? `${error.message}\n${error.hint ?? ''}` : 'interrupted');
    process.exitCode = 1;
  } finally {
    await stopAll();
  }
}

const say = (text: string): void => console.error(text);

async function llama(signal: AbortSignal): Promise<void> {
  const { bench, serverPath, isProven } = await oneLibrary(signal);
  const run = await prepare(['libllama', 'llama-server'], LLAMA_SHAPE, { signal, serverPath });
  const [library, server] = [engineOf(run, 'libllama'), engineOf(run, 'llama-server')];
  const rounds: LlamaRound[] = [];
  const folder = await mkdtemp(join(tmpdir(), 'runoff-peers-'));
  const { program, preloads } = bench;
  say(
    `${ROUNDS} rounds, each a good minute with prompts of 512 tokens; Ctrl-C prints the table of those that are done`,
  );
  try {
    for (let round = 0; round < ROUNDS && !signal.aborted; round++) {
      await realMachinery.warmPageCache(library.modelPath);
      rounds.push(await askTogether({ program, preloads, folder, library, server, run, shape: LLAMA_SHAPE, round }));
      say(`round ${round + 1} of ${ROUNDS}: ${soFar(rounds)}`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  // Interrupted: what there is.
  if (rounds.length === 0) return;
  const { models, settings } = run.manifest;
  console.log(
    `${models[0]?.name}, ${settings.threads} thread, flash attention, KV f16; ${rounds.length} rounds of fresh processes, ${REPETITIONS} turns of each`,
  );
  console.log(`one library${isProven ? ', asked of the loader' : ''}: ${bench.hashes}`);
  console.log(['', ...llamaTable(rounds, LLAMA_SHAPE)].join('\n'));
  console.log(WHAT_IS_MEASURED);
}

/** llama-bench and the server of the environment whose library the libllama engine loads, on that same library. */
async function oneLibrary(
  signal: AbortSignal,
): Promise<{ readonly bench: LlamaBench; readonly serverPath: string; readonly isProven: boolean }> {
  const environments = createEnvironments({ cacheFolder: cacheFolder(), onProgress: say });
  const environment = await environments.ensure(ENVIRONMENT, { signal });
  const bench = await ensureLlamaBench({ environment, signal, onProgress: say });
  const serverPath = serverIn(environment.root, process.platform);
  return { bench, serverPath, isProven: await requireOneLibrary([bench.program, serverPath], bench.libraries) };
}

function soFar(rounds: readonly LlamaRound[]): string {
  const told = (['prefillMs', 'decodeMs'] as const).map((metric) => {
    const peer = rounds.map(({ bench }) => bench[metric]);
    const of = (read: (round: LlamaRound) => number): string => ratioText(ratioOf(rounds.map(read), peer));
    const name = metric === 'prefillMs' ? 'prefill' : 'decode';
    return `${name} libllama ${of(({ library }) => library.through[metric])}, llama-server ${of(({ server }) => server.through[metric])}`;
  });
  return `of llama-bench: ${told.join('; ')} so far`;
}

async function mlx(signal: AbortSignal): Promise<void> {
  // The benchmark computes where MLX does by default: on a Mac that is the GPU, elsewhere the CPU.
  const run = await prepare(['mlx-lm'], MLX_SHAPE, { signal, gpu: 'auto' });
  const prepared = engineOf(run, 'mlx-lm');
  const rounds: MlxRound[] = [];
  for (let round = 0; round < MLX_ROUNDS; round++) {
    const found: Partial<{ -readonly [Name in keyof MlxRound]: MlxRound[Name] }> = {};
    await inTurn(
      round,
      {
        benchmark: async () => void (found.benchmark = await askMlxBenchmark(prepared, run, MLX_SHAPE, signal)),
        runoff: async () => void (found.runoff = await askMlx(prepared, run, MLX_SHAPE, round)),
      },
      prepared.modelPath,
      signal,
    );
    const { benchmark, runoff } = found;
    if (benchmark === undefined || runoff === undefined) throw new TypeError('every arm answered');
    rounds.push({ benchmark, runoff });
    say(`MLX, round ${round + 1} of ${MLX_ROUNDS}`);
  }
  console.log(
    `MLX (${prepared.found.build.version}, ${prepared.found.build.library}), ${MLX_ROUNDS} rounds, one trial in each\n`,
  );
  console.log(mlxTable(rounds, MLX_SHAPE).join('\n'));
  console.log(`
mlx_lm.benchmark: random token ids, argmax, no early end, text made of every token; one warm-up of the whole shape. Its
generation rate counts one token more than intervals: here the intervals count. runoff: text with a nonce, two warm-ups.`);
}

async function prepare(
  engines: readonly string[],
  shape: Shape,
  { signal, serverPath, gpu = 'off' }: { signal: AbortSignal; serverPath?: string; gpu?: 'off' | 'auto' },
): Promise<PreparedRun> {
  const run = await prepareRun({
    asked: {
      engines: [...engines],
      prompts: [shape.promptTokens],
      generate: shape.generateTokens,
      threads: 1,
      gpu,
      seed: SEED,
    },
    enginePaths: new Map(serverPath === undefined ? [] : [['llama-server', serverPath]]),
    mayInstall: async () => true,
    version: 'bench',
    signal,
    ui: { line: say, status() {}, done() {} },
  });
  return run;
}

function engineOf({ engines }: PreparedRun, id: string): PreparedEngine {
  const prepared = engines.find(({ engine }) => engine.id === id);
  if (prepared !== undefined) return prepared;
  throw new AppError('engine-unavailable', `${id} cannot run here`, { hint: 'The reason is above.' });
}

/** All arms once, in random order; every second round is the one before it, mirrored. */
async function inTurn(
  round: number,
  arms: Readonly<Record<string, () => Promise<void>>>,
  modelPath: string,
  signal: AbortSignal,
): Promise<void> {
  const order = shuffle(Object.keys(arms), createRandom('peers', SEED, Math.floor(round / 2)));
  for (const name of round % 2 === 0 ? order : order.toReversed()) {
    signal.throwIfAborted();
    await realMachinery.warmPageCache(modelPath);
    await arms[name]?.();
  }
}
