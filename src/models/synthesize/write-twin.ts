/** Writes a twin: the header, then every tensor from a ring of random blocks of its type, front to back. */
import { open } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { createRandom, normal } from '../../core/random.ts';
import { writeThenRename } from '../file-io.ts';
import type { WritableMetadata } from '../gguf/metadata.ts';
import type { TensorType } from '../gguf/tensor-types.ts';
import { encodeMetadata, layoutGguf, tensorBytes, type GgufLayout } from '../gguf/write.ts';
import { BlockRings } from './block-rings.ts';
import { GatheredWriter } from './gathered-writer.ts';
import type { ShapeTensor } from './tensors.ts';

/** An interrupt waits no longer than for this; system calls do not count at this size. */
const WRITE_BYTES_MAX = 32 << 20;
/** Norm weights spread by a tenth around their centre, biases lie around 0. */
const NORM_DEVIATION = 0.1;
const BIAS_DEVIATION = 0.02;

export interface TypedTensor extends ShapeTensor {
  readonly type: TensorType;
}

export interface TwinFile {
  readonly metadata: WritableMetadata;
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
  { onProgress, signal }: WriteOptions,
): Promise<number> {
  const { header, offsets, totalBytes } = layout;
  return writeThenRename(path, async (temporary) => {
    const handle = await open(temporary, 'wx');
    try {
      let doneBytes = 0;
      const writer = new GatheredWriter(handle, WRITE_BYTES_MAX, (bytes) => {
        doneBytes += bytes;
        onProgress?.({ doneBytes, totalBytes });
      });
      const rings = new BlockRings(file.seed);
      await writer.add(header);
      let end = header.byteLength;
      for (const [i, tensor] of file.tensors.entries()) {
        const offset = offsets[i] as number;
        await writer.add(new Uint8Array(offset - end));
        const vector = vectorValues(tensor, file.seed);
        if (vector === null) await writeBlocks(writer, tensor, { offset, rings, signal });
        else await writer.add(new Uint8Array(vector.buffer));
        end = offset + tensorBytes(tensor);
      }
      await writer.add(new Uint8Array(totalBytes - end));
      await writer.flush();
    } finally {
      await handle.close();
    }
    return totalBytes;
  });
}

interface BlocksRequest {
  /** In the file. */
  readonly offset: number;
  readonly rings: BlockRings;
  readonly signal: AbortSignal | undefined;
}

/** From the ring's block that belongs to this place of the file, without a copy. */
async function writeBlocks(
  writer: GatheredWriter,
  tensor: TypedTensor,
  { offset, rings, signal }: BlocksRequest,
): Promise<void> {
  const { blockBytes } = tensor.type;
  const ring = rings.ring(tensor.type, tensor.name);
  const total = tensorBytes(tensor);
  let from = (Math.ceil(offset / blockBytes) * blockBytes) % ring.byteLength;
  for (let done = 0; done < total;) {
    signal?.throwIfAborted();
    const isNew = ring.require(from);
    const blocks = ring.stretch(from, Math.min(writer.room, total - done));
    await writer.add(blocks);
    // Before more is made, what is there goes on its way if the call before has ended.
    if (isNew) await setImmediate();
    done += blocks.byteLength;
    from = (from + blocks.byteLength) % ring.byteLength;
  }
}

/** Vectors are small and float32: norms, biases, and values that the shape prescribes. Null for a matrix. */
export function vectorValues(
  { name, kind, dimensions, values, centre: given = 1 }: ShapeTensor,
  seed: number,
): Float32Array | null {
  if (kind === 'matrix') return null;
  if (kind === 'fixed' && values !== undefined) return values.slice();
  const random = createRandom('twin', seed, name);
  const [centre, deviation] = kind === 'norm' ? [given, NORM_DEVIATION * given] : [0, BIAS_DEVIATION];
  const vector = new Float32Array(dimensions.reduce((product, size) => product * size, 1));
  for (let i = 0; i < vector.length; i++) vector[i] = centre + deviation * normal(random);
  return vector;
}
