/**
 * Does runoff change what it measures? Each engine driven by runoff against the same engine driven bare: same file,
 * one thread, same prompts, fresh processes, random order within each round. Bar: ratio 0.97-1.03 on a quiet machine,
 * and under 2% of a core in our own process while an engine generates.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { mean, median, sampleStandardDeviation } from 'simple-statistics';
import { prepareRun } from '../src/app/prepare.ts';
import type { PreparedRun } from '../src/app/prepare.ts';
import { realMachinery } from '../src/app/machinery.ts';
import type { PreparedEngine, RunningEngine } from '../src/app/machinery.ts';
import { tQuantile } from '../src/core/stats/student-t.ts';
import { stopAll } from '../src/platform/process/start-process.ts';

const PREFILL_TOKENS = 512;
const GENERATE_TOKENS = 64;
const ITERATIONS = 3;
const ROUNDS = Number(process.env['ROUNDS'] ?? 10);
/** MLX on a CPU needs a minute a request. */
const ROUNDS_REFERENCE = Number(process.env['ROUNDS_REFERENCE'] ?? 3);
/** A full-shape warm-up would double that. */
const WARMUP_REFERENCE_TOKENS = 32;
const LOAD_TIMEOUT_MS = 120_000;
const REQUEST_TIMEOUT_MS = 600_000;
const OUTPUT_BYTES_MAX = 16 << 20;

interface Rates {
  readonly prefillMs: number;
  readonly decodeMs: number;
  /** Median interval: what the harness adds to every token, without the machine's stalls. */
  readonly decodeP50Ms: number;
}

interface Ask {
  readonly modelPath: string;
  readonly threads: number;
  readonly contextTokens: number;
  readonly bannedTokens: readonly number[];
  readonly generateTokens: number;
  readonly prompts: readonly (readonly number[])[];
}

const run = promisify(execFile);

export async function fidelity(): Promise<void> {
  const controller = new AbortController();
  const ui = { line: (text: string) => console.error(text), status() {}, done() {} };
  const prepared = await prepareRun({
    asked: { prompts: [PREFILL_TOKENS], generate: GENERATE_TOKENS, threads: 1, gpu: 'off', seed: 1 },
    enginePaths: new Map(),
    mayInstall: async () => true,
    version: 'bench',
    signal: controller.signal,
    ui,
  });
  console.log(
    `engine         rounds  prefill through/bare (95%)     decode through/bare (95%)      decode, median interval        own CPU`,
  );
  const only = process.argv[3];
  for (const engine of prepared.engines) {
    if (only !== undefined && engine.engine.id !== only) continue;
    await compare(engine, prepared);
  }
  await stopAll();
}

async function compare(engine: PreparedEngine, prepared: PreparedRun): Promise<void> {
  const rounds = engine.found.referenceBackend === null ? ROUNDS : ROUNDS_REFERENCE;
  const iterations = engine.found.referenceBackend === null ? ITERATIONS : 1;
  const prefill: number[] = [];
  const decode: number[] = [];
  const decodeP50: number[] = [];
  const cpuShares: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const ask = askFor(engine, prepared, round, iterations);
    const order = (round + Math.floor(Math.random() * 2)) % 2 === 0 ? ['through', 'bare'] : ['bare', 'through'];
    const seen: Record<string, Rates> = {};
    for (const arm of order) {
      if (arm === 'bare') seen[arm] = ratesOf(await bare(engine, ask, prepared));
      else {
        const { times, cpuShare } = await through(engine, ask, prepared);
        seen[arm] = ratesOf(times);
        cpuShares.push(cpuShare);
      }
    }
    const [a, b] = [seen['through'], seen['bare']];
    if (a === undefined || b === undefined) continue;
    prefill.push(Math.log(a.prefillMs / b.prefillMs));
    decode.push(Math.log(a.decodeMs / b.decodeMs));
    decodeP50.push(Math.log(a.decodeP50Ms / b.decodeP50Ms));
    console.error(
      `  ${engine.engine.id} round ${round + 1}: prefill ${a.prefillMs.toFixed(0)}/${b.prefillMs.toFixed(0)} ms, decode ${a.decodeMs.toFixed(2)}/${b.decodeMs.toFixed(2)} ms a token`,
    );
  }
  const cpu = `${(100 * mean(cpuShares)).toFixed(2)}% of a core`;
  console.log(
    `${engine.engine.id.padEnd(14)} ${String(rounds).padStart(6)}  ${ratio(prefill).padEnd(30)} ${ratio(decode).padEnd(30)} ${ratio(decodeP50).padEnd(30)} ${cpu}`,
  );
}

function askFor(engine: PreparedEngine, prepared: PreparedRun, round: number, iterations: number): Ask {
  const prompt = `${PREFILL_TOKENS}-tokens`;
  // One warm-up request, then the measured ones.
  const prompts = Array.from({ length: iterations + 1 }, (_, iteration) => {
    const tokens = prepared.workload.promptTokens({ block: round, prompt, iteration, kind: 'measured' });
    return iteration === 0 && engine.found.referenceBackend !== null
      ? tokens.slice(0, WARMUP_REFERENCE_TOKENS)
      : tokens;
  });
  const { threads, contextTokens } = prepared.manifest.settings;
  return {
    modelPath: engine.modelPath,
    threads,
    contextTokens,
    bannedTokens: prepared.bannedTokens,
    generateTokens: GENERATE_TOKENS,
    prompts,
  };
}

async function through(
  engine: PreparedEngine,
  ask: Ask,
  prepared: PreparedRun,
): Promise<{ times: number[][]; cpuShare: number }> {
  await realMachinery.warmPageCache(engine.modelPath);
  const running = await realMachinery.start(engine, prepared.manifest.settings, LOAD_TIMEOUT_MS);
  const times: number[][] = [];
  const before = process.cpuUsage();
  const startedMs = performance.now();
  for (const promptTokens of ask.prompts) {
    const { eventMs } = await running.session.generate({
      promptTokens,
      generateTokens: ask.generateTokens,
      bannedTokens: ask.bannedTokens,
      topLogprobs: 0,
      timeoutMs: REQUEST_TIMEOUT_MS,
    });
    times.push([...eventMs]);
  }
  const { user, system } = process.cpuUsage(before);
  const cpuShare = (user + system) / 1_000 / (performance.now() - startedMs);
  await running.stop();
  return { times, cpuShare };
}

async function bare(engine: PreparedEngine, ask: Ask, prepared: PreparedRun): Promise<number[][]> {
  await realMachinery.warmPageCache(engine.modelPath);
  const script = (name: string): string => fileURLToPath(new URL(`./bare/${name}`, import.meta.url));
  const json = JSON.stringify(ask);
  const options = { maxBuffer: OUTPUT_BYTES_MAX };
  switch (engine.engine.id) {
    case 'llama-cpp':
      return parse(
        (await run(process.execPath, [script('llama-cpp.mjs'), engine.found.location, json], options)).stdout,
      );
    case 'mlx-lm':
      return parse((await run(engine.found.location, [script('mlx-lm.py'), json], options)).stdout);
    default: {
      const server: RunningEngine = await realMachinery.start(engine, prepared.manifest.settings, LOAD_TIMEOUT_MS);
      const port = portOf(server.command);
      const { stdout } = await run(process.execPath, [script('http.mjs'), port, json], options);
      await server.stop();
      return parse(stdout);
    }
  }
}

function portOf(command: readonly string[]): string {
  const text = command.join(' ');
  const port = /--port (\d+)/.exec(text)?.[1] ?? /"port":(\d+)/.exec(text)?.[1];
  if (port === undefined) throw new TypeError(`no port in ${text}`);
  return port;
}

function parse(stdout: string): number[][] {
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as number[][];
}

/** Means over the measured requests; the first one warms. Decode from the second token on. */
function ratesOf(all: readonly (readonly number[])[]): Rates {
  const measured = all.slice(1);
  return {
    prefillMs: mean(measured.map((times) => times[0] ?? 0)),
    decodeMs: mean(measured.map((times) => ((times.at(-1) ?? 0) - (times[1] ?? 0)) / (times.length - 2))),
    decodeP50Ms: median(measured.flatMap((times) => times.slice(2).map((at, index) => at - (times[index + 1] ?? 0)))),
  };
}

function ratio(logs: readonly number[]): string {
  const center = mean([...logs]);
  const half = (tQuantile(0.975, logs.length - 1) * sampleStandardDeviation([...logs])) / Math.sqrt(logs.length);
  return `${Math.exp(center).toFixed(3)} (${Math.exp(center - half).toFixed(3)}-${Math.exp(center + half).toFixed(3)})`;
}
