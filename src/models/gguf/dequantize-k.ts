/**
 * K-quants to float32: super-blocks of 256 weights, with a half-precision scale for small integer scales of 16 or 32 weights.
 * Products of a half (11 bits), a sub-scale (6 or 8) and a code fit float32 exactly, so only the subtraction of a minimum
 * rounds, once, in the store.
 */
import { halfToFloatTable } from '../half.ts';

const SUPER = 256;

function half(table: Float32Array, bytes: Uint8Array, at: number): number {
  return table[bytes[at]! | (bytes[at + 1]! << 8)]!;
}

/** 16 bytes of sub-scale (low nibble) and sub-minimum (high), 64 of codes, scale, minimum. */
export function dequantizeQ2K(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const table = halfToFloatTable();
  for (let block = 0, at = 0; block < blocks; block++, at += 84) {
    const scale = half(table, bytes, at + 80);
    const minimum = half(table, bytes, at + 82);
    for (let group = 0; group < 16; group++) {
      const packed = bytes[at + group]!;
      const step = scale * (packed & 15);
      const offset = minimum * (packed >>> 4);
      // 128 weights share 32 bytes: 2 bits of each, 16 weights a group.
      const from = at + 16 + 32 * (group >>> 3) + 16 * (group & 1);
      const shift = group & 6;
      const to = block * SUPER + 16 * group;
      for (let i = 0; i < 16; i++) out[to + i] = step * ((bytes[from + i]! >>> shift) & 3) - offset;
    }
  }
}

/** 32 bytes of high bits, 64 of codes, 12 of 6-bit sub-scales, scale. A high bit that is not set subtracts 4. */
export function dequantizeQ3K(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const table = halfToFloatTable();
  for (let block = 0, at = 0; block < blocks; block++, at += 110) {
    const scale = half(table, bytes, at + 108);
    for (let group = 0; group < 16; group++) {
      const low = (bytes[at + 96 + (group & 7)]! >>> (group < 8 ? 0 : 4)) & 15;
      const high = (bytes[at + 104 + (group & 3)]! >>> (2 * (group >>> 2))) & 3;
      const step = scale * ((low | (high << 4)) - 32);
      const column = 16 * (group & 1);
      const from = at + 32 + 32 * (group >>> 3) + column;
      const shift = group & 6;
      const highBit = 1 << (group >>> 1);
      const to = block * SUPER + 16 * group;
      for (let i = 0; i < 16; i++) {
        const code = (bytes[from + i]! >>> shift) & 3;
        out[to + i] = step * ((bytes[at + column + i]! & highBit) === 0 ? code - 4 : code);
      }
    }
  }
}

/** Sub-scale and sub-minimum of group 0 to 7, 6 bits each, in the 12 bytes that Q4_K and Q5_K keep at `at`. */
export function subScaleK(bytes: Uint8Array, at: number, group: number): number {
  if (group < 4) return bytes[at + group]! & 63;
  return (bytes[at + group + 4]! & 15) | ((bytes[at + group - 4]! >>> 6) << 4);
}

export function subMinimumK(bytes: Uint8Array, at: number, group: number): number {
  if (group < 4) return bytes[at + group + 4]! & 63;
  return (bytes[at + group + 4]! >>> 4) | ((bytes[at + group]! >>> 6) << 4);
}

/** Scale, minimum, 12 bytes of sub-scales, 128 of codes. */
export function dequantizeQ4K(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const table = halfToFloatTable();
  for (let block = 0, at = 0; block < blocks; block++, at += 144) {
    const scale = half(table, bytes, at);
    const minimum = half(table, bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const step = scale * subScaleK(bytes, at + 4, group);
      const offset = minimum * subMinimumK(bytes, at + 4, group);
      const from = at + 16 + 32 * (group >>> 1);
      const shift = 4 * (group & 1);
      const to = block * SUPER + 32 * group;
      for (let i = 0; i < 32; i++) out[to + i] = step * ((bytes[from + i]! >>> shift) & 15) - offset;
    }
  }
}

/** As Q4_K, with 32 bytes of fifth bits before the codes. */
export function dequantizeQ5K(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const table = halfToFloatTable();
  for (let block = 0, at = 0; block < blocks; block++, at += 176) {
    const scale = half(table, bytes, at);
    const minimum = half(table, bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const step = scale * subScaleK(bytes, at + 4, group);
      const offset = minimum * subMinimumK(bytes, at + 4, group);
      const from = at + 48 + 32 * (group >>> 1);
      const shift = 4 * (group & 1);
      const to = block * SUPER + 32 * group;
      for (let i = 0; i < 32; i++) {
        const high = (bytes[at + 16 + i]! >>> group) & 1;
        out[to + i] = step * (((bytes[from + i]! >>> shift) & 15) | (high << 4)) - offset;
      }
    }
  }
}

/** 128 bytes of low nibbles, 64 of high pairs, 16 signed sub-scales, scale. */
export function dequantizeQ6K(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const table = halfToFloatTable();
  for (let block = 0, at = 0; block < blocks; block++, at += 210) {
    const scale = half(table, bytes, at + 208);
    for (let group = 0; group < 16; group++) {
      const step = scale * ((bytes[at + 192 + group]! << 24) >> 24);
      const inHalf = group & 7;
      const low = at + 64 * (group >>> 3) + 32 * ((inHalf >>> 1) & 1) + 16 * (group & 1);
      const high = at + 128 + 32 * (group >>> 3) + 16 * (group & 1);
      const lowShift = inHalf < 4 ? 0 : 4;
      const highShift = 2 * (inHalf >>> 1);
      const to = block * SUPER + 16 * group;
      for (let i = 0; i < 16; i++) {
        const code = ((bytes[low + i]! >>> lowShift) & 15) | (((bytes[high + i]! >>> highShift) & 3) << 4);
        out[to + i] = step * (code - 32);
      }
    }
  }
}
