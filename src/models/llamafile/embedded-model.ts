/** The model of a llamafile as a file in the cache, taken out once, so that every engine reads the same bytes. */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { CopyOptions } from './copy-bytes.ts';
import { extractGguf } from './extract.ts';
import { embeddedGguf, readLlamafile } from './read-llamafile.ts';

export interface EmbeddedModelAsk extends Omit<CopyOptions, 'onProgress'> {
  /** Absolute. */
  readonly path: string;
  /** Null: the only one. */
  readonly modelName: string | null;
  readonly cacheFolder: string;
  readonly onProgress?: ((text: string) => void) | undefined;
}

export interface ExtractedModel {
  readonly path: string;
  readonly fileBytes: number;
  /** Of the entry in the llamafile. */
  readonly name: string;
}

/** Long enough that two llamafiles never share a folder. */
const KEY_LENGTH = 16;

/** @throws AppError as `readLlamafile`, `embeddedGguf` and `extractGguf` do */
export async function extractToCache(ask: EmbeddedModelAsk): Promise<ExtractedModel> {
  const { path, modelName, cacheFolder, onProgress, signal } = ask;
  const { entry } = embeddedGguf(await readLlamafile(path), modelName);
  const { name, byteLength: fileBytes } = entry;
  const { size, mtimeMs } = await stat(path);
  const key = createHash('sha256')
    .update(JSON.stringify([path, size, mtimeMs, name, entry.crc32]))
    .digest('hex')
    .slice(0, KEY_LENGTH);
  const target = join(cacheFolder, 'llamafile', key, basename(name));
  const present = await stat(target).catch(() => null);
  if (present === null || present.size !== fileBytes) {
    const file = basename(path);
    await extractGguf(path, entry, target, {
      signal,
      onProgress: ({ doneBytes, totalBytes }) =>
        onProgress?.(
          `Taking ${name} out of ${file} (${Math.floor(doneBytes / 1e6)} of ${Math.ceil(totalBytes / 1e6)} MB)`,
        ),
    });
  }
  return { path: target, fileBytes, name };
}
