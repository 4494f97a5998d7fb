/** The formats of 4 bits and fewer that are not K-quants: IQ4, ternary and MXFP4. Every product is exact in float32. */
import { halfToFloatTable } from '../half.ts';

/** ggml's kvalues_iq4nl: where 4 bits lie on the number line, denser around zero. */
export const IQ4_VALUES = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const;

/** E2M1 times two, so that they are whole numbers; the exponent is one lower in return. */
const FP4_DOUBLED = Float32Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

function half(table: Float32Array, bytes: Uint8Array, at: number): number {
  return table[bytes[at]! | (bytes[at + 1]! << 8)]!;
}

export function dequantizeIq4Nl(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const table = halfToFloatTable();
  for (let block = 0, at = 0, to = 0; block < blocks; block++, at += 18, to += 32) {
    const scale = half(table, bytes, at);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 2 + j]!;
      out[to + j] = IQ4_VALUES[pair & 15]! * scale;
      out[to + j + 16] = IQ4_VALUES[pair >>> 4]! * scale;
    }
  }
}

/** Sub-scale of group 0 to 7 of an IQ4_XS block: 6 bits, four of them in nibbles, minus 32. */
export function subScaleIq4Xs(bytes: Uint8Array, at: number, group: number): number {
  const low = (bytes[at + 4 + (group >>> 1)]! >>> (4 * (group & 1))) & 15;
  const high = ((bytes[at + 2]! | (bytes[at + 3]! << 8)) >>> (2 * group)) & 3;
  return (low | (high << 4)) - 32;
}

export function dequantizeIq4Xs(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  const table = halfToFloatTable();
  for (let block = 0, at = 0, to = 0; block < blocks; block++, at += 136) {
    const scale = half(table, bytes, at);
    for (let group = 0; group < 8; group++, to += 32) {
      const step = scale * subScaleIq4Xs(bytes, at, group);
      for (let j = 0; j < 16; j++) {
        const pair = bytes[at + 8 + 16 * group + j]!;
        out[to + j] = IQ4_VALUES[pair & 15]! * step;
        out[to + j + 16] = IQ4_VALUES[pair >>> 4]! * step;
      }
    }
  }
}

/**
 * The 256 ternary digits (0, 1, 2) of a TQ1_0 block: five to a byte as a fixed-point fraction; multiplying by a power of
 * three modulo 256 brings the wanted digit to the top. 48 bytes hold 240 digits, 4 more hold 16.
 */
export function ternaryDigitsTq1(bytes: Uint8Array, at: number, digits: Uint8Array, to: number): void {
  digitsOf(bytes, { at, length: 32, perByte: 5 }, digits, to);
  digitsOf(bytes, { at: at + 32, length: 16, perByte: 5 }, digits, to + 160);
  digitsOf(bytes, { at: at + 48, length: 4, perByte: 4 }, digits, to + 240);
}

const POWERS_OF_3 = [1, 3, 9, 27, 81] as const;

function digitsOf(
  bytes: Uint8Array,
  { at, length, perByte }: { at: number; length: number; perByte: number },
  digits: Uint8Array,
  to: number,
): void {
  for (let n = 0, next = to; n < perByte; n++) {
    for (let i = 0; i < length; i++) digits[next++] = (((bytes[at + i]! * POWERS_OF_3[n]!) & 255) * 3) >>> 8;
  }
}

/** The 256 digits of a TQ2_0 block: 2 bits each, 32 bytes for 128 weights. The digit 3 stands for 2 there, as in ggml. */
export function ternaryDigitsTq2(bytes: Uint8Array, at: number, digits: Uint8Array, to: number): void {
  for (let part = 0, next = to; part < 64; part += 32) {
    for (let shift = 0; shift < 8; shift += 2) {
      for (let i = 0; i < 32; i++) digits[next++] = (bytes[at + part + i]! >>> shift) & 3;
    }
  }
}

export function dequantizeTernary(
  bytes: Uint8Array,
  out: Float32Array,
  { blocks, type }: { blocks: number; type: 'TQ1_0' | 'TQ2_0' },
): void {
  const table = halfToFloatTable();
  const digits = new Uint8Array(256);
  const blockBytes = type === 'TQ1_0' ? 54 : 66;
  const digitsAt = type === 'TQ1_0' ? ternaryDigitsTq1 : ternaryDigitsTq2;
  for (let block = 0, at = 0; block < blocks; block++, at += blockBytes) {
    const scale = half(table, bytes, at + blockBytes - 2);
    digitsAt(bytes, at, digits, 0);
    for (let i = 0; i < 256; i++) out[256 * block + i] = (digits[i]! - 1) * scale;
  }
}

/** An E8M0 exponent and 32 E2M1 values; 2^(e - 128) times the doubled value, subnormal powers included. */
export function dequantizeMxfp4(bytes: Uint8Array, out: Float32Array, blocks: number): void {
  for (let block = 0, at = 0, to = 0; block < blocks; block++, at += 17, to += 32) {
    const scale = 2 ** (bytes[at]! - 128);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 1 + j]!;
      out[to + j] = FP4_DOUBLED[pair & 15]! * scale;
      out[to + j + 16] = FP4_DOUBLED[pair >>> 4]! * scale;
    }
  }
}
