/** The overhead ladder in a record: what every rung costs against the base. Null in a record that is no ladder. */
import { z } from 'zod';

const ID = z.string().min(1).max(100);
const TEXT = z.string().max(2_000);
const COUNT = z.int().nonnegative();
/** Six metrics on at most 20 prompts. */
const COSTS_MAX = 120;

export const ladderCostSchema = z.object({
  metric: z.enum(['request', 'ttft', 'prefill', 'decode', 'load', 'memory']),
  /** `-` for load and memory. */
  prompt: ID,
  /** `us/token`: microseconds per generated token (decode) or per prompt token (prefill). */
  unit: z.enum(['us/token', 'ms', 'bytes']),
  /** Blocks that the rung and the base have in common. */
  blockCount: COUNT,
  /**
   * `costs` and `saves`: a difference is shown; `none`: shown to be inside the margin, and no difference is shown;
   * `unresolved`: neither. The others follow the run: NOISY, a failed gate, other work.
   */
  state: z.enum(['costs', 'saves', 'none', 'unresolved', 'noisy', 'void', 'not-compared']),
  /** Geometric mean of rung / base, block by block: above 1 the rung takes longer, or more memory. */
  ratio: z.number().nullable(),
  low: z.number().nullable(),
  high: z.number().nullable(),
  /** Mean of rung - base over the same blocks, in `unit`. */
  extra: z.number().nullable(),
  extraLow: z.number().nullable(),
  extraHigh: z.number().nullable(),
  /** Of both intervals: simultaneous over the rungs (one metric, one prompt) and over the planned looks. */
  confidence: z.number().nullable(),
  preliminary: z.boolean(),
  reasons: z.array(TEXT).max(50),
});

/** Greedy tokens of the same requests, against the base's. */
export const ladderTokensSchema = z.object({
  state: z.enum(['base', 'identical', 'different', 'unknown']),
  requestCount: COUNT,
  differentCount: COUNT,
  /** Most tokens of one request that were compared. */
  tokenCount: COUNT,
  /** Earliest difference in any request, counted from 1; null where there is none. */
  firstDifferenceAt: z.int().positive().nullable(),
});

export const ladderSchema = z.object({
  /** Every cost is against this rung; null where nothing was measured. */
  base: ID.nullable(),
  /** What a table with one row per rung shows: `short` for first token and decode, `long` for prefill. */
  prompts: z.object({ short: ID, long: ID }).nullable(),
  rungs: z
    .array(
      z.object({
        engine: ID,
        /** `same`: one build with the base, the cost is the layer's. `as-shipped`: build + layer together. */
        build: z.enum(['base', 'same', 'as-shipped']),
        /** Why it was not measured; null where it was. */
        missing: TEXT.nullable(),
        tokens: ladderTokensSchema,
        costs: z.array(ladderCostSchema).max(COSTS_MAX),
      }),
    )
    .max(20),
  /** Limits of the ladder, each a sentence. */
  notes: z.array(TEXT).max(20),
});

export type Ladder = z.infer<typeof ladderSchema>;
export type Rung = Ladder['rungs'][number];
export type LadderCost = z.infer<typeof ladderCostSchema>;
export type LadderTokens = z.infer<typeof ladderTokensSchema>;
