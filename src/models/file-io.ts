/** Whole reads and writes at a position, and outputs that exist under their final name only when complete. */
import { randomBytes } from 'node:crypto';
import { readSync, writeSync } from 'node:fs';
import { rename, rm, type FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { AppError } from '../core/errors.ts';

/*
 * Synchronous, because the data is mostly in the page cache and a model has a thousand small pieces: a trip through the
 * thread pool costs more than the copy. Loops call `breathe` in between, so that timers and signals are served.
 */

/** Reads exactly `length` bytes; a shorter file means that somebody changed it since its size was checked. */
export function readFully(
  handle: Pick<FileHandle, 'fd'>,
  target: Uint8Array,
  { position, length }: { position: number; length: number },
): void {
  let done = 0;
  while (done < length) {
    const bytesRead = readSync(handle.fd, target, done, length - done, position + done);
    if (bytesRead === 0) {
      throw new AppError(
        'model-invalid',
        `A model file became shorter while it was read: nothing at byte ${position + done}, ${length - done} bytes are missing.`,
        {
          hint: 'Let no other program change the model, then try again.',
        },
      );
    }
    done += bytesRead;
  }
}

export function writeFully(handle: Pick<FileHandle, 'fd'>, source: Uint8Array, position: number): void {
  let done = 0;
  while (done < source.byteLength)
    done += writeSync(handle.fd, source, done, source.byteLength - done, position + done);
}

/**
 * A header without its first bytes, which say what the file is: an unfinished file is then no model to anybody.
 * `writeHeaderStart` puts them in when the rest is there.
 */
export function writeHeaderRest(handle: Pick<FileHandle, 'fd'>, header: Uint8Array): void {
  writeFully(handle, header.subarray(MAGIC_BYTES), MAGIC_BYTES);
}

export function writeHeaderStart(handle: Pick<FileHandle, 'fd'>, header: Uint8Array): void {
  writeFully(handle, header.subarray(0, MAGIC_BYTES), 0);
}

/** `GGUF` with its version; the header's length in a safetensors file. */
const MAGIC_BYTES = 8;

/** Longest stretch of work between two turns of the event loop, ms: an interrupt or a progress line waits no longer. */
const STRETCH_MS = 20;
let lastBreathMs = 0;

export async function breathe(): Promise<void> {
  if (performance.now() - lastBreathMs < STRETCH_MS) return;
  await setImmediate();
  lastBreathMs = performance.now();
}

/**
 * Runs `write` on a temporary name beside `finalPath` and renames it when it returns; removes it when it throws.
 * Not synced to the disk: a conversion is repeatable and a sync would cost more than it; readers check sizes.
 */
export async function writeThenRename<T>(finalPath: string, write: (temporaryPath: string) => Promise<T>): Promise<T> {
  const temporaryPath = temporaryPathFor(finalPath);
  try {
    const result = await write(temporaryPath);
    await rename(temporaryPath, finalPath);
    return result;
  } catch (error) {
    await rm(temporaryPath, { recursive: true, force: true });
    throw error;
  }
}

/** Beside it, and no other process's. */
export function temporaryPathFor(finalPath: string): string {
  return `${finalPath}.${process.pid}-${randomBytes(4).toString('hex')}.partial`;
}

/** A buffer of its own, so that 16- and 32-bit views of it are aligned; pooled buffers are not. */
export function alignedBuffer(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(Math.ceil(bytes / 8) * 8), 0, bytes);
}
