/** One slab of a tensor: read, made the model's dtype, quantised or kept dense, written. Runs in a worker thread. */
import { readSync, writeSync } from 'node:fs';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer } from '../file-io.ts';
import { dequantize } from '../gguf/dequantize.ts';
import { tensorTypeNamed } from '../gguf/tensor-types.ts';
import { unpermuteRows } from '../hugging-face/tensor-map.ts';
import type { Piece } from '../resume/tensors-in-work.ts';
import { checksumOf, type Checksum } from '../scan/scan.ts';
import { narrowInPlace, QuantizeKernel, type AffineOptions, type FloatDtype } from './quantize-kernel.ts';

/** Plain data: it is sent to a worker. Descriptors are the process's own, which threads share. */
export interface SlabJob {
  readonly piece: Piece;
  readonly source: { readonly descriptor: number; readonly position: number; readonly byteLength: number };
  readonly type: string;
  readonly rows: number;
  readonly values: number;
  readonly headRows: number | null;
  readonly addend: 0 | -1;
  readonly dtype: FloatDtype;
  readonly affine: AffineOptions | null;
  /** Weight, and scales and biases of an affine one. */
  readonly targets: readonly {
    readonly descriptor: number;
    readonly position: number;
    /** Of the slab in this output of the tensor. */
    readonly offset: number;
  }[];
}

export interface SlabDone {
  readonly piece: Piece;
  readonly sourceBytes: number;
  /** One for each target. */
  readonly written: readonly Checksum[];
}

const BYTES_EACH: Readonly<Record<FloatDtype, number>> = { F32: 4, F16: 2, BF16: 2 };

export class SlabConverter {
  readonly #kernel = new QuantizeKernel();
  #stored = alignedBuffer(0);
  #ordered = alignedBuffer(0);

  run(job: SlabJob): SlabDone {
    const { piece, source, targets } = job;
    this.#load(job);
    const outputs = this.#convert(job);
    const written = targets.map((target, i) => write(target, outputs[i] as Uint8Array));
    return { piece, sourceBytes: source.byteLength, written };
  }

  #convert({ values, dtype, affine }: SlabJob): readonly Uint8Array[] {
    if (affine === null) return [this.#kernel.source.subarray(0, values * BYTES_EACH[dtype])];
    const { codes, scales, biases } = this.#kernel.run(values, dtype, affine);
    return [codes, scales, biases];
  }

  /** Puts the slab into the kernel's memory as `dtype`. */
  #load({ source, type, rows, values, headRows, addend, dtype }: SlabJob): void {
    const { source: target } = this.#kernel;
    if (type === dtype && headRows === null && addend === 0) {
      read(source, target);
      return;
    }
    if (this.#stored.byteLength < source.byteLength) this.#stored = alignedBuffer(source.byteLength);
    read(source, this.#stored);
    let bytes = this.#stored;
    if (headRows !== null) {
      if (this.#ordered.byteLength < source.byteLength) this.#ordered = alignedBuffer(source.byteLength);
      unpermuteRows(bytes, this.#ordered, { rows, rowBytes: source.byteLength / rows, headRows });
      bytes = this.#ordered;
    }
    const floats = new Float32Array(target.buffer, target.byteOffset, values);
    dequantize(tensorTypeNamed(type), bytes.subarray(0, source.byteLength), { out: floats, values });
    if (addend !== 0) for (let i = 0; i < values; i++) floats[i] = floats[i]! + addend;
    narrowInPlace(floats, dtype);
  }
}

function read({ descriptor, position, byteLength }: SlabJob['source'], target: Uint8Array): void {
  let done = 0;
  while (done < byteLength) {
    const count = readSync(descriptor, target, done, byteLength - done, position + done);
    if (count === 0) {
      throw new AppError('model-invalid', 'The model became shorter while it was read.', {
        hint: 'Let no other program change the model, then try again.',
      });
    }
    done += count;
  }
}

function write(target: SlabJob['targets'][number], bytes: Uint8Array): Checksum {
  let done = 0;
  while (done < bytes.byteLength)
    done += writeSync(target.descriptor, bytes, done, bytes.byteLength - done, target.position + done);
  return checksumOf(bytes, target.offset);
}
