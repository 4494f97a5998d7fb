/** llama-bench, its loop, and runoff's libllama and llama-server engines, in turns. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { realMachinery } from '../../src/app/machinery.ts';
import type { PreparedEngine, RunningEngine } from '../../src/app/machinery.ts';
import type { PreparedRun } from '../../src/app/prepare.ts';
import type {
  EngineProcess,
  EngineTimings,
  GenerateRequest,
  LaunchPlan,
  LaunchRequest,
  WorkerRequest,
} from '../../src/core/engine.ts';
import { AppError } from '../../src/core/errors.ts';
import { createRandom, shuffle } from '../../src/core/random.ts';
import type { Random } from '../../src/core/random.ts';
import { fasterMean, mean } from '../../src/core/stats/describe.ts';
import { touchMemory } from '../touch-memory.ts';
import type { Preloads } from './build-llama-bench.ts';
import { readCalls, splitCalls } from './decode-clock.ts';
import type { Inside } from './decode-clock.ts';
import { LlamaBenchInTurns } from './llama-bench-turns.ts';
import { typical } from './readings.ts';
import type { PeerReading } from './readings.ts';
import { askFor, clientReading, LOAD_TIMEOUT_MS, REQUEST_TIMEOUT_MS, warmUp, warmUpFor } from './requests.ts';
import type { Shape } from './requests.ts';
import type { TokenTime } from './shares.ts';

const STARTED = ['library', 'server', 'alike', 'prefill', 'decode'] as const;
const BARE_LOOP = fileURLToPath(new URL('../bare/libllama.py', import.meta.url));
/** More than one of them takes. */
const PROCESS_BYTES_MAX = 5e8;
/** A decode and a choice for every token, and the prompt's batches. */
const CALLS_MAX = 20_000;

interface EngineReading {
  /** As runoff measures it. */
  readonly through: PeerReading;
  /** Of a token, in the calls that compute the model. */
  readonly computeMs: number;
  readonly token: TokenTime;
}

interface ServerReading extends EngineReading {
  /** By the server's own clock. */
  readonly own: PeerReading;
}

const bareReply = z.object({ prefillMs: z.number().positive(), decodeMs: z.number().positive() });
const callsReply = z.object({ calls: z.array(z.tuple([z.number(), z.number(), z.number()])).max(CALLS_MAX) });

/** What one round measured, fresh processes that took turns. */
export interface LlamaRound {
  /** llama-bench itself. */
  readonly bench: PeerReading;
  /** And llama-bench's loop in the same process. */
  readonly library: EngineReading & { readonly loop: PeerReading };
  readonly server: ServerReading;
  /** The server with a context that has as many outputs as llama-bench's: see outputs.c. */
  readonly alike: ServerReading;
}

/** One request. */
interface Answer {
  readonly through: PeerReading;
  readonly own: PeerReading | null;
  readonly inside: Inside;
}

interface Answers {
  readonly benchPrefillMs: number[];
  readonly benchDecodeMs: number[];
  readonly loop: PeerReading[];
  readonly inProcess: Answer[];
  readonly overHttp: Record<ServerName, Answer[]>;
}

/** As it is, and with llama-bench's number of outputs. */
type ServerName = 'server' | 'alike';

interface RunningLibrary {
  readonly engine: RunningEngine;
  /** Its process: the loop is asked of it. */
  readonly worker: EngineProcess;
}

interface RunningServer {
  readonly engine: RunningEngine;
  /** What its clock writes. */
  readonly calls: string;
}

/** Of one round. The two of llama-bench are stopped while they wait; all others wait for a request. */
interface Contenders {
  readonly library: RunningLibrary;
  readonly server: RunningServer;
  readonly alike: RunningServer;
  readonly prefill: LlamaBenchInTurns;
  readonly decode: LlamaBenchInTurns;
}

export interface TogetherAsk {
  /** llama-bench. */
  readonly program: string;
  /** decode-clock.c and outputs.c, made. */
  readonly preloads: Preloads;
  /** For what the clock writes. */
  readonly folder: string;
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
  const { program, preloads, library, server, run, shape, round } = ask;
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
  const startServer = async (name: ServerName, preloaded: readonly string[]): Promise<RunningServer> => {
    const calls = join(ask.folder, `calls-${name}-${round}`);
    const clock = { LD_PRELOAD: preloaded.join(':'), RUNOFF_DECODE_CLOCK: calls };
    const timed = withPlan(server, (plan) => ({ ...plan, env: { ...plan.env, ...clock } }));
    return { engine: keep(await realMachinery.start(timed, settings, LOAD_TIMEOUT_MS)), calls };
  };
  const starts = {
    library: async () => {
      found.library = await startWithLoop(library, run);
      keep(found.library.engine);
    },
    server: async () => void (found.server = await startServer('server', [preloads.clock])),
    alike: async () => void (found.alike = await startServer('alike', [preloads.clock, preloads.outputs])),
    prefill: async () => void (found.prefill = keep(await LlamaBenchInTurns.start({ prompt }, benchAsk))),
    decode: async () =>
      void (found.decode = keep(await LlamaBenchInTurns.start({ generate, depth: prompt }, benchAsk))),
  };
  try {
    for (const name of startOrder(STARTED, round)) {
      touchMemory(PROCESS_BYTES_MAX);
      await starts[name]();
    }
    requireAll(found);
    for (const { engine } of shuffle([found.library, found.server, found.alike], random))
      await warmUp(engine, run, shape, round);
    return readingOf(await takeTurns(found, { run, shape, round, random }));
  } finally {
    for (const one of started.toReversed()) await one.stop();
  }
}

function requireAll(found: Partial<Contenders>): asserts found is Contenders {
  if (STARTED.some((name) => found[name] === undefined)) throw new TypeError('all of them were started');
}

/** Everybody is the first as often as the others, and the second, and so on: a new random order every so many rounds. */
export function startOrder<Name>(names: readonly Name[], round: number): Name[] {
  const order = shuffle(names, createRandom('starts', Math.floor(round / names.length)));
  const first = round % names.length;
  return [...order.slice(first), ...order.slice(0, first)];
}

interface TurnAsk {
  readonly run: PreparedRun;
  readonly shape: Shape;
  readonly round: number;
  readonly random: Random;
}

async function takeTurns(contenders: Contenders, ask: TurnAsk): Promise<Answers> {
  const { library, server, alike, prefill, decode } = contenders;
  const { worker } = library;
  const { run, shape, round, random } = ask;
  const overHttp = { server: [], alike: [] };
  const answers: Answers = { benchPrefillMs: [], benchDecodeMs: [], loop: [], inProcess: [], overHttp };
  const { promptTokens, generateTokens } = shape;
  for (let iteration = 0; iteration < shape.repetitions; iteration++) {
    const asked = askFor(run, shape, round, iteration);
    const before = warmUpFor(run, shape, round, iteration);
    const turn = [
      async () => void answers.benchPrefillMs.push(await prefill.turn()),
      async () => void answers.benchDecodeMs.push((await decode.turn()) / generateTokens),
      async () => {
        await askWrapper(worker, 'bare', { promptTokens, generateTokens: before.generateTokens });
        const reply = await askWrapper(worker, 'bare', { promptTokens, generateTokens });
        answers.loop.push(bareReply.parse(reply));
      },
      async () => {
        await library.engine.session.generate(before);
        await askWrapper(worker, 'calls', {});
        const through = clientReading(await library.engine.session.generate(asked));
        const { calls: made } = callsReply.parse(await askWrapper(worker, 'calls', {}));
        answers.inProcess.push({ through, own: null, inside: splitCalls(made, generateTokens) });
      },
      async () => void answers.overHttp.server.push(await askServer(server, before, asked)),
      async () => void answers.overHttp.alike.push(await askServer(alike, before, asked)),
    ];
    for (const take of shuffle(turn, random)) await take();
  }
  return answers;
}

async function askServer(
  { engine, calls }: RunningServer,
  before: GenerateRequest,
  asked: GenerateRequest,
): Promise<Answer> {
  await engine.session.generate(before);
  const { size } = await stat(calls);
  const answer = await engine.session.generate(asked);
  const made = readCalls((await readFile(calls)).subarray(size));
  return {
    through: clientReading(answer),
    own: ownReading(answer.engineTimings),
    inside: splitCalls(made, asked.generateTokens),
  };
}

/** The program around runoff's worker knows two methods more. */
function askWrapper(worker: EngineProcess, method: 'bare' | 'calls', params: object): Promise<unknown> {
  // oxlint-disable-next-line no-unsafe-type-assertion -- see above
  return worker.request({ method, params } as unknown as WorkerRequest, REQUEST_TIMEOUT_MS);
}

function readingOf({ benchPrefillMs, benchDecodeMs, loop, inProcess, overHttp }: Answers): LlamaRound {
  return {
    bench: { prefillMs: fasterMean(benchPrefillMs), decodeMs: fasterMean(benchDecodeMs) },
    library: { ...engineReading(inProcess), loop: typical(loop, fasterMean) },
    server: serverReading(overHttp.server),
    alike: serverReading(overHttp.alike),
  };
}

function serverReading(answers: readonly Answer[]): ServerReading {
  const own = answers.flatMap((answer) => answer.own ?? []);
  return { ...engineReading(answers), own: typical(own, fasterMean) };
}

function engineReading(answers: readonly Answer[]): EngineReading {
  const through = answers.map((answer) => answer.through);
  return {
    through: typical(through, fasterMean),
    computeMs: fasterMean(answers.map(({ inside }) => inside.engineMs)),
    token: tokenTime(answers),
  };
}

/** All parts of the same requests: what disturbed one is in all of them. */
function tokenTime(answers: readonly Answer[]): TokenTime {
  const over = (read: (answer: Answer) => number): number => mean(answers.map(read));
  const transports = answers.flatMap(({ through, own }) => (own === null ? [] : [through.decodeMs - own.decodeMs]));
  return {
    total: over(({ through }) => through.decodeMs),
    engine: over(({ inside }) => inside.engineMs),
    sampling: over(({ inside }) => inside.samplingMs),
    loop: over(({ inside }) => inside.loopMs),
    transport: transports.length === 0 ? null : mean(transports),
  };
}

/** The engine, launched in another way. */
function withPlan(prepared: PreparedEngine, change: (plan: LaunchPlan) => LaunchPlan): PreparedEngine {
  const { engine } = prepared;
  const launchPlan: typeof engine.launchPlan = (request) => {
    const plan = engine.launchPlan(request);
    return plan === null ? null : change(plan);
  };
  return { ...prepared, engine: { ...engine, launchPlan } };
}

async function startWithLoop(prepared: PreparedEngine, { manifest }: PreparedRun): Promise<RunningLibrary> {
  const wrapped = withPlan(prepared, (plan) => {
    const [isolated = '', script = ''] = plan.args;
    return { ...plan, args: [isolated, BARE_LOOP, script] };
  });
  const { engine: plain } = wrapped;
  const seen: { worker?: EngineProcess } = {};
  const spied = {
    ...plain,
    connect: (process: EngineProcess, request: LaunchRequest, timeoutMs: number) => {
      seen.worker = process;
      return plain.connect(process, request, timeoutMs);
    },
  };
  const engine = await realMachinery.start({ ...wrapped, engine: spied }, manifest.settings, LOAD_TIMEOUT_MS);
  if (seen.worker === undefined) throw new TypeError('start() connects');
  return { engine, worker: seen.worker };
}

function ownReading(engineTimings: EngineTimings | null): PeerReading {
  if (engineTimings === null) throw new AppError('engine-protocol', 'llama-server told no times of its own');
  const { prefillMs, decodeMs, decodeIntervalCount } = engineTimings;
  if (prefillMs === null || decodeMs === null || decodeIntervalCount === null)
    throw new AppError('engine-protocol', 'llama-server told only some times of its own');
  return { prefillMs, decodeMs: decodeMs / decodeIntervalCount };
}
