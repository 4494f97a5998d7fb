/** What llama-bench and mlx_lm.benchmark print, read as milliseconds. Pure. */
import { z } from 'zod';
import { AppError } from '../../src/core/errors.ts';

/** More repetitions than anybody asks for: a longer list is not llama-bench's. */
const SAMPLES_MAX = 1_000;
const TESTS_MAX = 100;
const TRIALS_MAX = 1_000;

const count = z.int().nonnegative();
const reportSchema = z
  .array(
    z.object({
      n_threads: count,
      n_batch: count,
      n_ubatch: count,
      type_k: z.string().max(20),
      type_v: z.string().max(20),
      n_prompt: count,
      n_gen: count,
      n_depth: count,
      samples_ns: z.array(z.number().positive()).min(1).max(SAMPLES_MAX),
    }),
  )
  .min(1)
  .max(TESTS_MAX);

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

/** `llama-bench -o json`. @throws AppError `engine-protocol` for anything else */
export function readLlamaBench(stdout: string): LlamaBenchTest[] {
  let report: unknown;
  try {
    report = JSON.parse(stdout);
  } catch (error) {
    throw unreadable('llama-bench', stdout, error);
  }
  const parsed = reportSchema.safeParse(report);
  if (!parsed.success) throw unreadable('llama-bench', stdout, parsed.error);
  return parsed.data.map((test) => ({
    promptTokens: test.n_prompt,
    generateTokens: test.n_gen,
    depthTokens: test.n_depth,
    settings: `threads ${test.n_threads}, batch ${test.n_batch}, micro-batch ${test.n_ubatch}, KV ${test.type_k}/${test.type_v}`,
    samplesMs: test.samples_ns.map((ns) => ns / 1e6),
  }));
}

/** Times of one trial, by runoff's definitions. */
export interface PeerReading {
  /** To the first token. */
  readonly prefillMs: number;
  /** Between two tokens. */
  readonly decodeMs: number;
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
