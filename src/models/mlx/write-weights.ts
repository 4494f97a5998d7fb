/** Streams every planned tensor from the GGUF into the shards: bounded memory, one pass. */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, writeFully, writeHeaderRest, writeHeaderStart } from '../file-io.ts';
import type { TensorFiles } from '../gguf/parts.ts';
import { floatToHalf } from '../half.ts';
import { rowSourceOf, RowReader, type RowChunk } from '../hugging-face/row-reader.ts';
import type { PartialOutput } from '../resume/resumable-output.ts';
import { addChecksums, checksumOf, formatChecksum, NO_BYTES } from '../scan/scan.ts';
import type { ScaleArray, ScaleFault, ScaleType, ScaleWriter } from './block-format.ts';
import type { PlannedTensor, RepackPlan } from './plan.ts';
import type { PlacedOutput } from './shards.ts';

export interface WriteRequest {
  readonly source: TensorFiles;
  readonly plan: RepackPlan;
  readonly output: PartialOutput;
  readonly onChunk: (bytes: number) => void;
  readonly signal: AbortSignal | undefined;
}

export async function writeWeights({ source, plan, output, onChunk, signal }: WriteRequest): Promise<void> {
  const files: FileHandle[] = [];
  try {
    for (const { fileName, header } of plan.shards) {
      const file = await open(join(output.path, fileName), constants.O_RDWR | constants.O_CREAT);
      files.push(file);
      writeHeaderRest(file, header);
    }
    const reader = new RowReader(source, signal);
    const converter = new ChunkConverter(plan.scales);
    for (const planned of plan.tensors) {
      const { tensor, outputs } = planned;
      if (output.isDone(tensor.name)) continue;
      const file = files[outputs[0]?.shard as number] as FileHandle;
      let done = outputs.map(() => ({ sum: NO_BYTES, bytes: 0 }));
      for await (const chunk of reader.chunks(rowSourceOf(tensor))) {
        const written = writeChunk(file, planned, { chunk, converter });
        done = done.map(({ sum, bytes }, i) => {
          const part = written[i] as Uint8Array;
          return { sum: addChecksums(sum, checksumOf(part, bytes)), bytes: bytes + part.byteLength };
        });
        onChunk(chunk.bytes.byteLength);
      }
      output.tensorDone({ name: tensor.name, checksums: done.map(({ sum }) => formatChecksum(sum)) });
    }
    for (const [i, { header }] of plan.shards.entries()) writeHeaderStart(files[i] as FileHandle, header);
  } finally {
    for (const file of files) await file.close();
  }
}

/** @returns what was written for each output, valid until the next chunk */
function writeChunk(
  file: FileHandle,
  { tensor, conversion, outputs }: PlannedTensor,
  { chunk, converter }: { chunk: RowChunk; converter: ChunkConverter },
): readonly Uint8Array[] {
  const [first, scales, biases] = outputs as readonly [PlacedOutput, PlacedOutput?, PlacedOutput?];
  if (conversion.kind === 'copy') {
    writeFully(file, chunk.bytes, first.offset + chunk.firstRow * tensor.rowBytes);
    return [chunk.bytes];
  }
  if (conversion.kind === 'vector') {
    const bytes = convertVector(chunk.bytes, conversion);
    const share = bytes.byteLength / chunk.bytes.byteLength;
    writeFully(file, bytes, first.offset + chunk.firstRow * tensor.rowBytes * share);
    return [bytes];
  }
  const { blockBytes, blockValues, groupSize, bits } = conversion.format;
  const firstValue = ((chunk.firstRow * tensor.rowBytes) / blockBytes) * blockValues;
  const parts = converter.convert(chunk.bytes, { tensor, conversion });
  const scaleOffset = (firstValue / groupSize) * parts.scaleBytes;
  writeFully(file, parts.codes, first.offset + (firstValue * bits) / 8);
  if (scales !== undefined) writeFully(file, parts.scales, scales.offset + scaleOffset);
  if (biases !== undefined) writeFully(file, parts.biases, biases.offset + scaleOffset);
  return [parts.codes, parts.scales, parts.biases];
}

/** Exactness was proven when the plan was made. */
function convertVector(
  bytes: Uint8Array,
  { dtype, offset }: Extract<PlannedTensor['conversion'], { kind: 'vector' }>,
): Uint8Array {
  const floats = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const values = offset === 0 ? floats : floats.map((value) => value + offset);
  if (dtype === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves =
    dtype === 'F16' ? Uint16Array.from(values, floatToHalf) : Uint16Array.from(words, (word) => word >>> 16);
  return new Uint8Array(halves.buffer);
}

type Packed = Pick<PlannedTensor, 'tensor'> & {
  readonly conversion: Extract<PlannedTensor['conversion'], { kind: 'packed' }>;
};

interface ConvertedParts {
  readonly codes: Uint8Array;
  readonly scales: Uint8Array;
  readonly biases: Uint8Array;
  /** Of one scale. */
  readonly scaleBytes: number;
}

/** Owns the output buffers, which grow to the largest chunk and are used again. */
class ChunkConverter {
  readonly #dtype: ScaleType;
  readonly #writers = new Map<string, ScaleWriter>();
  #codes = alignedBuffer(0);
  #scales = alignedBuffer(0);
  #biases = alignedBuffer(0);

  constructor(dtype: ScaleType) {
    this.#dtype = dtype;
  }

  convert(bytes: Uint8Array, { tensor, conversion }: Packed): ConvertedParts {
    const { format } = conversion;
    const blocks = bytes.byteLength / format.blockBytes;
    const codeBytes = (blocks * format.blockValues * format.bits) / 8;
    const groups = (blocks * format.blockValues) / format.groupSize;
    const scaleBytes = format.mode === 'mxfp4' ? 1 : this.#dtype === 'f32' ? 4 : 2;
    this.#reserve(codeBytes, groups * scaleBytes);
    format.packCodes(bytes, new Int32Array(this.#codes.buffer, 0, codeBytes / 4), blocks);
    const fault = this.#writer(tensor.source.type.name, conversion)(bytes, blocks, {
      scales: view(this.#scales, groups, scaleBytes),
      biases: view(this.#biases, groups, scaleBytes),
    });
    if (fault !== null) throw scaleError(fault, tensor.source.name);
    return {
      codes: this.#codes.subarray(0, codeBytes),
      scales: this.#scales.subarray(0, groups * scaleBytes),
      biases: this.#biases.subarray(0, groups * scaleBytes),
      scaleBytes,
    };
  }

  #reserve(codeBytes: number, scaleBytes: number): void {
    if (this.#codes.byteLength < codeBytes) this.#codes = alignedBuffer(codeBytes);
    if (this.#scales.byteLength >= scaleBytes) return;
    this.#scales = alignedBuffer(scaleBytes);
    this.#biases = alignedBuffer(scaleBytes);
  }

  #writer(type: string, { format }: Packed['conversion']): ScaleWriter {
    const known = this.#writers.get(type);
    if (known !== undefined) return known;
    const writer = format.scaleWriter(this.#dtype);
    this.#writers.set(type, writer);
    return writer;
  }
}

function view({ buffer }: Uint8Array<ArrayBuffer>, count: number, bytesEach: 1 | 2 | 4): ScaleArray {
  if (bytesEach === 4) return new Float32Array(buffer, 0, count);
  return bytesEach === 2 ? new Uint16Array(buffer, 0, count) : new Uint8Array(buffer, 0, count);
}

function scaleError(fault: ScaleFault, tensor: string): AppError {
  if (fault === 'infinite-scale') {
    return new AppError(
      'model-invalid',
      `Tensor ${tensor} has an infinite scale: the model is damaged, and MLX would compute NaN where llama.cpp computes infinity.`,
      {
        hint: 'Download or convert the model again.',
      },
    );
  }
  return new AppError('conversion-failed', `Tensor ${tensor} has a scale so large that its zero point overflows f16.`, {
    hint: 'Convert with f32 scales instead.',
  });
}
