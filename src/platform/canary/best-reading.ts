/** The fastest canary that this machine ever showed, kept in the cache folder: for information, never for a verdict. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { atomicWrite } from '../files/atomic-write.ts';

const FILE_BYTES_MAX = 100_000;
/** One entry per processor and number of threads; a folder that moves between machines has few. */
const ENTRIES_MAX = 200;

const bestSchema = z.object({
  readBytesPerS: z.number().positive().finite(),
  flopsPerS: z.number().positive().finite(),
});
export type BestReading = z.infer<typeof bestSchema>;
const fileSchema = z.record(z.string().max(300), bestSchema);

/** @returns null where there is none, or the file cannot be read: it is made again. */
export async function readBest(path: string, key: string): Promise<BestReading | null> {
  return (await readAll(path))[key] ?? null;
}

/** Keeps the faster of both, for each kind. A folder that cannot be written loses a piece of information, not a run. */
export async function keepBest(path: string, key: string, reading: BestReading): Promise<void> {
  const all = await readAll(path);
  const before = all[key];
  const best = {
    readBytesPerS: Math.max(reading.readBytesPerS, before?.readBytesPerS ?? 0),
    flopsPerS: Math.max(reading.flopsPerS, before?.flopsPerS ?? 0),
  };
  if (best.readBytesPerS === before?.readBytesPerS && best.flopsPerS === before.flopsPerS) return;
  const entries = [...Object.entries(all).filter(([name]) => name !== key), [key, best] as const].slice(-ENTRIES_MAX);
  await atomicWrite(path, `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`).catch(() => {});
}

async function readAll(path: string): Promise<Record<string, BestReading>> {
  const text = await readFile(path, 'utf8').catch(() => '{}');
  if (text.length > FILE_BYTES_MAX) return {};
  try {
    return fileSchema.safeParse(JSON.parse(text)).data ?? {};
  } catch {
    return {};
  }
}
