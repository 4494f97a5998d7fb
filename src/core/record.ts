/**
 * The record: what a run leaves on disk. `manifest.json` is written once, `samples.jsonl` grows line by line while the
 * run goes on, `record.json` is derived from the two and can be derived again at any time.
 *
 * Schema changes: raise SCHEMA_VERSION and say in CHANGELOG.md (Method) what changed.
 */
import { z } from 'zod';
import { certificateSchema } from './certificate-schema.ts';
import { ladderSchema } from './ladder-schema.ts';
import { machineSchema } from './machine-schema.ts';
import {
  canaryPlanEventSchema,
  expectedSchema,
  interferenceSchema,
  machineCheckEventSchema,
  machineStateSchema,
  memorySchema,
} from './machine-check-schema.ts';
import { lookEventSchema, retiredSchema, retirementRuleSchema } from './retirement-schema.ts';
import { modelTrafficSchema, rooflineSchema } from './roofline-schema.ts';
import { shippingSchema } from './shipping-schema.ts';

export const SCHEMA_VERSION = 1;

/** Limits on what is read back: a record is untrusted input. */
const SHORT_TEXT = z.string().max(2_000);
const LONG_TEXT = z.string().max(100_000);
const ID = z.string().min(1).max(100);
const MS = z.number().nonnegative().finite();
const COUNT = z.int().nonnegative();
const TOKEN = z.int().nonnegative();

export const settingsSchema = z.object({
  threads: z.int().positive(),
  contextTokens: z.int().positive(),
  batchTokens: z.int().positive(),
  microBatchTokens: z.int().positive(),
  kvType: z.enum(['f16', 'f32', 'q8_0']),
  flashAttention: z.boolean(),
  mmap: z.boolean(),
  gpu: z.enum(['off', 'auto']),
});

export const promptSchema = z.object({
  /** Name on the command line and in reports. */
  name: ID,
  tokenCount: z.int().positive(),
  /** Where the body comes from: the shipped study text, or a file of the user's. */
  source: SHORT_TEXT,
});

export const planSchema = z.object({
  model: SHORT_TEXT,
  /** Ids, or absolute paths of adapter files. */
  engines: z.array(SHORT_TEXT.min(1)).min(1).max(20),
  prompts: z.array(promptSchema).min(1).max(20),
  generateTokens: z.int().min(1).max(100_000),
  budgetMs: MS,
  /** Most blocks per engine; the budget may allow fewer. */
  blocks: z.int().min(1).max(100),
  iterations: z.int().min(1).max(9),
  threads: z.int().positive(),
  seed: z.int().nonnegative(),
  gpu: z.enum(['off', 'auto']),
  /** Practical margin: ratios inside 1/margin..margin are "no difference that matters". */
  margin: z.number().min(1.01).max(2),
  /** The engines are rungs, bottom first: the record says what each costs against the base. */
  ladder: z.boolean().default(false),
  /** Best with best: each engine with the settings that `runoff tune` found for it. */
  tuned: z.boolean().default(false),
});

const buildSchema = z.object({
  version: SHORT_TEXT,
  library: SHORT_TEXT.nullable(),
  openMp: z.boolean().nullable(),
  /** Compute threads are created anew for every step; absent: not so, or unknown. */
  disposableThreads: z.boolean().optional(),
  instructionSets: SHORT_TEXT.nullable(),
});

export const engineFactsSchema = z.object({
  id: ID,
  title: SHORT_TEXT,
  /** `available` engines run; the others are listed with the reason and the next step. */
  state: z.enum(['available', 'unavailable']),
  reason: SHORT_TEXT.nullable(),
  nextStep: SHORT_TEXT.nullable(),
  modelFormat: z.enum(['gguf', 'mlx', 'served']),
  build: buildSchema.nullable(),
  device: SHORT_TEXT.nullable(),
  location: SHORT_TEXT.nullable(),
  referenceBackend: SHORT_TEXT.nullable(),
  /** A server that was running already and cannot be restarted: the verdict is of this instance only. */
  runningInstance: z.boolean(),
  numericMode: SHORT_TEXT.nullable(),
  /** Settings that the engine reported after loading. */
  settings: settingsSchema.partial().nullable(),
  command: z.array(LONG_TEXT).max(200).nullable(),
  /** What it takes to ship it; null where the adapter does not say, and in records from before there were such facts. */
  shipping: shippingSchema.nullable().default(null),
  /** Which build of the inference library it loads, where runoff knows: equal ids are one build. */
  libraryId: SHORT_TEXT.optional(),
  /** Settings of its own in place of the common ones, from `runoff tune`; absent: the common ones. */
  tuned: settingsSchema.partial().optional(),
  /** Tokens that a server puts to every text (below 0: leaves out), found by its own counts; its texts make up for them. */
  addedPromptTokens: z.int().min(-10).max(10).optional(),
});

export const modelFactsSchema = z.object({
  name: SHORT_TEXT,
  path: SHORT_TEXT,
  format: z.enum(['gguf', 'mlx', 'served']),
  sha256: SHORT_TEXT.nullable(),
  fileBytes: COUNT,
  /** Hash over the dequantised values of every tensor: equal fingerprints are equal weights. */
  fingerprint: SHORT_TEXT.nullable(),
  bitsPerWeight: z.number().nullable(),
  quantisation: SHORT_TEXT,
  /** Where it came from, at a commit or version: `hf:OWNER/NAME@COMMIT:FILE`; left out for a file of the user's own. */
  source: SHORT_TEXT.optional(),
  /** How it was made from the original, in words; null for the original. */
  derivedBy: SHORT_TEXT.nullable(),
  parameterCount: COUNT,
  architecture: SHORT_TEXT,
  contextTokens: COUNT,
  addBos: z.boolean(),
  /** Whose shape the weights have, when they are random numbers: a twin's speed is meant, its output means nothing. */
  twinOf: SHORT_TEXT.optional(),
  /** What one token reads and computes; absent in older records. */
  traffic: modelTrafficSchema.optional(),
});

export const manifestSchema = z.object({
  schemaVersion: z.literal(SCHEMA_VERSION),
  runoffVersion: SHORT_TEXT,
  runId: ID,
  startedAt: SHORT_TEXT,
  plan: planSchema,
  settings: settingsSchema,
  machine: machineSchema,
  /** One entry per format that the engines needed; the first is the original. */
  models: z.array(modelFactsSchema).min(1).max(20),
  engines: z.array(engineFactsSchema).min(1).max(20),
});

const WHERE = {
  engine: ID,
  block: z.int().nonnegative(),
  /** 0 for the first try of a block, higher for reruns. */
  attempt: z.int().nonnegative(),
};

export const sampleSchema = z.object({
  type: z.literal('sample'),
  ...WHERE,
  kind: z.enum(['warmup', 'measured']),
  prompt: ID,
  iteration: z.int().nonnegative(),
  promptTokens: COUNT,
  generatedTokens: COUNT,
  /** Request start to first token / last token, ms, client's clock. */
  ttftMs: MS,
  totalMs: MS,
  /** (last - second token) / (n - 2): the first interval is dropped for every engine. Null under 3 tokens. */
  tpotMs: MS.nullable(),
  tpotP50Ms: MS.nullable(),
  tpotP90Ms: MS.nullable(),
  tpotP99Ms: MS.nullable(),
  enginePrefillMs: MS.nullable(),
  engineDecodeMs: MS.nullable(),
  engineDecodeIntervalCount: COUNT.nullable(),
  /** Events that carried tokens / tokens; more than 2% off 1 means that ITL is chunk-level. */
  eventsPerToken: z.number().nonnegative(),
  cachedTokens: COUNT.nullable(),
  /** The first 32 greedy tokens. */
  firstTokens: z.array(TOKEN).max(32),
});

export const gateNames = [
  'token-count',
  'truncation',
  'prompt-cache',
  'double-bos',
  'early-end',
  'wrong-model',
  'context-per-slot',
  'settings',
  'roofline',
] as const;

export const gateEventSchema = z.object({
  type: z.literal('gate'),
  engine: ID,
  gate: z.enum(gateNames),
  outcome: z.enum(['passed', 'failed', 'unknown']),
  detail: SHORT_TEXT,
  remedy: SHORT_TEXT.nullable(),
});

export const eventSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('session'), at: SHORT_TEXT, resumed: z.boolean() }),
  gateEventSchema,
  z.object({ type: z.literal('engine-facts'), facts: engineFactsSchema }),
  z.object({
    type: z.literal('pilot'),
    engine: ID,
    startMs: MS,
    prefillMsPerToken: MS,
    decodeMsPerToken: MS,
  }),
  /** Made after the pilot, once per run: N, and the looks at which the result may be tested. */
  z.object({
    type: z.literal('plan'),
    blocks: COUNT,
    looks: z.array(z.int().positive()).max(10),
    remainingMs: MS,
    estimateMs: MS,
    expected: expectedSchema.optional(),
    /** Absent: no engine may be retired. */
    retirement: retirementRuleSchema.optional(),
  }),
  lookEventSchema,
  canaryPlanEventSchema,
  machineCheckEventSchema,
  z.object({ type: z.literal('cell-start'), ...WHERE, elapsedMs: MS }),
  z.object({ type: z.literal('load'), ...WHERE, loadMs: MS, engineLoadMs: MS.nullable() }),
  sampleSchema,
  z.object({
    type: z.literal('cell-end'),
    ...WHERE,
    elapsedMs: MS,
    state: z.enum(['complete', 'failed']),
    error: SHORT_TEXT.nullable(),
    memory: memorySchema,
    interference: interferenceSchema,
  }),
  z.object({
    type: z.literal('block-end'),
    block: z.int().nonnegative(),
    attempt: z.int().nonnegative(),
    state: z.enum(['accepted', 'rejected']),
    reasons: z.array(SHORT_TEXT).max(50),
    /** It counts although the machine has slowed down: to a speed that it keeps. */
    sustained: SHORT_TEXT.optional(),
    /** Other programs at work, of a rejected block: what to close. Shares of one core. */
    busiest: z
      .array(z.object({ name: ID, coreShare: z.number().nonnegative() }))
      .max(3)
      .optional(),
  }),
  z.object({ type: z.literal('not-measured'), engine: ID, prompt: ID, reason: SHORT_TEXT, estimateMs: MS.nullable() }),
  z.object({
    type: z.literal('warning'),
    code: ID,
    engine: ID.nullable(),
    message: SHORT_TEXT,
    hint: SHORT_TEXT.nullable(),
  }),
  /** `elapsedMs` counts measuring time over all sessions: what the budget is charged with. */
  z.object({
    type: z.literal('end'),
    state: z.enum(['complete', 'interrupted', 'failed']),
    reason: SHORT_TEXT,
    elapsedMs: MS,
  }),
]);

export const metrics = ['request', 'ttft', 'prefill', 'decode', 'load', 'memory'] as const;

/** One engine, one prompt, one metric. Rates are tokens/s, times ms, memory bytes. */
export const summarySchema = z.object({
  engine: ID,
  /** Prompt name; `mix` for the headline, `-` for load and memory. */
  prompt: ID,
  metric: z.enum(metrics),
  unit: z.enum(['ms', 'tokens/s', 'bytes']),
  blockCount: COUNT,
  /** Geometric mean over blocks with a 95% t interval on the log scale; bounds null under 3 blocks. */
  estimate: z.number(),
  low: z.number().nullable(),
  high: z.number().nullable(),
  /** One value per accepted block, in block order. */
  values: z.array(z.number()).max(1_000),
  /** Set when the work differs from what was asked: shown, never compared. */
  shortened: SHORT_TEXT.nullable(),
});

export const verdicts = [
  'FASTER',
  'SLIGHTLY_FASTER',
  'EQUIVALENT',
  'INCONCLUSIVE',
  'NOISY',
  'LOAD_DEPENDENT',
  'VOID',
  'NOT_COMPARED',
] as const;

/** Two engines, one metric, one prompt. `ratio` > 1: a is faster (time of b / time of a, rate of a / rate of b). */
export const comparisonSchema = z.object({
  metric: z.enum(['request', 'ttft', 'prefill', 'decode']),
  prompt: ID,
  a: ID,
  b: ID,
  blockCount: COUNT,
  ratio: z.number().nullable(),
  low: z.number().nullable(),
  high: z.number().nullable(),
  /** Confidence of the interval: simultaneous over the family and the planned looks. */
  confidence: z.number().nullable(),
  verdict: z.enum(verdicts),
  faster: z.enum(['a', 'b']).nullable(),
  pDifferent: z.number().nullable(),
  pBeyond: z.number().nullable(),
  pEquivalent: z.number().nullable(),
  /** Smallest ratios (> 1) that this many blocks would find with 80% power, for "different" and for FASTER. */
  detectableDifferent: z.number().nullable(),
  detectableFaster: z.number().nullable(),
  preliminary: z.boolean(),
  reasons: z.array(SHORT_TEXT).max(50),
});

export const verdictSchema = z.object({
  /** Primary endpoint: request time over the prompts that all ranked engines completed, equal weights. */
  state: z.enum([
    'winner',
    'tie',
    'inconclusive',
    'noisy',
    'load-dependent',
    'void',
    'single-engine',
    'nothing-measured',
  ]),
  /** One sentence, the first thing that every report prints. */
  headline: SHORT_TEXT,
  /** Why the winner won, in one sentence, from facts that differ; null when nothing is known. */
  why: SHORT_TEXT.nullable(),
  preliminary: z.boolean(),
  winner: ID.nullable(),
  /** Engines that nobody beats with FASTER ("not ruled out"). */
  topGroup: z.array(ID).max(20),
  /** Compact letters: engines that share a letter are EQUIVALENT. */
  letters: z.record(ID, SHORT_TEXT),
  prompts: z.array(ID).max(20),
  /** Limits of the statement, each a sentence. */
  caveats: z.array(SHORT_TEXT).max(50),
});

export const recordSchema = z.object({
  schemaVersion: z.literal(SCHEMA_VERSION),
  manifest: manifestSchema,
  state: z.enum(['complete', 'interrupted', 'failed', 'running']),
  elapsedMs: MS,
  verdict: verdictSchema,
  certificate: certificateSchema,
  engines: z.array(engineFactsSchema),
  gates: z.array(gateEventSchema).max(1_000),
  summaries: z.array(summarySchema),
  comparisons: z.array(comparisonSchema),
  notMeasured: z.array(z.object({ engine: ID, prompt: ID, reason: SHORT_TEXT, estimateMs: MS.nullable() })),
  warnings: z.array(z.object({ code: ID, engine: ID.nullable(), message: SHORT_TEXT, hint: SHORT_TEXT.nullable() })),
  blocks: z.object({ planned: COUNT, accepted: COUNT, rejected: COUNT }),
  /** From the `plan` event: counts of blocks at which the result may be tested, registered before the first block. */
  looks: z.array(z.int().positive()).max(10),
  /** Engines that were not measured to the end; absent where there are none. */
  retired: z.array(retiredSchema).max(20).optional(),
  ladder: ladderSchema.nullable().default(null),
  /** What was seen of the machine; null or absent where nothing looked at it (records before the canary). */
  machineState: machineStateSchema.nullable().optional(),
  roofline: rooflineSchema.nullable().optional(),
  expected: expectedSchema.nullable().optional(),
});

export type Plan = z.infer<typeof planSchema>;
export type Prompt = z.infer<typeof promptSchema>;
export type Machine = z.infer<typeof machineSchema>;
export type Manifest = z.infer<typeof manifestSchema>;
export type ModelFacts = z.infer<typeof modelFactsSchema>;
export type EngineFacts = z.infer<typeof engineFactsSchema>;
export type Memory = z.infer<typeof memorySchema>;
export type Interference = z.infer<typeof interferenceSchema>;
export type Sample = z.infer<typeof sampleSchema>;
export type RunEvent = z.infer<typeof eventSchema>;
export type GateEvent = Extract<RunEvent, { type: 'gate' }>;
export type GateName = (typeof gateNames)[number];
export type Metric = (typeof metrics)[number];
export type Summary = z.infer<typeof summarySchema>;
export type Comparison = z.infer<typeof comparisonSchema>;
export type Verdict = z.infer<typeof verdictSchema>;
export type Certificate = z.infer<typeof certificateSchema>;
export type RunRecord = z.infer<typeof recordSchema>;
