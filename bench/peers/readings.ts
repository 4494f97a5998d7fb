/** What llama-bench and mlx_lm.benchmark print, read as milliseconds. Pure. */
import { z } from 'zod';
import { AppError } from '../../src/core/errors.ts';

/** More repetitions than anybody asks for: a longer list is not llama-bench's. */
const SAMPLES_MAX = 1_000;
const TRIALS_MAX = 1_000;

const count = z.int().nonnegative();
const testSchema = z.object({
  n_threads: count,
  n_batch: count,
  n_ubatch: count,
  type_k: z.string().max(20),
  type_v: z.string().max(20),
  n_prompt: count,
  n_gen: count,
  n_depth: count,
  samples_ns: z.array(z.number().positive()).min(1).max(SAMPLES_MAX),
});

/** One test of llama-bench: pp is a prompt without answer, tg an answer without prompt, after `depthTokens`. */
export interface LlamaBenchTest {
  readonly promptTokens: number;
  readonly generateTokens: number;
  readonly depthTokens: number;
  /** What it reports to have used, e.g. `threads 1, batch 512, micro-batch 512, KV f16/f16`. */
  readonly settings: string;
  /** A repetition each: the whole prompt, or all generated tokens. */
  readonly samplesMs: readonly number[];
}

/** A line of `llama-bench -o jsonl`. @throws AppError `engine-protocol` for anything else */
export function readLlamaBench(line: string): LlamaBenchTest {
  let test: unknown;
  try {
    test = JSON.parse(line);
  } catch (error) {
    throw unreadable('llama-bench', line, error);
  }
  const parsed = testSchema.safeParse(test);
  if (!parsed.success) throw unreadable('llama-bench', line, parsed.error);
  const { data } = parsed;
  return {
    promptTokens: data.n_prompt,
    generateTokens: data.n_gen,
    depthTokens: data.n_depth,
    settings: `threads ${data.n_threads}, batch ${data.n_batch}, micro-batch ${data.n_ubatch}, KV ${data.type_k}/${data.type_v}`,
    samplesMs: data.samples_ns.map((ns) => ns / 1e6),
  };
}

/** Times of one trial, by runoff's definitions. */
export interface PeerReading {
  /** To the first token. */
  readonly prefillMs: number;
  /** Between two tokens. */
  readonly decodeMs: number;
}

/** Of many, each metric by itself. */
export function typical(readings: readonly PeerReading[], by: (values: number[]) => number): PeerReading {
  return {
    prefillMs: by(readings.map(({ prefillMs }) => prefillMs)),
    decodeMs: by(readings.map(({ decodeMs }) => decodeMs)),
  };
}

/**
 * What mlx_lm.benchmark prints for each trial. Its generation rate divides all tokens by the time since the first one,
 * which holds one interval less; here the intervals count.
 * @throws AppError `engine-protocol` where there are not `trials` lines
 */
export function readMlxBenchmark(
  stdout: string,
  { promptTokens, generateTokens, trials }: { promptTokens: number; generateTokens: number; trials: number },
): PeerReading[] {
  const found = [...stdout.matchAll(/^Trial \d+:\s+prompt_tps=([\d.]+), generation_tps=([\d.]+),/gm)];
  const rates = found.slice(0, TRIALS_MAX).map(([, prompt, generation]) => [Number(prompt), Number(generation)]);
  if (rates.length !== trials || rates.flat().some((rate) => !(rate > 0))) throw unreadable('mlx_lm.benchmark', stdout);
  return rates.map(([prompt = 0, generation = 0]) => ({
    prefillMs: (1_000 * promptTokens) / prompt,
    decodeMs: (1_000 * generateTokens) / generation / (generateTokens - 1),
  }));
}

/**
 * Which file each library of a program was found in, as the Linux loader lists them (`LD_TRACE_LOADED_OBJECTS=1`).
 * @returns name to path; libraries without a file (the kernel's) are left out
 */
export function readLoadedLibraries(trace: string): Map<string, string> {
  return new Map(
    [...trace.matchAll(/^\s*(\S+) => (\/.+) \(0x[0-9a-f]+\)$/gm)].map(([, name = '', path = '']) => [name, path]),
  );
}

function unreadable(program: string, stdout: string, cause?: unknown): AppError {
  return new AppError(
    'engine-protocol',
    `${program} printed something else than its results: ${stdout.slice(0, 300)}`,
    {
      cause,
    },
  );
}
