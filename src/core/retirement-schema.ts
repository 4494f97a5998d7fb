/** Looks that were taken, and engines that were not measured on after one, as a record keeps them. */
import { z } from 'zod';

const ID = z.string().min(1).max(100);
const BLOCKS = z.int().positive().max(1_000);
const MS = z.number().nonnegative().finite();
const RATIO = z.number().positive().finite();

/** Registered with the plan, where an engine may be retired: how far behind, and the level at each look but the last. */
export const retirementRuleSchema = z.object({
  ratio: z.number().gt(1).max(100),
  alpha: z.number().positive().max(0.005),
});

/** An engine against the one that it is farthest behind: time over time, and the interval's lower bound. */
const behindSchema = z.object({ engine: ID, than: ID, ratio: RATIO, low: RATIO });

/** A planned look, when it was taken. It has spent its level and is not taken again when a run is resumed. */
export const lookEventSchema = z.object({
  type: z.literal('look'),
  /** Accepted blocks that were tested. */
  blocks: BLOCKS,
  resolved: z.boolean(),
  /** Not measured from here on, with the time that was predicted for what was left of each. */
  retired: z.array(behindSchema.extend({ restMs: MS })).max(20),
  /** Predicted for the rest of the run with them. */
  restMs: MS,
});

/** A retired engine with the evidence computed again from the samples; null where they do not support it. */
export const retiredSchema = z.object({
  engine: ID,
  /** Accepted blocks at the look. */
  blocks: BLOCKS,
  than: ID.nullable(),
  ratio: RATIO.nullable(),
  low: RATIO.nullable(),
  /** Predicted for what was not measured, and for the rest of the run with it. */
  restMs: MS,
  restMsAll: MS,
});

export type RetirementRule = z.infer<typeof retirementRuleSchema>;
export type LookEvent = z.infer<typeof lookEventSchema>;
export type Behind = z.infer<typeof behindSchema>;
export type Retired = z.infer<typeof retiredSchema>;
