/** Settings that `runoff tune` found, kept per machine, engine version and model in the cache folder. */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { EngineSettings } from '../../core/engine.ts';
import { settingsSchema } from '../../core/record.ts';
import type { Machine } from '../../core/record.ts';
import { atomicWrite } from '../../platform/files/atomic-write.ts';

const FOLDER = 'tuned';
/** Some 1 kB. */
const FILE_BYTES_MAX = 64 << 10;
const TEXT = z.string().min(1).max(2_000);

const tunedSchema = z.object({
  schemaVersion: z.literal(1),
  engine: TEXT,
  /** As the engine's detection reports it. */
  version: TEXT,
  model: z.object({ name: TEXT, sha256: TEXT }),
  machine: z.object({ os: TEXT, cpu: TEXT, physicalCores: z.int().positive(), logicalCores: z.int().positive() }),
  /** What differs from the defaults; empty: nothing was better. */
  settings: settingsSchema.partial(),
  /** Time with the defaults over time with these, confirmed in blocks of their own; null where nothing differs. */
  gain: z.number().positive().nullable(),
  gainLow: z.number().positive().nullable(),
  gainHigh: z.number().positive().nullable(),
  /** YYYY-MM-DD. */
  date: z.string().regex(/^\d{4}-\d{2}-\d{2}$/),
});
export type Tuned = z.infer<typeof tunedSchema>;

export interface TunedKey {
  readonly engine: string;
  readonly version: string;
  readonly modelSha256: string;
  readonly machine: Pick<Machine, 'os' | 'cpu' | 'physicalCores' | 'logicalCores'>;
}

/** Null where this was not tuned, or was on another machine, version or model. A damaged file counts as none. */
export async function readTuned(cacheFolder: string, key: TunedKey): Promise<Tuned | null> {
  const path = pathOf(cacheFolder, key);
  try {
    if ((await stat(path)).size > FILE_BYTES_MAX) return null;
    return tunedSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return null;
  }
}

/** @throws AppError `record-write-failed` */
export async function writeTuned(cacheFolder: string, key: TunedKey, tuned: Tuned): Promise<void> {
  await atomicWrite(pathOf(cacheFolder, key), `${JSON.stringify(tunedSchema.parse(tuned), null, 2)}\n`);
}

function pathOf(cacheFolder: string, { engine, version, modelSha256, machine }: TunedKey): string {
  const { os, cpu, physicalCores, logicalCores } = machine;
  const key = JSON.stringify([engine, version, modelSha256, os, cpu, physicalCores, logicalCores]);
  return join(cacheFolder, FOLDER, `${createHash('sha256').update(key).digest('hex').slice(0, 32)}.json`);
}

/** Pure: the settings of `found` that differ from those of `base`. */
export function differing(base: EngineSettings, found: EngineSettings): Partial<EngineSettings> {
  return Object.fromEntries(
    Object.entries(found).filter(([name, value]) => base[name as keyof EngineSettings] !== value),
  ) as Partial<EngineSettings>;
}
