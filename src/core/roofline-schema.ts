/** How near the engines come to what the machine's memory and arithmetic allow. */
import { z } from 'zod';

const ID = z.string().min(1).max(100);
const SHORT_TEXT = z.string().max(2_000);
const COUNT = z.int().nonnegative();
const POSITIVE = z.number().positive().finite();

/** From the model file's header. */
export const modelTrafficSchema = z.object({
  /** Bytes of weights that are read for every generated token. */
  weightBytesPerToken: COUNT,
  /** Parameters that every prompt token is multiplied with. */
  multipliedParametersPerToken: COUNT,
  /** Values of the KV cache that are kept, and later read, per token; null: another kind of state, or not told. */
  cacheValuesPerToken: COUNT.nullable(),
});

export const rooflineRowSchema = z.object({
  engine: ID,
  prompt: ID,
  /** Weights, and the KV cache at the middle of the generated tokens. */
  bytesPerToken: POSITIVE,
  /** Tokens/s at which reading these bytes would take all of the bandwidth. */
  decodeLimit: POSITIVE,
  /** Tokens/s, and their share of the limit; null where no rate was measured. */
  decode: POSITIVE.nullable(),
  decodeShare: POSITIVE.nullable(),
  prefill: POSITIVE.nullable(),
  /** Prefill's arithmetic over that of the canary; above 1 where an engine has better instructions than WebAssembly. */
  prefillShare: POSITIVE.nullable(),
});

export const rooflineSchema = z.object({
  /** Of the canary in this run, all engine threads: the quietest tenth of its looks. */
  readBytesPerS: POSITIVE,
  flopsPerS: POSITIVE,
  rows: z.array(rooflineRowSchema).max(400),
  /** What the numbers explain, each a sentence. */
  notes: z.array(SHORT_TEXT).max(50),
});

export type ModelTraffic = z.infer<typeof modelTrafficSchema>;
export type RooflineRow = z.infer<typeof rooflineRowSchema>;
export type Roofline = z.infer<typeof rooflineSchema>;
