/** Streams tensors from their source files into the output: every lane reads, converts and writes a chunk of rows at a time. */
import { write } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { assert } from '../../core/assert.ts';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer } from '../file-io.ts';
import { tensorTypeById, type TensorType } from '../gguf/tensor-types.ts';
import { PackedReader } from '../mlx/packed-source.ts';
import { TensorsInWork, type Piece, type TensorDone } from '../resume/tensors-in-work.ts';
import { scan, scannedFloats, type Checksum } from '../scan/scan.ts';
import { addOne, kernelFor, overflowError, type Kernel } from './kernels.ts';
import { SourceFiles } from './source-files.ts';
import type { JobProgress, TensorJob } from './tensor-job.ts';

/** A chunk is a unit of progress and memory: small beside the promise of 250 MB, large beside the cost of a call. */
const CHUNK_BYTES = 2 << 20;
/** Plain conversions: one lane computes while another reads, a third writes, and a fourth is next to be written. */
export const PLAIN_LANES = 4;
/** A row or a head beyond this does not exist; it would break the promise of bounded memory. */
const UNIT_BYTES_MAX = 64 << 20;

export interface Rows {
  readonly job: TensorJob;
  readonly source: TensorType;
  readonly target: TensorType;
  readonly bytes: Uint8Array;
  readonly firstRow: number;
  readonly rowCount: number;
}

/** Writes the rows' bytes in the target type into `out`, which is large enough. */
export type RowConverter = (rows: Rows, out: Uint8Array) => Promise<void> | void;

export interface RunRequest {
  readonly jobs: readonly TensorJob[];
  /** The output files, by the jobs' `targetPart`. */
  readonly targets: readonly Pick<FileHandle, 'fd'>[];
  /** One per chunk that is worked on at the same time. */
  readonly converters: readonly RowConverter[];
  readonly onProgress: (progress: JobProgress) => void;
  /** Every byte of the tensor has been given to the system. */
  readonly onTensor: (done: TensorDone) => void;
  readonly signal?: AbortSignal | undefined;
}

/** @throws AppError `model-invalid` (infinite or NaN weights), `model-unsupported`, `conversion-failed` */
export async function runJobs({ jobs, targets, converters, onProgress, onTensor, signal }: RunRequest): Promise<void> {
  const totalBytes = jobs.reduce((sum, job) => sum + sourceBytes(job), 0);
  const files = new SourceFiles();
  const outputs = targets.map((target) => new OutputFile(target));
  const chunks = chunksOf(jobs);
  const tensors = new TensorsInWork(onTensor);
  let doneBytes = 0;
  const work = async (convert: RowConverter): Promise<void> => {
    const lane = new Lane(files, outputs, convert);
    for (const chunk of chunks) {
      signal?.throwIfAborted();
      const { readBytes, checksum } = await lane.run(chunk);
      doneBytes += readBytes;
      tensors.pieceDone(chunk.piece, [checksum]);
      onProgress({ doneBytes, totalBytes });
    }
  };
  try {
    // The iterator is shared: a lane that is done takes the next chunk. All have ended before the files are closed.
    const results = await Promise.allSettled(converters.map(work));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  } finally {
    files.close();
  }
}

interface Chunk {
  readonly job: TensorJob;
  readonly piece: Piece;
  readonly firstRow: number;
  readonly rowCount: number;
}

function* chunksOf(jobs: readonly TensorJob[]): Generator<Chunk, void, void> {
  for (const job of jobs) {
    const unitRows = job.headRows ?? 1;
    const unitBytes = unitRows * rowBytes(typeOf(job.sourceType), job.columns);
    if (unitBytes > UNIT_BYTES_MAX) {
      throw new AppError(
        'model-unsupported',
        `Tensor ${job.name} has rows (or heads) of ${unitBytes} bytes; up to ${UNIT_BYTES_MAX} are handled.`,
      );
    }
    const step = unitRows * Math.max(1, Math.floor(CHUNK_BYTES / unitBytes));
    const count = Math.ceil(job.rows / step);
    for (let index = 0; index < count; index++) {
      const firstRow = index * step;
      yield { job, piece: { name: job.name, count }, firstRow, rowCount: Math.min(step, job.rows - firstRow) };
    }
  }
}

/** One chunk in work, with buffers that are used again. */
class Lane {
  readonly #files: SourceFiles;
  readonly #outputs: readonly OutputFile[];
  readonly #convert: RowConverter;
  readonly #packed: PackedReader;
  #read = alignedBuffer(0);
  #ordered = alignedBuffer(0);
  #written = alignedBuffer(0);

  constructor(files: SourceFiles, outputs: readonly OutputFile[], convert: RowConverter) {
    this.#files = files;
    this.#outputs = outputs;
    this.#convert = convert;
    this.#packed = new PackedReader((path, into, position) => files.readAll(path, into, position));
  }

  /** @returns bytes of the source that are done, and the checksum of what was written for them */
  async run(chunk: Chunk): Promise<{ readBytes: number; checksum: Checksum }> {
    const { job, firstRow, rowCount } = chunk;
    const source = typeOf(job.sourceType);
    const target = typeOf(job.targetType);
    const inBytes = rowBytes(source, job.columns);
    const outBytes = rowBytes(target, job.columns);
    const length = rowCount * inBytes;
    this.#read = grown(this.#read, length);
    await this.#fill(chunk, source, this.#read.subarray(0, length));
    const bytes = this.#inOrder(job, { length, rowCount });
    const offset = firstRow * outBytes;
    const read = scan(bytes, { floats: scannedFloats(source.name), offset: firstRow * inBytes });
    if (!read.isFinite) throw damagedError(job.name);
    const isCopy = source === target && !job.addsOne;
    const out = isCopy ? bytes : await this.#converted(chunk, { source, target, bytes });
    const written = isCopy ? read : scan(out, { floats: target.name === 'F16' ? 'F16' : null, offset });
    if (!written.isFinite) throw overflowError(job.name);
    await (this.#outputs[job.targetPart] as OutputFile).write(out, job.targetOffset + offset);
    return { readBytes: length, checksum: written.checksum };
  }

  async #converted(
    { job, firstRow, rowCount }: Chunk,
    { source, target, bytes }: { source: TensorType; target: TensorType; bytes: Uint8Array },
  ): Promise<Uint8Array> {
    const byteLength = rowCount * rowBytes(target, job.columns);
    this.#written = grown(this.#written, byteLength);
    const out = this.#written.subarray(0, byteLength);
    if (source === target) out.set(bytes);
    else await this.#convert({ job, source, target, bytes, firstRow, rowCount }, out);
    if (job.addsOne) addOne(job.addsExactly ? target : source, out, rowCount * job.columns);
    return out;
  }

  /** Rows in the source's order, as values or blocks of the job's source type. */
  async #fill({ job, firstRow, rowCount }: Chunk, source: TensorType, into: Uint8Array): Promise<void> {
    const { packed } = job;
    if (packed === null) {
      const position = job.sourceOffset + firstRow * rowBytes(source, job.columns);
      return this.#files.readAll(job.sourcePath, into, position);
    }
    const range = { firstRow, rowCount };
    if (source.name !== 'F32') return this.#packed.blocks(packed, source.name, { range, out: into });
    const values = new Float32Array(into.buffer, into.byteOffset, into.byteLength / 4);
    return this.#packed.values(packed, range, values);
  }

  #inOrder(job: TensorJob, { length, rowCount }: { length: number; rowCount: number }): Uint8Array {
    if (job.headRows === null) return this.#read.subarray(0, length);
    this.#ordered = grown(this.#ordered, length);
    interleaveHeads(this.#read, this.#ordered, { rows: rowCount, rowBytes: length / rowCount, headRows: job.headRows });
    return this.#ordered.subarray(0, length);
  }
}

function damagedError(name: string): AppError {
  return new AppError(
    'model-invalid',
    `Tensor ${name} holds an infinite value or NaN: the model is damaged, and no engine computes with it.`,
    { hint: 'Download the model again.', context: { tensor: name } },
  );
}

const writeAt = promisify(write);

/**
 * One write at a time, on Node's thread pool as the reads (see source-files.ts): the system lets only one into a file, and
 * the others would wait for it on a processor, which the conversion needs.
 */
class OutputFile {
  readonly #target: Pick<FileHandle, 'fd'>;
  #last: Promise<void> = Promise.resolve();

  constructor(target: Pick<FileHandle, 'fd'>) {
    this.#target = target;
  }

  write(from: Uint8Array, position: number): Promise<void> {
    const written = this.#last.then(() => this.#writeAll(from, position));
    this.#last = written;
    // Whoever asked for it hears of a failure, and so does everybody behind it.
    written.catch(() => {});
    return written;
  }

  async #writeAll(from: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < from.byteLength;) {
      const { bytesWritten } = await writeAt(this.#target.fd, from, done, from.byteLength - done, position + done);
      done += bytesWritten;
    }
  }
}

/** Row h*H + 2j + i of the result is row h*H + i*H/2 + j of the source (H rows a head, i in {0, 1}): ggml's order. */
export function interleaveHeads(
  source: Uint8Array,
  target: Uint8Array,
  { rows, rowBytes: bytes, headRows }: { rows: number; rowBytes: number; headRows: number },
): void {
  const half = headRows / 2;
  for (let row = 0; row < rows; row++) {
    const inHead = row % headRows;
    const from = row - inHead + (inHead % 2) * half + (inHead >>> 1);
    target.set(source.subarray(from * bytes, (from + 1) * bytes), row * bytes);
  }
}

/** One lane in JavaScript. */
export function plainConverter(): RowConverter {
  const kernels = new Map<string, Kernel>();
  return ({ job, source, target, bytes, rowCount }, out) => {
    const key = `${source.name} ${target.name}`;
    let kernel = kernels.get(key);
    if (kernel === undefined) {
      const found = kernelFor(source, target);
      assert(found !== null, `a kernel from ${source.name} to ${target.name} exists`);
      kernel = found;
      kernels.set(key, kernel);
    }
    kernel(bytes, out, rowCount * job.columns);
  };
}

function sourceBytes({ sourceType, rows, columns }: TensorJob): number {
  return rows * rowBytes(typeOf(sourceType), columns);
}

export function targetBytes({ targetType, rows, columns }: TensorJob): number {
  return rows * rowBytes(typeOf(targetType), columns);
}

export function rowBytes({ blockValues, blockBytes }: TensorType, columns: number): number {
  return (columns / blockValues) * blockBytes;
}

function typeOf(id: number): TensorType {
  const type = tensorTypeById(id);
  assert(type !== undefined, `ggml type ${id} was known when the plan was made`);
  return type;
}

function grown(buffer: Uint8Array<ArrayBuffer>, bytes: number): Uint8Array<ArrayBuffer> {
  return buffer.byteLength >= bytes ? buffer : alignedBuffer(bytes);
}
