/** What the bench asks of runoff's engines, as runoff asks it. */
import type { RunningEngine } from '../../src/app/machinery.ts';
import type { PreparedRun } from '../../src/app/prepare.ts';
import type { GenerateRequest, Generation } from '../../src/core/engine.ts';
import type { PeerReading } from './readings.ts';

export const LOAD_TIMEOUT_MS = 120_000;
/** MLX on a CPU takes a minute for 512 tokens. */
export const REQUEST_TIMEOUT_MS = 600_000;
/** Fills caches and starts threads; as long as a measured prompt, since shapes have their own buffers. */
const WARMUPS = 2;
const WARMUP_TOKENS = 8;

export interface Shape {
  readonly promptTokens: number;
  readonly generateTokens: number;
  readonly repetitions: number;
}

export async function warmUp({ session }: RunningEngine, run: PreparedRun, shape: Shape, round: number): Promise<void> {
  for (let index = 0; index < WARMUPS; index++) {
    const ask = askFor(run, shape, round, shape.repetitions + index);
    await session.generate({ ...ask, generateTokens: Math.min(WARMUP_TOKENS, shape.generateTokens) });
  }
}

/** What llama-bench does right before each repetition: a whole prompt and a token, which nobody counts. */
export function warmUpFor(run: PreparedRun, shape: Shape, round: number, iteration: number): GenerateRequest {
  return { ...askFor(run, shape, round, shape.repetitions + WARMUPS + iteration), generateTokens: 1 };
}

export function askFor(run: PreparedRun, shape: Shape, round: number, iteration: number): GenerateRequest {
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
export function clientReading({ tokens, eventMs }: Generation): PeerReading {
  const [first = Number.NaN] = eventMs;
  return { prefillMs: first, decodeMs: ((eventMs.at(-1) ?? Number.NaN) - first) / (tokens.length - 1) };
}
