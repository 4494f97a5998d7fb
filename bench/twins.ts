/**
 * Does a twin tell the truth? The demonstration model against its twin, made from its header with random weights, on each
 * engine: two processes of one thread that take turns, in pairs of random order, a fresh pair of processes in every round. Bar: the
 * ratio within 3%. How fast they are written is in twin-writing.ts.
 */
import { mean, median, sampleStandardDeviation } from 'simple-statistics';
import { realMachinery } from '../src/app/machinery.ts';
import type { PreparedEngine, RunningEngine } from '../src/app/machinery.ts';
import { prepareRun } from '../src/app/prepare.ts';
import type { PreparedRun } from '../src/app/prepare.ts';
import type { GenerateRequest } from '../src/core/engine.ts';
import { tQuantile } from '../src/core/stats/student-t.ts';
import { twinSpec } from '../src/models/synthesize/spec.ts';
import { readTreeCpuMs } from '../src/platform/cpu/process-cpu.ts';
import { stopAll } from '../src/platform/process/start-process.ts';
import { writing } from './twin-writing.ts';

const PREFILL_TOKENS = 512;
const GENERATE_TOKENS = 64;
/** Fresh processes, and pairs of requests in each: processes of one engine differ by some percent among themselves. */
const ROUNDS = Number(process.env['ROUNDS'] ?? 8);
const PAIRS = Number(process.env['PAIRS'] ?? 4);
/** MLX on a CPU reads some ten tokens a second. */
const REFERENCE = { prefillTokens: 24, generateTokens: 16 };
const RATIO_MAX = 1.03;
const LOAD_TIMEOUT_MS = 120_000;
const REQUEST_TIMEOUT_MS = 600_000;

interface Times {
  readonly prefillMs: number;
  readonly decodeMs: number;
  /** Processor time of the whole request: other programs disturb it less than the clock. */
  readonly cpuMs: number;
}
interface Pair {
  readonly real: Times;
  readonly twin: Times;
}

/** `npm run bench -- twins [write | ENGINE]`: everything, or a part of it. */
export async function twins(): Promise<void> {
  const only = process.argv[3];
  if (only === undefined || only === 'write') await writing();
  if (only !== 'write') await truth(only);
}

async function truth(only: string | undefined): Promise<void> {
  const real = await prepare({});
  const path = real.manifest.models[0]?.path ?? '';
  const twin = await prepare({ model: twinSpec(null, path) });
  console.log(
    `${path.split('/').at(-1)} against its twin, ${PREFILL_TOKENS} tokens read and ${GENERATE_TOKENS} written (references: ${REFERENCE.prefillTokens} and ${REFERENCE.generateTokens})`,
  );
  console.log(
    'engine         pairs  prefill twin/real (95%)        decode twin/real (95%)         CPU time twin/real (95%)       within 3%',
  );
  for (const engine of real.engines) {
    const { id } = engine.engine;
    const other = twin.engines.find((candidate) => candidate.engine.id === id);
    if ((only !== undefined && id !== only) || other === undefined) continue;
    await compare({ engine, run: real }, { engine: other, run: twin });
  }
  await stopAll();
}

async function prepare(asked: { model?: string }): Promise<PreparedRun> {
  return prepareRun({
    asked: { ...asked, prompts: [PREFILL_TOKENS], generate: GENERATE_TOKENS, threads: 1, gpu: 'off', seed: 1 },
    enginePaths: new Map(),
    mayInstall: async () => true,
    fallback: 'demonstration',
    version: 'bench',
    signal: new AbortController().signal,
    ui: { line: (text: string) => console.error(text), status() {}, done() {} },
  });
}

interface Side {
  readonly engine: PreparedEngine;
  readonly run: PreparedRun;
}

async function compare(real: Side, twin: Side): Promise<void> {
  const isReference = real.engine.found.referenceBackend !== null;
  const pairs: Pair[] = [];
  const perRound: Pair[][] = [];
  for (let round = 0; round < (isReference ? 2 : ROUNDS); round++) {
    // Who comes first finds another memory and another processor: each in turn.
    const early = round % 2 === 0 ? await start(real) : null;
    const other = await start(twin);
    const arms = [early ?? (await start(real)), other] as const;
    const ask = (iteration: number): GenerateRequest => askFor(real.run, { round, iteration, isReference });
    for (const arm of arms) await arm.session.generate(ask(0));
    const own: Pair[] = [];
    for (let index = 1; index <= PAIRS; index++) own.push(await measurePair(arms, ask(index)));
    for (const arm of arms) await arm.stop();
    pairs.push(...own);
    perRound.push(own);
    console.error(
      `  ${real.engine.engine.id} round ${round + 1}: prefill ${ratio(perRound, 'prefillMs').text}, decode ${ratio(perRound, 'decodeMs').text}, CPU ${ratio(perRound, 'cpuMs').text}`,
    );
  }
  const ratios = (['prefillMs', 'decodeMs', 'cpuMs'] as const).map((time) => ratio(perRound, time));
  const holds = ratios.every(({ centre }) => centre < RATIO_MAX && centre > 1 / RATIO_MAX);
  const cells = [...ratios.map(({ text }) => text.padEnd(30)), holds ? 'yes' : 'NO'].join(' ');
  console.log(`${real.engine.engine.id.padEnd(14)} ${String(pairs.length).padStart(5)}  ${cells}`);
}

async function start({ engine, run }: Side): Promise<RunningEngine> {
  await realMachinery.warmPageCache(engine.modelPath);
  return realMachinery.start(engine, run.manifest.settings, LOAD_TIMEOUT_MS);
}

async function measurePair([real, twin]: readonly [RunningEngine, RunningEngine], ask: GenerateRequest): Promise<Pair> {
  const twinFirst = Math.random() < 0.5;
  const early = twinFirst ? await timesOf(twin, ask) : null;
  const measured = await timesOf(real, ask);
  return { real: measured, twin: early ?? (await timesOf(twin, ask)) };
}

/** Decode from the second token on: the first belongs to prefill, the second is often late. */
async function timesOf(running: RunningEngine, ask: GenerateRequest): Promise<Times> {
  const { pid } = running;
  const cpu = async (): Promise<number> => (pid === null ? 0 : ((await readTreeCpuMs(pid)) ?? 0));
  const before = await cpu();
  const { eventMs, eventTokenCounts } = await running.session.generate(ask);
  const cpuMs = (await cpu()) - before;
  const tokens = (from: number): number => eventTokenCounts.slice(from).reduce((sum, count) => sum + count, 0);
  if (tokens(0) !== ask.generateTokens) throw new TypeError(`${tokens(0)} tokens instead of ${ask.generateTokens}`);
  return {
    prefillMs: eventMs[0] ?? 0,
    // A server sends tokens that are parts of one character together: random weights say such things.
    decodeMs: ((eventMs.at(-1) ?? 0) - (eventMs[1] ?? 0)) / tokens(2),
    cpuMs,
  };
}

/** The same ids for both: the twin has the model's own vocabulary. */
function askFor(
  { workload, bannedTokens }: PreparedRun,
  { round, iteration, isReference }: { round: number; iteration: number; isReference: boolean },
): GenerateRequest {
  const prompt = `${PREFILL_TOKENS}-tokens`;
  const tokens = workload.promptTokens({ block: round, prompt, iteration, kind: 'measured' });
  return {
    promptTokens: isReference ? tokens.slice(0, REFERENCE.prefillTokens) : tokens,
    generateTokens: isReference ? REFERENCE.generateTokens : GENERATE_TOKENS,
    bannedTokens,
    topLogprobs: 0,
    timeoutMs: REQUEST_TIMEOUT_MS,
  };
}

/** Over rounds: the pairs of one round share their processes. */
function ratio(rounds: readonly (readonly Pair[])[], time: keyof Times): { centre: number; text: string } {
  const logs = rounds.map((pairs) => median(pairs.map(({ real, twin }) => Math.log(twin[time] / real[time]))));
  const centre = mean(logs);
  if (logs.length < 2) return { centre: Math.exp(centre), text: Math.exp(centre).toFixed(3) };
  const half = (tQuantile(0.975, logs.length - 1) * sampleStandardDeviation(logs)) / Math.sqrt(logs.length);
  const text = `${Math.exp(centre).toFixed(3)} (${Math.exp(centre - half).toFixed(3)}-${Math.exp(centre + half).toFixed(3)})`;
  return { centre: Math.exp(centre), text };
}
