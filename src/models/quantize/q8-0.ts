/** ggml's reference quantiser quantize_row_q8_0_ref, bit for bit: float32 arithmetic with one rounding per operation. */
import { floatToHalf } from '../half.ts';

const BLOCK_VALUES = 32;
const BLOCK_BYTES = 34;

/** `values` is a multiple of 32 and finite; writes 34 bytes a block. No branch in the loops: signs are random. */
export function quantizeQ8_0(values: Float32Array, out: Uint8Array): void {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length);
  for (let from = 0, at = 0; from < values.length; from += BLOCK_VALUES, at += BLOCK_BYTES) {
    const end = from + BLOCK_VALUES;
    let magnitude = 0;
    for (let i = from; i < end; i++) magnitude = Math.max(magnitude, Math.abs(values[i]!));
    const scale = Math.fround(magnitude / 127);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    const half = floatToHalf(scale);
    out[at] = half & 0xff;
    out[at + 1] = half >>> 8;
    for (let i = from, to = at + 2; i < end; i++, to++) {
      // roundf: halves go away from zero. The sum is exact in float64.
      const rounded = (Math.fround(Math.abs(values[i]!) * inverse) + 0.5) | 0;
      const sign = words[i]! >> 31;
      out[to] = (rounded ^ sign) - sign;
    }
  }
}
