/** The compiled quantiser (quantize.wat) with its memory: a slab of weights in, packed codes, scales and biases out. */
import { readFileSync } from 'node:fs';
import { floatToHalf } from '../half.ts';

export type FloatDtype = 'F32' | 'F16' | 'BF16';
export type Rounding = 'cpu' | 'metal';

export interface AffineOptions {
  readonly bits: number;
  readonly groupSize: number;
  readonly rounding: Rounding;
}

/** Weights in a slab: 8 MiB as float32, a multiple of every group size. */
export const SLAB_VALUES = 1 << 21;
const GROUP_SIZE_MIN = 32;
/** The scratch of one group of 128, and what keeps the rest aligned. */
const SCRATCH_BYTES = 1_024;
const SOURCE_BYTES = SLAB_VALUES * 4;
/** 8 bits each, and the 8 bytes that the last store may write past the end. */
const CODE_BYTES = SLAB_VALUES + 16;
const SCALE_BYTES = (SLAB_VALUES / GROUP_SIZE_MIN) * 4;
const PAGE_BYTES = 65_536;
const KIND: Readonly<Record<FloatDtype, number>> = { F32: 0, BF16: 1, F16: 2 };

type QuantizeExport = (
  source: number,
  groups: number,
  groupSize: number,
  bits: number,
  kind: number,
  metal: number,
  ...outputs: [codes: number, scales: number, biases: number]
) => void;

export interface QuantizedSlab {
  /** Valid until the next call, as the others. */
  readonly codes: Uint8Array;
  /** In the dtype of the weights. */
  readonly scales: Uint8Array;
  readonly biases: Uint8Array;
}

let compiled: WebAssembly.Module | null = null;

export class QuantizeKernel {
  /** Weights of the slab are put here, as `dtype` of the call; for float32 it is 8-byte aligned. */
  readonly source: Uint8Array<ArrayBuffer>;
  readonly #memory: WebAssembly.Memory;
  readonly #quantize: QuantizeExport;
  readonly #codesAt = SCRATCH_BYTES + SOURCE_BYTES;
  readonly #scalesAt = SCRATCH_BYTES + SOURCE_BYTES + CODE_BYTES;
  readonly #biasesAt = SCRATCH_BYTES + SOURCE_BYTES + CODE_BYTES + SCALE_BYTES;

  constructor() {
    const bytes = this.#biasesAt + SCALE_BYTES;
    this.#memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / PAGE_BYTES) });
    compiled ??= new WebAssembly.Module(readFileSync(new URL('./quantize.wasm', import.meta.url)));
    const { exports } = new WebAssembly.Instance(compiled, { host: { memory: this.#memory } });
    this.#quantize = exports['quantize'] as QuantizeExport;
    this.source = new Uint8Array(this.#memory.buffer, SCRATCH_BYTES, SOURCE_BYTES);
  }

  /** Quantises the first `values` weights of `source`, a multiple of the group size. */
  run(values: number, dtype: FloatDtype, { bits, groupSize, rounding }: AffineOptions): QuantizedSlab {
    const groups = values / groupSize;
    const outputs = [this.#codesAt, this.#scalesAt, this.#biasesAt] as const;
    this.#quantize(SCRATCH_BYTES, groups, groupSize, bits, KIND[dtype], rounding === 'metal' ? 1 : 0, ...outputs);
    const { buffer } = this.#memory;
    const floats = (at: number): Float32Array => new Float32Array(buffer, at, groups);
    return {
      codes: new Uint8Array(buffer, this.#codesAt, (values * bits) / 8),
      scales: narrowInPlace(floats(this.#scalesAt), dtype),
      biases: narrowInPlace(floats(this.#biasesAt), dtype),
    };
  }
}

/** float32 values as `dtype`, over their own bytes: a narrower value is written where it was already read. */
export function narrowInPlace(values: Float32Array, dtype: FloatDtype): Uint8Array {
  const { buffer, byteOffset, length } = values;
  if (dtype === 'F32') return new Uint8Array(buffer, byteOffset, length * 4);
  const halves = new Uint16Array(buffer, byteOffset, length);
  if (dtype === 'F16') {
    for (let i = 0; i < length; i++) halves[i] = floatToHalf(values[i]!);
  } else {
    const words = new Uint32Array(buffer, byteOffset, length);
    for (let i = 0; i < length; i++) halves[i] = wordToBf16(words[i]!);
  }
  return new Uint8Array(buffer, byteOffset, length * 2);
}

const BF16_NAN = 0x7fc0;

/** The float32 with these bits, to the nearest bfloat16, ties to even. */
function wordToBf16(word: number): number {
  if ((word & 0x7fff_ffff) > 0x7f80_0000) return BF16_NAN;
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}
