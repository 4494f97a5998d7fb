/**
 * ggml blocks to float32, the values exactly as ggml's dequantize_row_*: one float32 rounding per operation,
 * no fused multiply-add. In these formats the product is exact (at most 8 x 11 significant bits), so only the addition of a
 * minimum rounds.
 */
import { AppError } from '../../core/errors.ts';
import { halfToFloatTable } from '../half.ts';
import { dequantizeQ2K, dequantizeQ3K, dequantizeQ4K, dequantizeQ5K, dequantizeQ6K } from './dequantize-k.ts';
import { dequantizeIq4Nl, dequantizeIq4Xs, dequantizeMxfp4, dequantizeTernary } from './dequantize-small.ts';
import type { TensorType } from './tensor-types.ts';

/** `bytes` holds whole blocks and starts at a multiple of 4; fills `out` from its start. */
type Dequantizer = (bytes: Uint8Array, out: Float32Array, blocks: number) => void;

const DEQUANTIZERS: Readonly<Record<string, Dequantizer>> = {
  F32: (bytes, out, count) => out.set(new Float32Array(bytes.buffer, bytes.byteOffset, count)),
  F16: dequantizeF16,
  BF16: dequantizeBf16,
  Q4_0: dequantizeQ4_0,
  Q4_1: dequantizeQ4_1,
  Q5_0: dequantizeQ5_0,
  Q5_1: dequantizeQ5_1,
  Q8_0: dequantizeQ8_0,
  Q2_K: dequantizeQ2K,
  Q3_K: dequantizeQ3K,
  Q4_K: dequantizeQ4K,
  Q5_K: dequantizeQ5K,
  Q6_K: dequantizeQ6K,
  IQ4_NL: dequantizeIq4Nl,
  IQ4_XS: dequantizeIq4Xs,
  TQ1_0: (bytes, out, blocks) => dequantizeTernary(bytes, out, { blocks, type: 'TQ1_0' }),
  TQ2_0: (bytes, out, blocks) => dequantizeTernary(bytes, out, { blocks, type: 'TQ2_0' }),
  MXFP4: dequantizeMxfp4,
};

export function canDequantize(type: TensorType): boolean {
  return type.name in DEQUANTIZERS;
}

/** Writes `values` float32 values, a multiple of the block length. */
export function dequantize(
  type: TensorType,
  bytes: Uint8Array,
  { out, values }: { out: Float32Array; values: number },
): void {
  const convert = DEQUANTIZERS[type.name];
  if (convert === undefined) {
    throw new AppError('model-unsupported', `Values in the format ${type.name} cannot be read by this program.`, {
      hint: `These can: ${Object.keys(DEQUANTIZERS).join(', ')}.`,
    });
  }
  convert(bytes, out, values / type.blockValues);
}

function dequantizeF16(bytes: Uint8Array, out: Float32Array, count: number): void {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, count);
  const table = halfToFloatTable();
  for (let i = 0; i < count; i++) out[i] = table[halves[i]!]!;
}

function dequantizeBf16(bytes: Uint8Array, out: Float32Array, count: number): void {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, count);
  const words = new Uint32Array(out.buffer, out.byteOffset, count);
  for (let i = 0; i < count; i++) words[i] = halves[i]! << 16;
}

function dequantizeQ4_0(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const table = halfToFloatTable();
  for (let block = 0, at = 0, to = 0; block < blocks; block++, at += 18, to += 32) {
    const scale = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 2 + j]!;
      out[to + j] = ((pair & 15) - 8) * scale;
      out[to + j + 16] = ((pair >>> 4) - 8) * scale;
    }
  }
}

function dequantizeQ4_1(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const table = halfToFloatTable();
  for (let block = 0, at = 0, to = 0; block < blocks; block++, at += 20, to += 32) {
    const scale = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
    const minimum = table[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 4 + j]!;
      // The product is exact in float64 and in float32, the sum is rounded once by the store.
      out[to + j] = (pair & 15) * scale + minimum;
      out[to + j + 16] = (pair >>> 4) * scale + minimum;
    }
  }
}

function dequantizeQ5_0(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const table = halfToFloatTable();
  for (let block = 0, at = 0, to = 0; block < blocks; block++, at += 22, to += 32) {
    const scale = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
    const high = readWord(bytes, at + 2);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 6 + j]!;
      out[to + j] = (((pair & 15) | (((high >>> j) & 1) << 4)) - 16) * scale;
      out[to + j + 16] = (((pair >>> 4) | (((high >>> (j + 16)) & 1) << 4)) - 16) * scale;
    }
  }
}

function dequantizeQ5_1(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const table = halfToFloatTable();
  for (let block = 0, at = 0, to = 0; block < blocks; block++, at += 24, to += 32) {
    const scale = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
    const minimum = table[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
    const high = readWord(bytes, at + 4);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 8 + j]!;
      out[to + j] = ((pair & 15) | (((high >>> j) & 1) << 4)) * scale + minimum;
      out[to + j + 16] = ((pair >>> 4) | (((high >>> (j + 16)) & 1) << 4)) * scale + minimum;
    }
  }
}

function dequantizeQ8_0(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const table = halfToFloatTable();
  for (let block = 0, at = 0, to = 0; block < blocks; block++, at += 34, to += 32) {
    const scale = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
    for (let j = 0; j < 32; j++) out[to + j] = ((bytes[at + 2 + j]! << 24) >> 24) * scale;
  }
}

function readWord(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
