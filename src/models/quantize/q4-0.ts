/**
 * ggml's reference quantiser quantize_row_q4_0_ref, bit for bit: float32 arithmetic with one rounding per operation, and its
 * choice of the scale from the value of largest magnitude, sign included.
 */
import { floatToHalf } from '../half.ts';

const BLOCK_VALUES = 32;
const BLOCK_BYTES = 18;

/** `values` is a multiple of 32; writes 18 bytes a block. */
export function quantizeQ4_0(values: Float32Array, out: Uint8Array): void {
  for (let from = 0, at = 0; from < values.length; from += BLOCK_VALUES, at += BLOCK_BYTES) {
    const scale = extreme(values, from) / -8;
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    const half = floatToHalf(scale);
    out[at] = half & 0xff;
    out[at + 1] = half >>> 8;
    for (let j = 0; j < 16; j++) {
      out[at + 2 + j] = code(values[from + j]!, inverse) | (code(values[from + 16 + j]!, inverse) << 4);
    }
  }
}

/** The first value of largest magnitude; NaN never wins a comparison. */
function extreme(values: Float32Array, from: number): number {
  let magnitude = 0;
  let value = 0;
  for (let i = from; i < from + BLOCK_VALUES; i++) {
    const candidate = Math.abs(values[i]!);
    if (candidate > magnitude) {
      magnitude = candidate;
      value = values[i]!;
    }
  }
  return value;
}

/** Truncation towards zero after adding 8.5, as the cast to int8 in C does; NaN and infinity become 0, as on x86. */
function code(value: number, inverse: number): number {
  const shifted = Math.fround(Math.fround(value * inverse) + 8.5) | 0;
  return shifted > 15 ? 15 : shifted;
}
