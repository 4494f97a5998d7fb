/** runoff.json beside a converted model: what it was made from, so that a complete conversion can be recognised and reused. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

export const RECEIPT_FILE = 'runoff.json';
/** Raise when the bytes that a repack writes change: earlier conversions are then made again. */
export const CONVERTER_VERSION = 1;
const RECEIPT_BYTES_MAX = 1 << 20;

const receiptSchema = z.object({
  tool: z.literal('runoff'),
  converterVersion: z.int(),
  scales: z.enum(['f32', 'f16']),
  source: z.object({
    fileName: z.string(),
    bytes: z.number(),
    modifiedMs: z.number(),
    sha256: z.string().nullable(),
  }),
  fingerprint: z.string().nullable(),
  tensorCount: z.number(),
  warnings: z.array(z.string()),
  files: z.array(z.object({ name: z.string(), bytes: z.number() })),
});

export type Receipt = z.infer<typeof receiptSchema>;

/** Null when there is none, or none that can be read. */
export async function readReceipt(folder: string): Promise<Receipt | null> {
  const path = join(folder, RECEIPT_FILE);
  try {
    if ((await stat(path)).size > RECEIPT_BYTES_MAX) return null;
    return receiptSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return null;
  }
}

/** Same source, same converter, same scales, and every file there in its full length. */
export async function isReusable(
  folder: string,
  found: Receipt,
  wanted: Pick<Receipt, 'scales' | 'source'>,
): Promise<boolean> {
  if (found.converterVersion !== CONVERTER_VERSION || found.scales !== wanted.scales) return false;
  if (found.source.bytes !== wanted.source.bytes) return false;
  const hashes = [found.source.sha256, wanted.source.sha256];
  const hashesKnown = hashes.every((hash) => hash !== null);
  if (hashesKnown ? hashes[0] !== hashes[1] : found.source.modifiedMs !== wanted.source.modifiedMs) return false;
  for (const { name, bytes } of found.files) {
    const size = await stat(join(folder, name)).then(
      (info) => info.size,
      () => -1,
    );
    if (size !== bytes) return false;
  }
  return true;
}
