/** What was the same for every engine, as a record keeps it. */
import { z } from 'zod';

const ID = z.string().min(1).max(100);
const SHORT_TEXT = z.string().max(2_000);
const COUNT = z.int().nonnegative();

export const certificateSchema = z.object({
  weights: z.object({
    state: z.enum(['bit-identical', 'same-file', 'different', 'unproven']),
    detail: SHORT_TEXT,
  }),
  tokens: z.object({ state: z.enum(['equal', 'different', 'unproven']), detail: SHORT_TEXT }),
  output: z.object({ state: z.enum(['equal-count', 'different', 'unproven']), detail: SHORT_TEXT }),
  settings: z.object({ state: z.enum(['matched', 'as-shipped', 'tuned']), differences: z.array(SHORT_TEXT).max(100) }),
  /** Engines that were measured in fewer blocks than the others, in words; absent where there are none. */
  retired: z.array(SHORT_TEXT).max(20).optional(),
  /** Greedy agreement on the first 32 tokens, per pair: share of positions before the first difference. */
  agreement: z
    .array(z.object({ a: ID, b: ID, requestCount: COUNT, top1Share: z.number(), firstTokenShare: z.number() }))
    .max(200),
  arithmetic: z
    .array(z.object({ engine: ID, bitsPerWeight: z.number().nullable(), numericMode: SHORT_TEXT.nullable() }))
    .max(20),
});
