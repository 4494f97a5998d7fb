/** A model out of a llamafile into a file of its own: streamed, checked, and there only when it is complete. */
import { createReadStream } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline, type Readable } from 'node:stream';
import { createInflateRaw } from 'node:zlib';
import { AppError } from '../../core/errors.ts';
import { writeThenRename } from '../file-io.ts';
import { CHUNK_BYTES, copyBytes, copyFailure, requireRoom, type CopyOptions } from './copy-bytes.ts';
import type { ZipEntry } from './zip.ts';

/**
 * Writes the entry's bytes to `target`, whose folder is made; nothing is left there when it fails or is aborted.
 * @throws AppError `model-invalid` when size or CRC-32 differ from the directory's, `conversion-failed` for the disk
 */
export async function extractGguf(
  path: string,
  entry: ZipEntry,
  target: string,
  options: CopyOptions = {},
): Promise<void> {
  if (entry.method === 'other') throw damaged(path, entry, 'it is compressed in an unknown way');
  await requireRoom(target, entry.byteLength);
  try {
    await mkdir(dirname(target), { recursive: true });
    await writeThenRename(target, async (temporaryPath) => write(path, entry, temporaryPath, options));
  } catch (error) {
    throw copyFailure(target, error);
  }
}

async function write(path: string, entry: ZipEntry, temporaryPath: string, options: CopyOptions): Promise<void> {
  const handle = await open(temporaryPath, 'wx');
  try {
    const target = { handle, position: 0, totalBytes: entry.byteLength };
    const { byteLength, checksum } = await copyBytes(dataOf(path, entry), target, options);
    if (byteLength !== entry.byteLength)
      throw damaged(path, entry, `it has not the ${entry.byteLength} bytes it claims`);
    if (checksum !== entry.crc32) throw damaged(path, entry, 'its checksum is wrong');
  } catch (error) {
    if (isZlibError(error)) throw damaged(path, entry, 'it cannot be unpacked', error);
    throw error;
  } finally {
    await handle.close();
  }
}

async function* dataOf(path: string, entry: ZipEntry): AsyncGenerator<Buffer> {
  const { dataOffset: start, compressedBytes, method } = entry;
  if (compressedBytes === 0) return;
  const source = createReadStream(path, { start, end: start + compressedBytes - 1, highWaterMark: CHUNK_BYTES });
  // Its callback has nothing to do: the loop over the last stream sees every error.
  const stream: Readable = method === 'deflated' ? pipeline(source, createInflateRaw(), () => {}) : source;
  for await (const chunk of stream) yield chunk as Buffer;
}

function isZlibError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('Z_');
}

function damaged(path: string, { name }: ZipEntry, reason: string, cause?: unknown): AppError {
  return new AppError('model-invalid', `${name} in ${path} is damaged: ${reason}.`, {
    hint: 'Download or pack the llamafile again.',
    cause,
  });
}
