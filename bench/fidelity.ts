/**
 * Does runoff change what it measures? Each engine driven by runoff against the same engine driven bare, both in ONE
 * process and on one loaded model, in pairs of random order: fresh processes of one engine differ by 5-10% among
 * themselves here, which would hide everything below. Same file, one thread, same lengths.
 * Two intervals: of a typical pair (Hodges-Lehmann) and of the mean. RAW=FILE keeps every pair as JSON lines.
 * Bar: ratio and its interval within 0.97-1.03 on a quiet machine, and under 2% of a core in our own process while an
 * engine generates.
 */
import { appendFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { mean, median, sampleStandardDeviation } from 'simple-statistics';
import { prepareRun } from '../src/app/prepare.ts';
import type { PreparedRun } from '../src/app/prepare.ts';
import { realMachinery } from '../src/app/machinery.ts';
import type { PreparedEngine } from '../src/app/machinery.ts';
import type { EngineProcess, GenerateRequest, LaunchPlan, LaunchRequest, WorkerRequest } from '../src/core/engine.ts';
import { SIGNED_RANK_COUNT_MIN, hodgesLehmann } from '../src/core/stats/signed-rank.ts';
import { tQuantile } from '../src/core/stats/student-t.ts';
import { askRaw } from './bare/http.mjs';
import { stopAll } from '../src/platform/process/start-process.ts';

const PREFILL_TOKENS = 512;
const GENERATE_TOKENS = 64;
/** Processes, and pairs of requests (one through, one bare) in each. */
const ROUNDS = Number(process.env['ROUNDS'] ?? 12);
const PAIRS = Number(process.env['PAIRS'] ?? 10);
/**
 * MLX on a CPU needs a minute for 512 tokens, and a spread of some percent per request: its decode is measured after
 * short prompts, so that there can be pairs enough for both.
 */
const REFERENCE = {
  prefillPairs: Number(process.env['PREFILL_PAIRS'] ?? 4),
  decodePairs: Number(process.env['DECODE_PAIRS'] ?? 14),
  decodeAfterTokens: 32,
};
/** Room in the counter of nonces; with 14 pairs a process none repeats. */
const ITERATIONS_MAX = 14;
const LOAD_TIMEOUT_MS = 120_000;
const REQUEST_TIMEOUT_MS = 600_000;

interface Rates {
  readonly prefillMs: number | null;
  readonly decodeMs: number | null;
  /** Median interval: what the harness adds to every token, without the machine's stalls. */
  readonly decodeP50Ms: number | null;
}

/** One started engine with both ways to ask it; times are ms since the request, one a token. */
interface Arms {
  through(ask: GenerateRequest): Promise<readonly number[]>;
  bare(ask: GenerateRequest): Promise<readonly number[]>;
  stop(): Promise<void>;
}

interface Pair {
  readonly through: Rates;
  readonly bare: Rates;
  /** Of one core, in our own process, while the engine generated for us. */
  readonly cpuShare: number;
}

/** What a pair is asked, and which of its rates count. */
interface Shape {
  readonly promptTokens: number;
  readonly generateTokens: number;
}

const FULL: Shape = { promptTokens: PREFILL_TOKENS, generateTokens: GENERATE_TOKENS };

const script = (name: string): string => fileURLToPath(new URL(`./bare/${name}`, import.meta.url));

export async function fidelity(): Promise<void> {
  const controller = new AbortController();
  const ui = { line: (text: string) => console.error(text), status() {}, done() {} };
  const prepared = await prepareRun({
    asked: { prompts: [PREFILL_TOKENS], generate: GENERATE_TOKENS, threads: 1, gpu: 'off', seed: 1 },
    enginePaths: new Map(),
    mayInstall: async () => true,
    fallback: 'demonstration',
    version: 'bench',
    signal: controller.signal,
    ui,
  });
  console.log(
    `engine         pairs  prefill through/bare (95%)     decode through/bare (95%)      decode, median interval        own CPU`,
  );
  const only = process.argv[3];
  for (const engine of prepared.engines) {
    if (only !== undefined && engine.engine.id !== only) continue;
    await compare(engine, prepared);
  }
  await stopAll();
}

async function compare(engine: PreparedEngine, prepared: PreparedRun): Promise<void> {
  const reference = engine.found.referenceBackend !== null;
  const processes = reference
    ? [
        [
          ...repeat({ ...FULL, generateTokens: 3 }, REFERENCE.prefillPairs),
          ...repeat({ ...FULL, promptTokens: REFERENCE.decodeAfterTokens }, REFERENCE.decodePairs),
        ],
      ]
    : repeat(repeat(FULL, PAIRS), ROUNDS);
  const pairs: Pair[] = [];
  const soFar = (rate: keyof Rates): string =>
    `${typicalRatio(logRatios(pairs, rate))}, mean ${meanRatio(logRatios(pairs, rate))}`;
  for (const [round, shapes] of processes.entries()) {
    await realMachinery.warmPageCache(engine.modelPath);
    const arms = await startBoth(engine, prepared);
    await arms.through(askFor(prepared, round, 0, reference ? { promptTokens: 32, generateTokens: 8 } : FULL));
    for (const [index, shape] of shapes.entries()) {
      const ask = askFor(prepared, round, (index % ITERATIONS_MAX) + 1, shape);
      pairs.push(await measurePair(arms, ask));
      if (reference || index === shapes.length - 1)
        console.error(
          `  ${engine.engine.id} process ${round + 1}: prefill ${soFar('prefillMs')}, decode ${soFar('decodeMs')} so far`,
        );
    }
    await arms.stop();
  }
  const cpu = `${(100 * mean(pairs.map(({ cpuShare }) => cpuShare))).toFixed(2)}% of a core`;
  const rates = ['prefillMs', 'decodeMs', 'decodeP50Ms'] as const;
  const row = (of: (logs: readonly number[]) => string): string =>
    rates.map((rate) => of(logRatios(pairs, rate)).padEnd(30)).join(' ');
  console.log(`${engine.engine.id.padEnd(14)} ${String(pairs.length).padStart(5)}  ${row(typicalRatio)} ${cpu}`);
  console.log(`${'  its mean'.padEnd(14)} ${''.padStart(5)}  ${row(meanRatio)}`);
  const raw = process.env['RAW'];
  if (raw !== undefined) await appendFile(raw, `${JSON.stringify({ engine: engine.engine.id, pairs })}\n`);
}

function repeat<T>(item: T, count: number): T[] {
  return Array.from({ length: count }, () => item);
}

async function measurePair(arms: Arms, ask: GenerateRequest): Promise<Pair> {
  const throughFirst = Math.random() < 0.5;
  const early = throughFirst ? null : ratesOf(await arms.bare(ask), ask);
  const before = process.cpuUsage();
  const startedMs = performance.now();
  const through = ratesOf(await arms.through(ask), ask);
  const { user, system } = process.cpuUsage(before);
  const cpuShare = (user + system) / 1_000 / (performance.now() - startedMs);
  return { through, bare: early ?? ratesOf(await arms.bare(ask), ask), cpuShare };
}

function askFor(prepared: PreparedRun, round: number, iteration: number, shape: Shape): GenerateRequest {
  const prompt = `${PREFILL_TOKENS}-tokens`;
  const tokens = prepared.workload.promptTokens({ block: round, prompt, iteration, kind: 'measured' });
  return {
    promptTokens: tokens.slice(0, shape.promptTokens),
    generateTokens: shape.generateTokens,
    bannedTokens: prepared.bannedTokens,
    topLogprobs: 0,
    timeoutMs: REQUEST_TIMEOUT_MS,
  };
}

/** Workers of ours get a program around them that also answers `bare`; a server is asked by two clients. */
async function startBoth(prepared: PreparedEngine, { manifest }: PreparedRun): Promise<Arms> {
  const seen: { process?: EngineProcess; port?: number } = {};
  const { engine } = prepared;
  const spied = {
    ...engine,
    launchPlan: (request: LaunchRequest): LaunchPlan | null => withBareLoop(engine.id, engine.launchPlan(request)),
    connect: (process: EngineProcess, request: LaunchRequest, timeoutMs: number) => {
      seen.process = process;
      seen.port = request.port;
      return engine.connect(process, request, timeoutMs);
    },
  };
  const running = await realMachinery.start({ ...prepared, engine: spied }, manifest.settings, LOAD_TIMEOUT_MS);
  return {
    through: async (ask) => (await running.session.generate(ask)).eventMs,
    bare: async ({ promptTokens: prompt, generateTokens, bannedTokens }) => {
      const ask = { prompt, generateTokens, bannedTokens };
      if (engine.id === 'llama-server') return askRaw(Number(seen.port), ask);
      // oxlint-disable-next-line no-unsafe-type-assertion -- the program around the worker knows one method more.
      const request = { method: 'bare', params: ask } as unknown as WorkerRequest;
      return (await seen.process?.request(request, REQUEST_TIMEOUT_MS)) as number[];
    },
    stop: () => running.stop(),
  };
}

function withBareLoop(id: string, plan: LaunchPlan | null): LaunchPlan | null {
  if (plan === null) return null;
  switch (id) {
    case 'llama-cpp': {
      const [worker, root] = plan.args;
      return { ...plan, args: [script('llama-cpp.mjs'), String(root), String(worker)] };
    }
    case 'mlx-lm': {
      const [isolated, worker] = plan.args;
      return { ...plan, args: [String(isolated), script('mlx-lm.py'), String(worker)] };
    }
    default:
      return plan;
  }
}

/** Decode from the second token on: the first belongs to prefill, the second is often late. A rate that the shape is too short for is null. */
function ratesOf(times: readonly number[], { promptTokens, generateTokens }: GenerateRequest): Rates {
  if (times.length !== generateTokens) throw new TypeError(`${times.length} tokens instead of ${generateTokens}`);
  const decodes = generateTokens === GENERATE_TOKENS;
  return {
    prefillMs: promptTokens.length === PREFILL_TOKENS ? (times[0] ?? 0) : null,
    decodeMs: decodes ? ((times.at(-1) ?? 0) - (times[1] ?? 0)) / (times.length - 2) : null,
    decodeP50Ms: decodes ? median(times.slice(2).map((at, index) => at - (times[index + 1] ?? 0))) : null,
  };
}

function logRatios(pairs: readonly Pair[], rate: keyof Rates): number[] {
  return pairs.flatMap(({ through, bare }) => {
    const [a, b] = [through[rate], bare[rate]];
    return a === null || b === null ? [] : [Math.log(a / b)];
  });
}

/** Of the mean: a single request that the machine stalled widens it. */
function meanRatio(logs: readonly number[]): string {
  if (logs.length < 2) return '-';
  const center = mean([...logs]);
  const half = (tQuantile(0.975, logs.length - 1) * sampleStandardDeviation([...logs])) / Math.sqrt(logs.length);
  return `${Math.exp(center).toFixed(3)} (${Math.exp(center - half).toFixed(3)}-${Math.exp(center + half).toFixed(3)})`;
}

/** Hodges-Lehmann, exact: what a typical pair shows, whatever the stalled ones do. */
function typicalRatio(logs: readonly number[]): string {
  if (logs.length < SIGNED_RANK_COUNT_MIN) return '-';
  const { estimate, low, high } = hodgesLehmann(logs, 0.95);
  const bound = (log: number | null): string => (log === null ? '?' : Math.exp(log).toFixed(3));
  return `${Math.exp(estimate).toFixed(3)} (${bound(low)}-${bound(high)})`;
}
