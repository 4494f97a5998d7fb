/** Streams every planned tensor from the GGUF into the shards: bounded memory, one pass. */
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, writeFully } from '../file-io.ts';
import { floatToHalf } from '../half.ts';
import { rowSourceOf, RowReader, type RowChunk } from '../hugging-face/row-reader.ts';
import { scaleWriter, type ScaleFault, type ScaleWriter } from './kernels.ts';
import { GROUP_SIZE, type PlacedOutput, type PlannedTensor, type RepackPlan } from './plan.ts';

export interface WriteRequest {
  readonly source: FileHandle;
  readonly plan: RepackPlan;
  readonly folder: string;
  readonly scales: 'f32' | 'f16';
  readonly onChunk: (bytes: number) => void;
  readonly signal: AbortSignal | undefined;
}

export async function writeWeights({ source, plan, folder, scales, onChunk, signal }: WriteRequest): Promise<void> {
  const files: FileHandle[] = [];
  try {
    for (const { fileName, header } of plan.shards) {
      const file = await open(join(folder, fileName), 'wx');
      files.push(file);
      writeFully(file, header, 0);
    }
    const reader = new RowReader(source, signal);
    const converter = new ChunkConverter(scales);
    for (const planned of plan.tensors) {
      const file = files[planned.outputs[0]?.shard as number] as FileHandle;
      for await (const chunk of reader.chunks(rowSourceOf(planned.tensor))) {
        writeChunk(file, planned, { chunk, converter });
        onChunk(chunk.bytes.byteLength);
      }
    }
  } finally {
    for (const file of files) await file.close();
  }
}

function writeChunk(
  file: FileHandle,
  { tensor, conversion, outputs }: PlannedTensor,
  { chunk, converter }: { chunk: RowChunk; converter: ChunkConverter },
): void {
  const [first, scales, biases] = outputs as readonly [PlacedOutput, PlacedOutput?, PlacedOutput?];
  if (conversion.kind === 'copy') {
    writeFully(file, chunk.bytes, first.offset + chunk.firstRow * tensor.rowBytes);
  } else if (conversion.kind === 'narrow') {
    writeFully(file, narrow(chunk.bytes, conversion.dtype), first.offset + (chunk.firstRow * tensor.rowBytes) / 2);
  } else if (scales !== undefined && biases !== undefined) {
    const { blockBytes, bits } = conversion.format;
    const firstBlock = (chunk.firstRow * tensor.rowBytes) / blockBytes;
    const parts = converter.convert(chunk.bytes, { tensor, conversion });
    writeFully(file, parts.codes, first.offset + firstBlock * ((bits * GROUP_SIZE) / 8));
    writeFully(file, parts.scales, scales.offset + firstBlock * converter.scaleBytes);
    writeFully(file, parts.biases, biases.offset + firstBlock * converter.scaleBytes);
  }
}

/** Exactness was proven when the plan was made. */
function narrow(bytes: Uint8Array, dtype: 'F16' | 'BF16'): Uint8Array {
  const count = bytes.byteLength / 4;
  const floats = new Float32Array(bytes.buffer, bytes.byteOffset, count);
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, count);
  const halves =
    dtype === 'F16' ? Uint16Array.from(floats, floatToHalf) : Uint16Array.from(words, (word) => word >>> 16);
  return new Uint8Array(halves.buffer);
}

type Affine = Pick<PlannedTensor, 'tensor'> & {
  readonly conversion: Extract<PlannedTensor['conversion'], { kind: 'affine' }>;
};

/** Owns the output buffers, which grow to the largest chunk and are used again. */
class ChunkConverter {
  readonly scaleBytes: 2 | 4;
  readonly #dtype: 'f32' | 'f16';
  readonly #writers = new Map<string, ScaleWriter>();
  #codes = alignedBuffer(0);
  #scales = alignedBuffer(0);
  #biases = alignedBuffer(0);

  constructor(dtype: 'f32' | 'f16') {
    this.#dtype = dtype;
    this.scaleBytes = dtype === 'f32' ? 4 : 2;
  }

  convert(
    bytes: Uint8Array,
    { tensor, conversion }: Affine,
  ): { codes: Uint8Array; scales: Uint8Array; biases: Uint8Array } {
    const { format } = conversion;
    const blocks = bytes.byteLength / format.blockBytes;
    const codeBytes = (blocks * GROUP_SIZE * format.bits) / 8;
    const scaleBytes = blocks * this.scaleBytes;
    this.#reserve(codeBytes, scaleBytes);
    format.packCodes(bytes, new Int32Array(this.#codes.buffer, 0, codeBytes / 4), blocks);
    const fault = this.#writer(tensor.source.type.name, conversion)(bytes, blocks, {
      scales: this.#view(this.#scales, blocks),
      biases: this.#view(this.#biases, blocks),
    });
    if (fault !== null) throw scaleError(fault, tensor.source.name);
    return {
      codes: this.#codes.subarray(0, codeBytes),
      scales: this.#scales.subarray(0, scaleBytes),
      biases: this.#biases.subarray(0, scaleBytes),
    };
  }

  #view({ buffer }: Uint8Array<ArrayBuffer>, count: number): Float32Array | Uint16Array {
    return this.#dtype === 'f32' ? new Float32Array(buffer, 0, count) : new Uint16Array(buffer, 0, count);
  }

  #reserve(codeBytes: number, scaleBytes: number): void {
    if (this.#codes.byteLength < codeBytes) this.#codes = alignedBuffer(codeBytes);
    if (this.#scales.byteLength >= scaleBytes) return;
    this.#scales = alignedBuffer(scaleBytes);
    this.#biases = alignedBuffer(scaleBytes);
  }

  #writer(type: string, { format }: Affine['conversion']): ScaleWriter {
    const known = this.#writers.get(type);
    if (known !== undefined) return known;
    const writer = scaleWriter(format, this.#dtype);
    this.#writers.set(type, writer);
    return writer;
  }
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
