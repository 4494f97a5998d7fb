/** llama-bench, its loop, and runoff's libllama and llama-server engines, in turns. */
import { fileURLToPath } from 'node:url';
import { median } from 'simple-statistics';
import { z } from 'zod';
import { realMachinery } from '../../src/app/machinery.ts';
import type { PreparedEngine, RunningEngine } from '../../src/app/machinery.ts';
import type { PreparedRun } from '../../src/app/prepare.ts';
import type {
  EngineProcess,
  EngineTimings,
  GenerateRequest,
  LaunchRequest,
  WorkerRequest,
} from '../../src/core/engine.ts';
import { AppError } from '../../src/core/errors.ts';
import { createRandom, shuffle } from '../../src/core/random.ts';
import type { Random } from '../../src/core/random.ts';
import { fasterMean } from '../../src/core/stats/describe.ts';
import { parseTimings, requestBody } from '../../src/engines/shared/llama-server-api.ts';
import { touchMemory } from '../touch-memory.ts';
import { LlamaBenchInTurns } from './llama-bench-turns.ts';
import type { PeerReading } from './readings.ts';
import { askFor, clientReading, LOAD_TIMEOUT_MS, REQUEST_TIMEOUT_MS, warmUp } from './requests.ts';
import type { Shape } from './requests.ts';

const BARE_LOOP = fileURLToPath(new URL('../bare/libllama.py', import.meta.url));
/** More than one of them takes. */
const PROCESS_BYTES_MAX = 5e8;

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
  /** The same, where the answer is sent in one piece at the end. */
  readonly silent: PeerReading;
}

const span = z.object({ decodeMs: z.number().positive(), samplingMs: z.number().nonnegative() });
const bareReply = z.object({ prefillMs: z.number().positive(), none: span, worker: span, server: span });

/** What one round measured, fresh processes that took turns. */
export interface LlamaRound {
  /** llama-bench itself. */
  readonly bench: PeerReading;
  readonly library: LibraryReading;
  readonly server: ServerReading;
}

interface Answers {
  readonly benchPrefillMs: number[];
  readonly benchDecodeMs: number[];
  readonly through: PeerReading[];
  readonly bare: z.infer<typeof bareReply>[];
  readonly overHttp: { readonly through: PeerReading; readonly own: PeerReading }[];
  readonly silent: PeerReading[];
}

/** Of one round. The two of llama-bench are stopped while they wait; all others wait for a request. */
interface Contenders {
  readonly worker: EngineProcess;
  readonly library: RunningEngine;
  readonly server: RunningEngine;
  readonly serverPort: number;
  readonly prefill: LlamaBenchInTurns;
  readonly decode: LlamaBenchInTurns;
}

export interface TogetherAsk {
  /** llama-bench. */
  readonly program: string;
  readonly library: PreparedEngine;
  readonly server: PreparedEngine;
  readonly run: PreparedRun;
  readonly shape: Shape;
  readonly round: number;
}

/**
 * runoff's libllama and llama-server engines, llama-bench, and its loop in libllama's process: all loaded, one at work at
 * a time, a turn of each in random order, again and again. What the moment does to all of them drops out of their
 * differences. Means of the faster two thirds, as in a run.
 *
 * Each finds memory that is there: or the first one to start after a pause would be the slowest.
 */
export async function askTogether(ask: TogetherAsk): Promise<LlamaRound> {
  const { program, library, server, run, shape, round } = ask;
  const random = createRandom('turns', round);
  const { settings } = run.manifest;
  const benchAsk = { program, modelPath: library.modelPath, settings, turns: shape.repetitions };
  const { promptTokens: prompt, generateTokens: generate } = shape;
  const started: { stop(): Promise<unknown> }[] = [];
  const keep = <T extends { stop(): Promise<unknown> }>(one: T): T => {
    started.push(one);
    return one;
  };
  const found: Partial<{ -readonly [Name in keyof Contenders]: Contenders[Name] }> = {};
  const starts = {
    library: async () => {
      const { worker, running } = await startWithLoop(library, run);
      found.worker = worker;
      found.library = keep(running);
    },
    server: async () => {
      const { port, running } = await startWithPort(server, run);
      found.serverPort = port;
      found.server = keep(running);
    },
    prefill: async () => void (found.prefill = keep(await LlamaBenchInTurns.start({ prompt }, benchAsk))),
    decode: async () =>
      void (found.decode = keep(await LlamaBenchInTurns.start({ generate, depth: prompt }, benchAsk))),
  };
  try {
    for (const name of startOrder(Object.keys(starts), round)) {
      touchMemory(PROCESS_BYTES_MAX);
      await starts[name as keyof typeof starts]();
    }
    const { worker, library: inProcess, server: overHttp, serverPort, prefill, decode } = found;
    if (!worker || !inProcess || !overHttp || !serverPort || !prefill || !decode)
      throw new TypeError('all of them were started');
    for (const engine of shuffle([inProcess, overHttp], random)) await warmUp(engine, run, shape, round);
    const contenders = { worker, library: inProcess, server: overHttp, serverPort, prefill, decode };
    return readingOf(await takeTurns(contenders, { run, shape, round, random }));
  } finally {
    for (const one of started.toReversed()) await one.stop();
  }
}

/** Everybody is the first as often as the others, and the second, and so on: a new random order every so many rounds. */
export function startOrder(names: readonly string[], round: number): string[] {
  const order = shuffle(names, createRandom('starts', Math.floor(round / names.length)));
  const first = round % names.length;
  return [...order.slice(first), ...order.slice(0, first)];
}

async function takeTurns(
  { worker, library, server, serverPort, prefill, decode }: Contenders,
  { run, shape, round, random }: { run: PreparedRun; shape: Shape; round: number; random: Random },
): Promise<Answers> {
  const answers: Answers = { benchPrefillMs: [], benchDecodeMs: [], through: [], bare: [], overHttp: [], silent: [] };
  const { promptTokens, generateTokens } = shape;
  const params = { promptTokens, generateTokens, bannedTokens: run.bannedTokens };
  // oxlint-disable-next-line no-unsafe-type-assertion -- the program around the worker knows one method more.
  const request = { method: 'bare', params } as unknown as WorkerRequest;
  for (let iteration = 0; iteration < shape.repetitions; iteration++) {
    const asked = askFor(run, shape, round, iteration);
    const turn = [
      async () => void answers.benchPrefillMs.push(await prefill.turn()),
      async () => void answers.benchDecodeMs.push((await decode.turn()) / generateTokens),
      async () => void answers.through.push(clientReading(await library.session.generate(asked))),
      async () => void answers.bare.push(bareReply.parse(await worker.request(request, REQUEST_TIMEOUT_MS))),
      async () => {
        const answer = await server.session.generate(asked);
        answers.overHttp.push({ through: clientReading(answer), own: ownReading(answer.engineTimings) });
      },
      async () => void answers.silent.push(await askSilently(serverPort, asked)),
    ];
    for (const ask of shuffle(turn, random)) await ask();
  }
  return answers;
}

function readingOf({ benchPrefillMs, benchDecodeMs, through, bare, overHttp, silent }: Answers): LlamaRound {
  return {
    bench: { prefillMs: fasterMean(benchPrefillMs), decodeMs: fasterMean(benchDecodeMs) },
    library: {
      through: fasterMeans(through),
      loop: fasterMeans(bare.map(({ prefillMs, none: { decodeMs } }) => ({ prefillMs, decodeMs }))),
      samplingMs: median(bare.map(({ worker: own }) => own.samplingMs)),
      serverSamplingMs: median(bare.map(({ server: own }) => own.samplingMs)),
    },
    server: {
      through: fasterMeans(overHttp.map((answer) => answer.through)),
      own: fasterMeans(overHttp.map(({ own }) => own)),
      silent: fasterMeans(silent),
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

async function startWithPort(
  prepared: PreparedEngine,
  { manifest }: PreparedRun,
): Promise<{ port: number; running: RunningEngine }> {
  const seen: { port?: number } = {};
  const spied = {
    ...prepared.engine,
    connect: (process: EngineProcess, request: LaunchRequest, timeoutMs: number) => {
      seen.port = request.port;
      return prepared.engine.connect(process, request, timeoutMs);
    },
  };
  const running = await realMachinery.start({ ...prepared, engine: spied }, manifest.settings, LOAD_TIMEOUT_MS);
  if (seen.port === undefined) throw new TypeError('start() connects');
  return { port: seen.port, running };
}

const silentReply = z.object({
  timings: z.object({
    prompt_n: z.int().positive(),
    prompt_ms: z.number().positive(),
    predicted_n: z.int().positive(),
    predicted_ms: z.number().positive(),
  }),
});

/** runoff's request to llama-server, but for the stream: nobody is told of a token before the last one. */
async function askSilently(port: number, asked: GenerateRequest): Promise<PeerReading> {
  const response = await fetch(`http://127.0.0.1:${port}/completion`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...requestBody(asked), stream: false }),
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  return ownReading(parseTimings(silentReply.parse(await response.json())));
}

function ownReading(engineTimings: EngineTimings | null): PeerReading {
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
