/** Which of the tensors that a journal names are really in the file: each is read again and its checksum compared. */
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { readSync } from 'node:fs';
import { breathe } from '../file-io.ts';
import { addChecksums, checksumOf, formatChecksum, NO_BYTES } from '../scan/scan.ts';

const CHUNK_BYTES = 4 << 20;

export interface OutputPlace {
  /** Inside the output where that is a folder; null: the output itself. */
  readonly file: string | null;
  readonly offset: number;
  readonly bytes: number;
}

export interface DoneRequest {
  readonly done: ReadonlyMap<string, readonly string[]>;
  readonly places: ReadonlyMap<string, readonly OutputPlace[]>;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (progress: { readonly doneBytes: number; readonly totalBytes: number }) => void;
}

export async function checkDone(path: string, { done, places, signal, onProgress }: DoneRequest): Promise<Set<string>> {
  const tensors = [...done].map(([name, checksums]) => ({ name, checksums, outputs: places.get(name) ?? [] }));
  const sizeOf = (outputs: readonly OutputPlace[]): number => outputs.reduce((sum, { bytes }) => sum + bytes, 0);
  const totalBytes = tensors.reduce((sum, { outputs }) => sum + sizeOf(outputs), 0);
  const files = new Files(path);
  const buffer = new Uint8Array(CHUNK_BYTES);
  const sound = new Set<string>();
  let doneBytes = 0;
  try {
    for (const { name, checksums, outputs } of tensors) {
      let isSound = outputs.length > 0 && outputs.length === checksums.length;
      for (const [i, { file, offset, bytes }] of outputs.entries()) {
        let sum = NO_BYTES;
        for (let at = 0; isSound && at < bytes;) {
          await breathe();
          signal?.throwIfAborted();
          const count = readAt(
            await files.open(file),
            buffer.subarray(0, Math.min(CHUNK_BYTES, bytes - at)),
            offset + at,
          );
          isSound = count > 0;
          sum = addChecksums(sum, checksumOf(buffer.subarray(0, count), at));
          at += count;
        }
        isSound &&= formatChecksum(sum) === checksums[i];
      }
      if (isSound) sound.add(name);
      doneBytes += sizeOf(outputs);
      onProgress({ doneBytes, totalBytes });
    }
  } finally {
    await files.close();
  }
  return sound;
}

function readAt(file: FileHandle | null, target: Uint8Array, position: number): number {
  return file === null ? 0 : readSync(file.fd, target, 0, target.byteLength, position);
}

/** Opened when first needed; a file that is gone has no tensors. */
class Files {
  readonly #folder: string;
  readonly #handles = new Map<string | null, FileHandle | null>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  async open(file: string | null): Promise<FileHandle | null> {
    const known = this.#handles.get(file);
    if (known !== undefined) return known;
    const handle = await open(file === null ? this.#folder : join(this.#folder, file), 'r').catch(() => null);
    this.#handles.set(file, handle);
    return handle;
  }

  async close(): Promise<void> {
    for (const handle of this.#handles.values()) await handle?.close();
  }
}
