/**
 * Fingerprints kept beside the model, so that gigabytes are not read twice: MODEL.gguf.fingerprint.json, or
 * fingerprint.json in a folder. They count while names, sizes and times of change of the files are the same, and while the
 * rules are. Where the folder cannot be written, and for links into the caches of other
 * programs, they are kept in runoff's cache.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { atomicWrite } from '../../platform/files/atomic-write.ts';
import { filesOfModel } from '../gguf/parts.ts';
import { FINGERPRINT_RULE, fingerprintModel, type FingerprintOptions } from './fingerprint.ts';

export interface StoredFingerprint {
  /** Of a file, or of the files of a split model one after the other; null for a folder. */
  readonly sha256: string | null;
  /** Null where the values cannot be read: other architectures and types. */
  readonly fingerprint: string | null;
}

/** One line for each file; folders have at most a thousand shards. */
const SIDECAR_BYTES_MAX = 1 << 20;
const HASH_CHUNK_BYTES = 8 << 20;

const fileSchema = z.object({ name: z.string(), bytes: z.number(), modifiedMs: z.number() });
const sidecarSchema = z.object({
  rule: z.string(),
  files: z.array(fileSchema),
  sha256: z.string().nullable(),
  fingerprint: z.string().nullable(),
});
type Sidecar = z.infer<typeof sidecarSchema>;

/** Reads the model only where nothing valid is stored. Rejects as `fingerprintModel`, but for `model-unsupported`. */
export async function storedFingerprint(
  path: string,
  fallbackFolder: string,
  options: FingerprintOptions = {},
): Promise<StoredFingerprint> {
  const absolute = resolve(path);
  const isFolder = (await stat(absolute)).isDirectory();
  const files = await describeFiles(absolute, isFolder);
  const beside = isFolder ? join(absolute, 'fingerprint.json') : `${absolute}.fingerprint.json`;
  const key = createHash('sha256').update(absolute).digest('hex').slice(0, 32);
  const inCache = join(fallbackFolder, `${key}.json`);
  // A link leads into a cache that other programs share: nothing is added to it.
  const isLink = (await lstat(absolute)).isSymbolicLink();
  const places = isLink ? [inCache, inCache] : [beside, inCache];
  for (const place of places) {
    const kept = await readSidecar(place);
    if (kept !== null && kept.rule === FINGERPRINT_RULE && JSON.stringify(kept.files) === JSON.stringify(files))
      return { sha256: kept.sha256, fingerprint: kept.fingerprint };
  }
  const sha256 = isFolder ? null : await sha256Of(filesOfModel(absolute));
  const made = { sha256, fingerprint: await fingerprintOrNull(absolute, options) };
  await keep(places, { rule: FINGERPRINT_RULE, files, ...made });
  return made;
}

/** The weights, and the configuration that says how they are packed. */
async function describeFiles(path: string, isFolder: boolean): Promise<Sidecar['files']> {
  const paths = isFolder
    ? (await readdir(path))
        .filter((name) => name === 'config.json' || /^model.*\.safetensors$/.test(name))
        .toSorted()
        .map((name) => join(path, name))
    : filesOfModel(path);
  const files: Sidecar['files'] = [];
  for (const file of paths) {
    const { size, mtimeMs } = await stat(file);
    files.push({ name: basename(file), bytes: size, modifiedMs: mtimeMs });
  }
  return files;
}

async function readSidecar(path: string): Promise<Sidecar | null> {
  try {
    if ((await stat(path)).size > SIDECAR_BYTES_MAX) return null;
    return sidecarSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return null;
  }
}

/** In the first place that can be written. */
async function keep([beside = '', fallback = '']: readonly string[], sidecar: Sidecar): Promise<void> {
  const text = `${JSON.stringify(sidecar, null, 2)}\n`;
  try {
    await atomicWrite(beside, text);
  } catch {
    await mkdir(resolve(fallback, '..'), { recursive: true });
    await atomicWrite(fallback, text);
  }
}

/** Engines that read the same file need no fingerprint. */
async function fingerprintOrNull(path: string, options: FingerprintOptions): Promise<string | null> {
  try {
    return (await fingerprintModel(path, options)).fingerprint;
  } catch (error) {
    if (error instanceof AppError && error.code === 'model-unsupported') return null;
    throw error;
  }
}

async function sha256Of(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const path of paths) {
    for await (const chunk of createReadStream(path, { highWaterMark: HASH_CHUNK_BYTES })) hash.update(chunk as Buffer);
  }
  return hash.digest('hex');
}
