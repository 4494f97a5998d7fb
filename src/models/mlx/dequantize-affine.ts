/**
 * MLX affine groups to float32: fround(fround(code * scale) + bias), the rounding of mx.dequantize on the CPU for float32
 * scales. Codes are a little-endian bit stream a row.
 */

export interface AffineRows {
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  readonly biases: Float32Array;
  readonly rows: number;
  readonly columns: number;
  readonly bits: number;
  readonly groupSize: number;
}

export function dequantizeAffine(input: AffineRows, out: Float32Array): void {
  if (input.bits === 4) dequantize4(input, out);
  else if (input.bits === 8) dequantize8(input, out);
  else dequantizeStream(input, out);
}

function dequantize4({ codes, scales, biases, rows, columns, groupSize }: AffineRows, out: Float32Array): void {
  const groups = (rows * columns) / groupSize;
  for (let group = 0, at = 0, to = 0; group < groups; group++) {
    const scale = scales[group]!;
    const bias = biases[group]!;
    for (let i = 0; i < groupSize; i += 2, at++, to += 2) {
      const pair = codes[at]!;
      out[to] = Math.fround((pair & 15) * scale) + bias;
      out[to + 1] = Math.fround((pair >>> 4) * scale) + bias;
    }
  }
}

function dequantize8({ codes, scales, biases, rows, columns, groupSize }: AffineRows, out: Float32Array): void {
  const groups = (rows * columns) / groupSize;
  for (let group = 0, at = 0; group < groups; group++) {
    const scale = scales[group]!;
    const bias = biases[group]!;
    for (let i = 0; i < groupSize; i++, at++) out[at] = Math.fround(codes[at]! * scale) + bias;
  }
}

/** Any width. A row's stream fills whole words, because groups have 32, 64 or 128 values. */
function dequantizeStream(
  { codes, scales, biases, rows, columns, bits, groupSize }: AffineRows,
  out: Float32Array,
): void {
  const mask = (1 << bits) - 1;
  const values = rows * columns;
  let bit = 0;
  for (let i = 0; i < values; i++, bit += bits) {
    const byte = bit >>> 3;
    const window = codes[byte]! | ((codes[byte + 1] ?? 0) << 8);
    const code = (window >>> (bit & 7)) & mask;
    const group = Math.floor(i / groupSize);
    out[i] = Math.fround(code * scales[group]!) + biases[group]!;
  }
}

/** E2M1: sign, two bits of exponent, one of fraction. */
const FP4_VALUES = Float32Array.of(0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6);
const MXFP4_GROUP = 32;

/** Mode mxfp4: nibbles low first, and a power of two 2^(e - 127) for each group of 32. Products are exact. */
export function dequantizeMxfp4Rows(
  { codes, exponents }: { codes: Uint8Array; exponents: Uint8Array },
  out: Float32Array,
): void {
  for (let group = 0, at = 0, to = 0; group < exponents.length; group++) {
    const scale = 2 ** (exponents[group]! - 127);
    for (let i = 0; i < MXFP4_GROUP; i += 2, at++, to += 2) {
      const pair = codes[at]!;
      out[to] = FP4_VALUES[pair & 15]! * scale;
      out[to + 1] = FP4_VALUES[pair >>> 4]! * scale;
    }
  }
}
