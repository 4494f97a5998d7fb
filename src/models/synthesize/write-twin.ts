/** Writes a twin: the header, then every tensor from a ring of random blocks of its type, a bounded piece at a time. */
import { open, type FileHandle } from 'node:fs/promises';
import { createRandom, normal } from '../../core/random.ts';
import { breathe, writeFully, writeThenRename } from '../file-io.ts';
import type { GgufMetadata } from '../gguf/metadata.ts';
import type { TensorType } from '../gguf/tensor-types.ts';
import { encodeMetadata, layoutGguf, tensorBytes, type GgufLayout } from '../gguf/write.ts';
import { BlockRings } from './block-rings.ts';
import type { ShapeTensor } from './tensors.ts';

/** An interrupt waits no longer than for this; system calls do not count at this size. */
const WRITE_BYTES_MAX = 4 << 20;
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
  readonly #rings: BlockRings;

  constructor(handle: FileHandle, options: WriterOptions) {
    this.#handle = handle;
    this.#options = options;
    this.#rings = new BlockRings(options.seed);
  }

  async write(tensor: TypedTensor, offset: number): Promise<void> {
    const vector = vectorValues(tensor, this.#options.seed);
    if (vector === null) return this.#writeBlocks(tensor, offset);
    writeFully(this.#handle, new Uint8Array(vector.buffer), offset);
    this.#options.onChunk(vector.byteLength);
  }

  /** From the ring's block that belongs to this place of the file, without a copy. */
  async #writeBlocks(tensor: TypedTensor, offset: number): Promise<void> {
    const { onChunk, signal } = this.#options;
    const { blockBytes } = tensor.type;
    const ring = this.#rings.ring(tensor.type, tensor.name);
    const total = tensorBytes(tensor);
    let from = (Math.ceil(offset / blockBytes) * blockBytes) % ring.byteLength;
    for (let done = 0; done < total;) {
      await breathe();
      signal?.throwIfAborted();
      const bytes = Math.min(WRITE_BYTES_MAX, total - done, ring.byteLength - from);
      writeFully(this.#handle, ring.subarray(from, from + bytes), offset + done);
      done += bytes;
      from = (from + bytes) % ring.byteLength;
      onChunk(bytes);
    }
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
