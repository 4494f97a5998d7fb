/** Streams bytes into an open file and checks or makes their CRC-32 on the way: gigabytes in little memory. */
import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { AppError, messageOf } from '../../core/errors.ts';
import { freeBytes } from '../../platform/folders.ts';
import { breathe, writeFully } from '../file-io.ts';

export interface CopyOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: { readonly doneBytes: number; readonly totalBytes: number }) => void) | undefined;
}

/** Large enough for the disk's speed; a handful of them are in memory at a time. */
export const CHUNK_BYTES = 1 << 20;

export interface CopyTarget {
  readonly handle: FileHandle;
  readonly position: number;
  /** Expected; one byte more stops the copy. */
  readonly totalBytes: number;
}

/** @returns what was copied. Rejects with the signal's reason when it is aborted. */
export async function copyBytes(
  chunks: AsyncIterable<Uint8Array>,
  { handle, position, totalBytes }: CopyTarget,
  { signal, onProgress }: CopyOptions,
): Promise<{ byteLength: number; checksum: number }> {
  let byteLength = 0;
  let checksum = 0;
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    if (byteLength + chunk.byteLength > totalBytes) return { byteLength: byteLength + chunk.byteLength, checksum };
    writeFully(handle, chunk, position + byteLength);
    checksum = crc32(chunk, checksum);
    byteLength += chunk.byteLength;
    onProgress?.({ doneBytes: byteLength, totalBytes });
    await breathe();
  }
  return { byteLength, checksum };
}

/** @throws AppError `conversion-failed` when the disk has too little room for this many bytes */
export async function requireRoom(path: string, neededBytes: number): Promise<void> {
  const free = await freeBytes(path);
  if (free === null || free >= neededBytes) return;
  throw new AppError(
    'conversion-failed',
    `${path} needs ${Math.ceil(neededBytes / 1e6)} MB, ${Math.floor(free / 1e6)} MB are free there.`,
    { hint: 'Free some disk space (runoff cache shows what runoff keeps), or choose another place.' },
  );
}

/** A failed write as an operating error; errors that have a meaning already stay as they are. */
export function copyFailure(path: string, error: unknown): unknown {
  const isSystemError = error instanceof Error && 'syscall' in error;
  if (!isSystemError) return error;
  return new AppError('conversion-failed', `${path} could not be written: ${messageOf(error)}.`, {
    hint: 'Check the free space and the permissions there.',
    cause: error,
  });
}
