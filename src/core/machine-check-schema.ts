/** What runoff sees of the machine between two processes: how fast it is, and what happened to it meanwhile. */
import { z } from 'zod';

const RATE = z.number().nonnegative().finite();
const MS = z.number().nonnegative().finite();
const COUNT = z.int().nonnegative();
const SHARE = z.number().min(0).max(1);
const SHORT_TEXT = z.string().max(2_000);

/** What the machine did beside the engine while a cell ran, as shares of all cores (0..1). Null: the OS does not tell. */
export const interferenceSchema = z.object({
  foreignCpuShare: z.number().nullable(),
  stealShare: z.number().nullable(),
  ownCpuShare: z.number().nullable(),
});

/** Memory of the engine's whole process tree, read from outside. Null where the OS does not tell. */
export const memorySchema = z.object({
  peakBytes: COUNT.nullable(),
  anonymousBytes: COUNT.nullable(),
  fileBackedBytes: COUNT.nullable(),
});

/** What a run will find in 8 of 10 cases, told before it: ratios above 1, with the spread that is assumed. */
export const expectedSchema = z.object({ deviation: z.number(), different: z.number(), faster: z.number() });

/** One reading of the canary, all threads together. */
export const canaryReadingSchema = z.object({
  readBytesPerS: RATE,
  flopsPerS: RATE,
  readMs: MS,
  multiplyAddMs: MS,
});

/** Counters since the start of the machine, and states of now. Null: the system does not tell. */
export const conditionsSchema = z.object({
  /** Times that a core or a package was slowed down because of heat. */
  throttleCount: COUNT.nullable(),
  /** The processor is held below its speed by heat or a power limit now (macOS, Windows). */
  limited: z.boolean().nullable(),
  power: z.enum(['ac', 'battery', 'unknown']),
  /** Pages that were read back from swap. */
  swapInPages: COUNT.nullable(),
});

/** Share of the canary's time in which some program had to wait (Linux, /proc/pressure): no engine runs then. */
export const pressureSchema = z.object({ cpu: SHARE, io: SHARE, memory: SHARE });

export const machineCheckEventSchema = z.object({
  type: z.literal('machine-check'),
  elapsedMs: MS,
  /** Null: no canary here, because the next and the last engine compute on a GPU or cells are too short. */
  canary: canaryReadingSchema.nullable(),
  conditions: conditionsSchema,
  pressure: pressureSchema.nullable(),
  /** What this look cost, canary included. */
  costMs: MS,
});

/** Registered with the plan: how often and how long the machine is looked at. */
export const canaryPlanEventSchema = z.object({
  type: z.literal('canary-plan'),
  /** `cells`: around every process; `blocks`: around every block; `off`: not at all. */
  mode: z.enum(['cells', 'blocks', 'off']),
  reason: SHORT_TEXT.nullable(),
  /** Of reading and of computing, each. */
  durationMs: MS,
  calibrations: COUNT,
  threads: COUNT,
  bufferBytes: COUNT,
  /** Fastest reading of this machine in any run before; for information. */
  best: z.object({ readBytesPerS: RATE, flopsPerS: RATE }).nullable(),
});

/** Of a whole run. */
export const machineStateSchema = z.object({
  canary: z
    .object({
      looks: COUNT,
      threads: COUNT,
      bufferBytes: COUNT,
      /** Medians over the run. */
      readBytesPerS: RATE,
      flopsPerS: RATE,
      /** Of the blocks that were tested: mean slowdown against the quietest tenth of all looks, as a share. */
      excessLoad: z.number().nullable(),
      /** Of all looks: slowest against fastest, as a share. */
      spread: z.number(),
      best: z.object({ readBytesPerS: RATE, flopsPerS: RATE }).nullable(),
    })
    .nullable(),
  /** Why there is no canary; null where there is. */
  canaryReason: SHORT_TEXT.nullable(),
  /** All looks, canary and counters: share of the measuring time. */
  costShare: SHARE,
  /** That the machine slowed down to a speed that it kept, each in words. */
  sustained: z.array(SHORT_TEXT).max(100),
});

export type MachineState = z.infer<typeof machineStateSchema>;
export type CanaryReading = z.infer<typeof canaryReadingSchema>;
export type Conditions = z.infer<typeof conditionsSchema>;
export type Pressure = z.infer<typeof pressureSchema>;
export type MachineCheckEvent = z.infer<typeof machineCheckEventSchema>;
export type CanaryPlanEvent = z.infer<typeof canaryPlanEventSchema>;
