/** Streams a tensor's rows in Hugging Face's order, a bounded chunk at a time. */
import type { FileHandle } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, breathe, readFully } from '../file-io.ts';
import { unpermuteRows } from './tensor-map.ts';

/** Small enough for the second-level cache, large enough that system calls do not count. */
const CHUNK_BYTES = 1 << 20;
/** A row or a head beyond this does not exist; it would break the promise of bounded memory. */
const UNIT_BYTES_MAX = 64 << 20;

export interface RowChunk {
  /** Valid until the next chunk is asked for; starts 8-byte aligned. */
  readonly bytes: Uint8Array;
  readonly firstRow: number;
  readonly rowCount: number;
}

export interface RowSource {
  readonly name: string;
  /** The file that holds it. */
  readonly path: string;
  readonly offset: number;
  readonly rows: number;
  readonly rowBytes: number;
  readonly permutedHeadRows: number | null;
}

export class RowReader {
  readonly #files: { of(source: RowSource): Pick<FileHandle, 'fd'> };
  readonly #signal: AbortSignal | undefined;
  #read = alignedBuffer(CHUNK_BYTES);
  #reordered = alignedBuffer(0);

  constructor(files: { of(source: RowSource): Pick<FileHandle, 'fd'> }, signal?: AbortSignal) {
    this.#files = files;
    this.#signal = signal;
  }

  async *chunks(source: RowSource): AsyncGenerator<RowChunk, void, void> {
    const { rows, rowBytes, permutedHeadRows } = source;
    const unitRows = permutedHeadRows ?? 1;
    const chunkRows = unitRows * Math.max(1, Math.floor(CHUNK_BYTES / (unitRows * rowBytes)));
    this.#reserve(source, Math.min(chunkRows, rows) * rowBytes);
    for (let firstRow = 0; firstRow < rows; firstRow += chunkRows) {
      await breathe();
      this.#signal?.throwIfAborted();
      const rowCount = Math.min(chunkRows, rows - firstRow);
      const length = rowCount * rowBytes;
      readFully(this.#files.of(source), this.#read, { position: source.offset + firstRow * rowBytes, length });
      if (permutedHeadRows !== null) {
        unpermuteRows(this.#read, this.#reordered, { rows: rowCount, rowBytes, headRows: permutedHeadRows });
      }
      const bytes = (permutedHeadRows === null ? this.#read : this.#reordered).subarray(0, length);
      yield { bytes, firstRow, rowCount };
    }
  }

  #reserve({ name, permutedHeadRows }: RowSource, bytes: number): void {
    if (bytes > UNIT_BYTES_MAX) {
      throw new AppError(
        'model-unsupported',
        `Tensor ${name} has rows (or heads) of ${bytes} bytes; up to ${UNIT_BYTES_MAX} are handled.`,
      );
    }
    if (this.#read.byteLength < bytes) this.#read = alignedBuffer(bytes);
    if (permutedHeadRows !== null && this.#reordered.byteLength < bytes)
      this.#reordered = alignedBuffer(Math.max(bytes, CHUNK_BYTES));
  }
}

/** The way a mapped tensor is read. */
export function rowSourceOf({
  source,
  rows,
  rowBytes,
  permutedHeadRows,
}: {
  readonly source: { readonly name: string; readonly path: string; readonly offset: number };
  readonly rows: number;
  readonly rowBytes: number;
  readonly permutedHeadRows: number | null;
}): RowSource {
  return { name: source.name, path: source.path, offset: source.offset, rows, rowBytes, permutedHeadRows };
}
