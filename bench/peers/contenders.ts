/** The programs of the bench, a fresh process each time, and runoff's engines as runoff drives them. */
import { fileURLToPath } from 'node:url';
import { median } from 'simple-statistics';
import { z } from 'zod';
import { realMachinery } from '../../src/app/machinery.ts';
import type { PreparedEngine, RunningEngine } from '../../src/app/machinery.ts';
import type { PreparedRun } from '../../src/app/prepare.ts';
import type {
  EngineProcess,
  GenerateRequest,
  Generation,
  LaunchRequest,
  WorkerRequest,
} from '../../src/core/engine.ts';
import { AppError } from '../../src/core/errors.ts';
import { fasterMean } from '../../src/core/stats/describe.ts';
import { createRandom, shuffle } from '../../src/core/random.ts';
import type { Random } from '../../src/core/random.ts';
import { lastLines } from '../../src/platform/process/byte-tail.ts';
import { minimumEnvironment } from '../../src/platform/process/environment.ts';
import { runCommand } from '../../src/platform/process/run-command.ts';
import { readLlamaBench, readMlxBenchmark } from './readings.ts';
import type { PeerReading } from './readings.ts';

const LOAD_TIMEOUT_MS = 120_000;
/** MLX on a CPU takes a minute for 512 tokens. */
const REQUEST_TIMEOUT_MS = 600_000;
const PROGRAM_TIMEOUT_MS = 1_800_000;
const BARE_LOOP = fileURLToPath(new URL('../bare/libllama.py', import.meta.url));
/** Fills caches and starts threads; as long as a measured prompt, since shapes have their own buffers. */
const WARMUPS = 2;
const WARMUP_TOKENS = 8;

export interface Shape {
  readonly promptTokens: number;
  readonly generateTokens: number;
  readonly repetitions: number;
}

export interface LibraryReading {
  /** As runoff measures it. */
  readonly through: PeerReading;
  /** llama-bench's loop in the same process. */
  readonly loop: PeerReading;
  /** Choosing a token, ms: by runoff's worker, and by the chain that llama-server makes of runoff's request. */
  readonly samplingMs: number;
  readonly serverSamplingMs: number;
}

export interface ServerReading {
  readonly through: PeerReading;
  /** By the server's own clock. */
  readonly own: PeerReading;
}

/** pp in one process, tg after a context of the prompt's length in another. */
export async function askLlamaBench(
  program: string,
  { modelPath }: PreparedEngine,
  run: PreparedRun,
  shape: Shape,
  signal: AbortSignal,
): Promise<PeerReading> {
  const { threads, batchTokens, microBatchTokens, kvType } = run.manifest.settings;
  const common = [
    '-m',
    modelPath,
    '-t',
    String(threads),
    '-b',
    String(batchTokens),
    '-ub',
    String(microBatchTokens),
    '-ctk',
    kvType,
    '-ctv',
    kvType,
    '-fa',
    'on',
    '-lm',
    'mmap',
    '-ngl',
    '0',
    '-r',
    String(shape.repetitions),
    '-o',
    'json',
  ];
  const wanted = `threads ${threads}, batch ${batchTokens}, micro-batch ${microBatchTokens}, KV ${kvType}/${kvType}`;
  const ask = async (args: readonly string[]): Promise<number> => {
    const [test] = readLlamaBench(await output(program, [...common, ...args], {}, signal));
    if (test?.settings !== wanted || test.samplesMs.length !== shape.repetitions)
      throw new AppError('engine-protocol', `llama-bench measured with ${test?.settings}, not with ${wanted}`);
    return fasterMean(test.samplesMs);
  };
  const [prompt, answer] = [String(shape.promptTokens), String(shape.generateTokens)];
  const prefillMs = await ask(['-p', prompt, '-n', '0']);
  return { prefillMs, decodeMs: (await ask(['-p', '0', '-n', answer, '-d', prompt])) / shape.generateTokens };
}

const span = z.object({ decodeMs: z.number().positive(), samplingMs: z.number().nonnegative() });
const bareReply = z.object({ prefillMs: z.number().positive(), none: span, worker: span, server: span });

export interface TogetherReading {
  readonly library: LibraryReading;
  /** Null where no server was asked for. */
  readonly server: ServerReading | null;
}

interface Answers {
  readonly through: PeerReading[];
  readonly bare: z.infer<typeof bareReply>[];
  readonly overHttp: { readonly through: PeerReading; readonly own: PeerReading }[];
}

/**
 * runoff's libllama and llama-server engines, both loaded and one at work at a time; the library's process also runs
 * llama-bench's loop. A request of each in random order, again and again: what the moment does to all of them drops out
 * of their differences, and so does the process for the library. Means of the faster two thirds, as in a run.
 */
export async function askTogether(
  { library, server }: { readonly library: PreparedEngine; readonly server: PreparedEngine | null },
  run: PreparedRun,
  shape: Shape,
  round: number,
): Promise<TogetherReading> {
  const random = createRandom('turns', round);
  const { worker, running } = await startWithLoop(library, run);
  try {
    const serving = server === null ? null : await realMachinery.start(server, run.manifest.settings, LOAD_TIMEOUT_MS);
    try {
      for (const process of shuffle([running, ...(serving === null ? [] : [serving])], random))
        await warmUp(process, run, shape, round);
      return readingOf(await takeTurns({ worker, running, serving }, { run, shape, round, random }));
    } finally {
      await serving?.stop();
    }
  } finally {
    await running.stop();
  }
}

async function takeTurns(
  {
    worker,
    running,
    serving,
  }: { readonly worker: EngineProcess; readonly running: RunningEngine; readonly serving: RunningEngine | null },
  { run, shape, round, random }: { run: PreparedRun; shape: Shape; round: number; random: Random },
): Promise<Answers> {
  const answers: Answers = { through: [], bare: [], overHttp: [] };
  const { promptTokens, generateTokens } = shape;
  const params = { promptTokens, generateTokens, bannedTokens: run.bannedTokens };
  // oxlint-disable-next-line no-unsafe-type-assertion -- the program around the worker knows one method more.
  const request = { method: 'bare', params } as unknown as WorkerRequest;
  for (let iteration = 0; iteration < shape.repetitions; iteration++) {
    const asked = askFor(run, shape, round, iteration);
    const turn = [
      async () => void answers.through.push(clientReading(await running.session.generate(asked))),
      async () => void answers.bare.push(bareReply.parse(await worker.request(request, REQUEST_TIMEOUT_MS))),
      async () => {
        if (serving === null) return;
        const answer = await serving.session.generate(asked);
        answers.overHttp.push({ through: clientReading(answer), own: ownReading(answer) });
      },
    ];
    for (const ask of shuffle(turn, random)) await ask();
  }
  return answers;
}

function readingOf({ through, bare, overHttp }: Answers): TogetherReading {
  return {
    library: {
      through: fasterMeans(through),
      loop: fasterMeans(bare.map(({ prefillMs, none: { decodeMs } }) => ({ prefillMs, decodeMs }))),
      samplingMs: median(bare.map(({ worker: own }) => own.samplingMs)),
      serverSamplingMs: median(bare.map(({ server: own }) => own.samplingMs)),
    },
    server:
      overHttp.length === 0
        ? null
        : {
            through: fasterMeans(overHttp.map((answer) => answer.through)),
            own: fasterMeans(overHttp.map(({ own }) => own)),
          },
  };
}

async function startWithLoop(
  prepared: PreparedEngine,
  { manifest }: PreparedRun,
): Promise<{ worker: EngineProcess; running: RunningEngine }> {
  const { engine } = prepared;
  const seen: { worker?: EngineProcess } = {};
  const spied = {
    ...engine,
    launchPlan: (request: LaunchRequest) => {
      const plan = engine.launchPlan(request);
      const [isolated = '', script = ''] = plan?.args ?? [];
      return plan === null ? null : { ...plan, args: [isolated, BARE_LOOP, script] };
    },
    connect: (process: EngineProcess, request: LaunchRequest, timeoutMs: number) => {
      seen.worker = process;
      return engine.connect(process, request, timeoutMs);
    },
  };
  const running = await realMachinery.start({ ...prepared, engine: spied }, manifest.settings, LOAD_TIMEOUT_MS);
  if (seen.worker === undefined) throw new TypeError('start() connects');
  return { running, worker: seen.worker };
}

/** runoff's mlx-lm engine. */
export async function askMlx(
  prepared: PreparedEngine,
  run: PreparedRun,
  shape: Shape,
  round: number,
): Promise<PeerReading> {
  return medians((await generations(prepared, run, shape, round)).map(clientReading));
}

export async function askMlxBenchmark(
  { found, modelPath }: PreparedEngine,
  run: PreparedRun,
  shape: Shape,
  signal: AbortSignal,
): Promise<PeerReading> {
  const { promptTokens, generateTokens, repetitions: trials } = shape;
  const args = [
    '-I',
    '-m',
    'mlx_lm.benchmark',
    '--model',
    modelPath,
    '-p',
    String(promptTokens),
    '-g',
    String(generateTokens),
    '-n',
    String(trials),
    '--prefill-step-size',
    String(run.manifest.settings.batchTokens),
  ];
  const env = { MLX_ENABLE_TF32: '0', HF_HUB_OFFLINE: '1', TRANSFORMERS_OFFLINE: '1', TOKENIZERS_PARALLELISM: 'false' };
  return medians(
    readMlxBenchmark(await output(found.location, args, env, signal), { promptTokens, generateTokens, trials }),
  );
}

async function generations(
  prepared: PreparedEngine,
  run: PreparedRun,
  shape: Shape,
  round: number,
): Promise<Generation[]> {
  const running = await realMachinery.start(prepared, run.manifest.settings, LOAD_TIMEOUT_MS);
  try {
    const answers: Generation[] = [];
    await warmUp(running, run, shape, round);
    for (let iteration = 0; iteration < shape.repetitions; iteration++)
      answers.push(await running.session.generate(askFor(run, shape, round, iteration)));
    return answers;
  } finally {
    await running.stop();
  }
}

async function warmUp({ session }: RunningEngine, run: PreparedRun, shape: Shape, round: number): Promise<void> {
  for (let index = 0; index < WARMUPS; index++) {
    const ask = askFor(run, shape, round, shape.repetitions + index);
    await session.generate({ ...ask, generateTokens: Math.min(WARMUP_TOKENS, shape.generateTokens) });
  }
}

function askFor(run: PreparedRun, shape: Shape, round: number, iteration: number): GenerateRequest {
  const prompt = run.manifest.plan.prompts[0]?.name ?? '';
  return {
    promptTokens: run.workload.promptTokens({ block: round, prompt, iteration, kind: 'measured' }),
    generateTokens: shape.generateTokens,
    bannedTokens: run.bannedTokens,
    topLogprobs: 0,
    timeoutMs: REQUEST_TIMEOUT_MS,
  };
}

/** Decode from the first token to the last: the span that the servers' and benchmarks' own clocks cover. */
function clientReading({ tokens, eventMs }: Generation): PeerReading {
  const [first = Number.NaN] = eventMs;
  return { prefillMs: first, decodeMs: ((eventMs.at(-1) ?? Number.NaN) - first) / (tokens.length - 1) };
}

function ownReading({ engineTimings }: Generation): PeerReading {
  if (engineTimings === null) throw new AppError('engine-protocol', 'llama-server told no times of its own');
  const { prefillMs, decodeMs, decodeIntervalCount } = engineTimings;
  if (prefillMs === null || decodeMs === null || decodeIntervalCount === null)
    throw new AppError('engine-protocol', 'llama-server told only some times of its own');
  return { prefillMs, decodeMs: decodeMs / decodeIntervalCount };
}

function fasterMeans(readings: readonly PeerReading[]): PeerReading {
  return {
    prefillMs: fasterMean(readings.map(({ prefillMs }) => prefillMs)),
    decodeMs: fasterMean(readings.map(({ decodeMs }) => decodeMs)),
  };
}

function medians(readings: readonly PeerReading[]): PeerReading {
  return {
    prefillMs: median(readings.map(({ prefillMs }) => prefillMs)),
    decodeMs: median(readings.map(({ decodeMs }) => decodeMs)),
  };
}

/** A peer's own program, in the environment that engines get: its settings cannot come from a variable of the user's. */
async function output(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<string> {
  const { code, stdout, stderr, timedOut } = await runCommand(command, args, {
    timeoutMs: PROGRAM_TIMEOUT_MS,
    env: { ...minimumEnvironment(process.platform, process.env), ...env },
    signal,
  });
  if (code === 0) return stdout;
  const end = timedOut ? 'did not end in time' : `ended with ${code}`;
  throw new AppError('engine-launch-failed', `${command} ${args.join(' ')} ${end}:\n${lastLines(stderr, 8)}`);
}
