/** Writes a twin: the header, then every tensor's random blocks, a bounded piece at a time. */
import { open, type FileHandle } from 'node:fs/promises';
import { createRandom, normal } from '../../core/random.ts';
import { alignedBuffer, breathe, writeFully, writeThenRename } from '../file-io.ts';
import type { GgufMetadata } from '../gguf/metadata.ts';
import type { TensorType } from '../gguf/tensor-types.ts';
import { encodeMetadata, layoutGguf, tensorBytes, type GgufLayout } from '../gguf/write.ts';
import { blockMaker, floatPool, floatType, type FloatType } from './blocks.ts';
import { chunkKey, fillFloats, fillRandom, randomPool, type ChunkKey } from './random-words.ts';
import type { ShapeTensor } from './tensors.ts';

/** Stays in the second-level cache between making and writing; system calls do not count at this size. */
export const CHUNK_BYTES = 1 << 20;
/** Norm weights of trained models lie around 1, biases around 0. */
const NORM_DEVIATION = 0.1;
const BIAS_DEVIATION = 0.02;

export interface TypedTensor extends ShapeTensor {
  readonly type: TensorType;
}

export interface TwinFile {
  readonly metadata: GgufMetadata;
  readonly tensors: readonly TypedTensor[];
  readonly alignment: number;
  readonly seed: number;
}

export interface WriteOptions {
  readonly onProgress?: (progress: { readonly doneBytes: number; readonly totalBytes: number }) => void;
  readonly signal?: AbortSignal;
}

/** Where everything will lie: the size is known before anything is written. */
export function layoutTwin({ metadata, tensors, alignment }: TwinFile): GgufLayout {
  return layoutGguf(encodeMetadata(metadata), tensors, alignment);
}

/** The same plan gives the same bytes on every machine. Nothing but a complete file gets the final name. */
export async function writeTwin(
  path: string,
  { file, layout }: { readonly file: TwinFile; readonly layout: GgufLayout },
  options: WriteOptions,
): Promise<number> {
  return writeThenRename(path, async (temporary) => {
    const handle = await open(temporary, 'wx');
    try {
      writeFully(handle, layout.header, 0);
      let doneBytes = 0;
      const onChunk = (bytes: number): void => {
        doneBytes += bytes;
        options.onProgress?.({ doneBytes, totalBytes: layout.totalBytes });
      };
      const writer = new TensorWriter(handle, { seed: file.seed, onChunk, signal: options.signal });
      for (const [i, tensor] of file.tensors.entries()) await writer.write(tensor, layout.offsets[i] as number);
      // The padding after the last tensor.
      await handle.truncate(layout.totalBytes);
    } finally {
      await handle.close();
    }
    return layout.totalBytes;
  });
}

interface WriterOptions {
  readonly seed: number;
  readonly onChunk: (bytes: number) => void;
  readonly signal: AbortSignal | undefined;
}

class TensorWriter {
  readonly #handle: FileHandle;
  readonly #options: WriterOptions;
  readonly #buffer = alignedBuffer(CHUNK_BYTES);
  readonly #pool: Uint32Array;
  readonly #floatPools = new Map<string, Uint32Array>();

  constructor(handle: FileHandle, options: WriterOptions) {
    this.#handle = handle;
    this.#options = options;
    this.#pool = randomPool(CHUNK_BYTES / 4, options.seed);
  }

  async write(tensor: TypedTensor, offset: number): Promise<void> {
    const vector = vectorValues(tensor, this.#options.seed);
    if (vector === null) return this.#writeBlocks(tensor, offset);
    writeFully(this.#handle, new Uint8Array(vector.buffer), offset);
    this.#options.onChunk(vector.byteLength);
  }

  async #writeBlocks(tensor: TypedTensor, offset: number): Promise<void> {
    const { seed, onChunk, signal } = this.#options;
    const fill = this.#filler(tensor);
    const total = tensorBytes(tensor);
    // Whole blocks and whole 32-bit words in every chunk but the last.
    const unit = 4 * tensor.type.blockBytes;
    const chunkBytes = Math.floor(CHUNK_BYTES / unit) * unit;
    for (let done = 0; done < total; done += chunkBytes) {
      await breathe();
      signal?.throwIfAborted();
      const bytes = Math.min(chunkBytes, total - done);
      fill(bytes, chunkKey(seed, tensor.name, done / chunkBytes));
      writeFully(this.#handle, this.#buffer.subarray(0, bytes), offset + done);
      onChunk(bytes);
    }
  }

  /** Puts a chunk's weights into the buffer. */
  #filler({ type, name }: TypedTensor): (bytes: number, key: ChunkKey) => void {
    const { buffer } = this.#buffer;
    const pool = this.#pool;
    const wordsOf = (bytes: number): Uint32Array => new Uint32Array(buffer, 0, Math.ceil(bytes / 4));
    const float = floatType(type);
    if (float !== null) {
      const floats = this.#floatsOf(type.name, float);
      return (bytes, key) => fillFloats(wordsOf(bytes), { floats, pool, fresh: float.fresh }, key);
    }
    const make = blockMaker(type, name);
    const halves = new Uint16Array(buffer);
    return (bytes, key) => {
      fillRandom(wordsOf(bytes), pool, key);
      make(this.#buffer, halves, bytes / type.blockBytes);
    };
  }

  #floatsOf(name: string, float: FloatType): Uint32Array {
    const known = this.#floatPools.get(name);
    if (known !== undefined) return known;
    const floats = floatPool(this.#pool, float);
    this.#floatPools.set(name, floats);
    return floats;
  }
}

/** Vectors are small and float32: norms, biases, and values that the shape prescribes. Null for a matrix. */
export function vectorValues({ name, kind, dimensions, values }: ShapeTensor, seed: number): Float32Array | null {
  if (kind === 'matrix') return null;
  if (kind === 'fixed' && values !== undefined) return values.slice();
  const random = createRandom('twin', seed, name);
  const [centre, deviation] = kind === 'norm' ? [1, NORM_DEVIATION] : [0, BIAS_DEVIATION];
  const count = dimensions.reduce((product, size) => product * size, 1);
  return Float32Array.from({ length: count }, () => centre + deviation * normal(random));
}
