/**
 * ggml formats with several groups in a block, and those without an equal grid, in MLX's forms. Nothing is rounded: a
 * K-quant's scale is a half times a 6-bit integer, 17 bits, so it needs float32; a value of IQ4's table is an 8-bit code.
 */
import { subMinimumK, subScaleK } from '../gguf/dequantize-k.ts';
import { IQ4_VALUES, subScaleIq4Xs, ternaryDigitsTq1, ternaryDigitsTq2 } from '../gguf/dequantize-small.ts';
import { halfToFloatTable } from '../half.ts';
import type { BlockFormat, ScaleWriter } from './block-format.ts';

const IQ4_ZERO = 128;
const IQ4_CODES = Uint8Array.from(IQ4_VALUES, (value) => value + IQ4_ZERO);

/** One little-endian bit stream: 32 / bits codes to a word, or across words where that is no whole number. */
export function packStream(codes: Uint8Array, out: Int32Array, { bits, to }: { bits: number; to: number }): void {
  let word = 0;
  let filled = 0;
  let next = to;
  for (const code of codes) {
    word |= code << filled;
    filled += bits;
    if (filled >= 32) {
      out[next++] = word;
      filled -= 32;
      word = filled === 0 ? 0 : code >>> (bits - filled);
    }
  }
}

/** The low or the high nibbles of 4 bytes as 16 bits, in the same order. */
function nibbles(word: number): number {
  const spread = word & 0x0f0f0f0f;
  const pairs = (spread | (spread >>> 4)) & 0x00ff00ff;
  return (pairs | (pairs >>> 8)) & 0xffff;
}

/** 32 bytes hold a group in their low nibbles and the next one in their high nibbles. */
function packQ4K(bytes: Uint8Array, out: Int32Array, blocks: number): void {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, blocks * 36);
  for (let block = 0, at = 4, to = 0; block < blocks; block++, at += 36, to += 32) {
    for (let pair = 0; pair < 4; pair++) {
      for (let i = 0; i < 4; i++) {
        const a = words[at + 8 * pair + 2 * i]!;
        const b = words[at + 8 * pair + 2 * i + 1]!;
        out[to + 8 * pair + i] = nibbles(a) | (nibbles(b) << 16);
        out[to + 8 * pair + 4 + i] = nibbles(a >>> 4) | (nibbles(b >>> 4) << 16);
      }
    }
  }
}

function packQ5K(bytes: Uint8Array, out: Int32Array, blocks: number): void {
  const codes = new Uint8Array(32);
  for (let block = 0, at = 0, to = 0; block < blocks; block++, at += 176) {
    for (let group = 0; group < 8; group++, to += 5) {
      const from = at + 48 + 32 * (group >>> 1);
      for (let i = 0; i < 32; i++) {
        const high = (bytes[at + 16 + i]! >>> group) & 1;
        codes[i] = ((bytes[from + i]! >>> (4 * (group & 1))) & 15) | (high << 4);
      }
      packStream(codes, out, { bits: 5, to });
    }
  }
}

/** d * sub-scale and -(dmin * sub-minimum) for each of a block's 8 groups. */
function scalesOfK(blockBytes: number): ScaleWriter {
  const table = halfToFloatTable();
  return (bytes, blocks, { scales, biases }) => {
    let isFinite = true;
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += blockBytes) {
      const scale = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
      const minimum = table[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
      isFinite &&= Number.isFinite(scale) && Number.isFinite(minimum);
      for (let group = 0; group < 8; group++, to++) {
        scales[to] = scale * subScaleK(bytes, at + 4, group);
        biases[to] = -(minimum * subMinimumK(bytes, at + 4, group));
      }
    }
    return isFinite ? null : 'infinite-scale';
  };
}

function packIq4(
  bytes: Uint8Array,
  out: Int32Array,
  {
    groups,
    groupBytes,
    at: start,
    groupsPerBlock,
  }: { groups: number; groupBytes: number; at: number; groupsPerBlock: number },
): void {
  const codes = new Uint8Array(out.buffer, out.byteOffset, groups * 32);
  for (let group = 0, to = 0; group < groups; group++, to += 32) {
    const block = Math.floor(group / groupsPerBlock);
    const at = block * groupBytes + start + 16 * (group % groupsPerBlock);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + j]!;
      codes[to + j] = IQ4_CODES[pair & 15]!;
      codes[to + j + 16] = IQ4_CODES[pair >>> 4]!;
    }
  }
}

export function packIq4Nl(bytes: Uint8Array, out: Int32Array, blocks: number): void {
  packIq4(bytes, out, { groups: blocks, groupBytes: 18, at: 2, groupsPerBlock: 1 });
}

function packIq4Xs(bytes: Uint8Array, out: Int32Array, blocks: number): void {
  packIq4(bytes, out, { groups: 8 * blocks, groupBytes: 136, at: 8, groupsPerBlock: 8 });
}

function scalesOfIq4Xs(): ScaleWriter {
  const table = halfToFloatTable();
  return (bytes, blocks, { scales, biases }) => {
    let isFinite = true;
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += 136) {
      const scale = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
      isFinite &&= Number.isFinite(scale);
      for (let group = 0; group < 8; group++, to++) {
        const step = scale * subScaleIq4Xs(bytes, at, group);
        scales[to] = step;
        biases[to] = -IQ4_ZERO * step;
      }
    }
    return isFinite ? null : 'infinite-scale';
  };
}

export function packTernary(type: 'TQ1_0' | 'TQ2_0'): BlockFormat['packCodes'] {
  const [blockBytes, digitsAt] = type === 'TQ1_0' ? [54, ternaryDigitsTq1] : [66, ternaryDigitsTq2];
  return (bytes, out, blocks) => {
    const digits = new Uint8Array(256);
    for (let block = 0, at = 0; block < blocks; block++, at += blockBytes) {
      digitsAt(bytes, at, digits, 0);
      packStream(digits, out, { bits: 2, to: 16 * block });
    }
  };
}

/** ggml keeps weights j and j + 16 in byte j; MLX wants neighbours. */
function packMxfp4(bytes: Uint8Array, out: Int32Array, blocks: number): void {
  const codes = new Uint8Array(32);
  for (let block = 0, at = 1; block < blocks; block++, at += 17) {
    for (let j = 0; j < 16; j++) {
      codes[j] = bytes[at + j]! & 15;
      codes[j + 16] = bytes[at + j]! >>> 4;
    }
    packStream(codes, out, { bits: 4, to: 4 * block });
  }
}

/** The exponent 255 is NaN in MLX and 2^127 in ggml. */
const E8M0_NAN = 255;

const writeExponents: ScaleWriter = (bytes, blocks, { scales }) => {
  let isNumber = true;
  for (let block = 0, at = 0; block < blocks; block++, at += 17) {
    isNumber &&= bytes[at] !== E8M0_NAN;
    scales[block] = bytes[at]!;
  }
  return isNumber ? null : 'infinite-scale';
};

const SUPER = { blockValues: 256, groupSize: 32, mode: 'affine', scaleTypes: ['f32'] } as const;

export const SUPER_FORMATS: Readonly<Record<string, BlockFormat>> = {
  Q4_K: { ...SUPER, bits: 4, blockBytes: 144, packCodes: packQ4K, scaleWriter: () => scalesOfK(144) },
  Q5_K: { ...SUPER, bits: 5, blockBytes: 176, packCodes: packQ5K, scaleWriter: () => scalesOfK(176) },
  IQ4_XS: { ...SUPER, bits: 8, blockBytes: 136, packCodes: packIq4Xs, scaleWriter: scalesOfIq4Xs },
  MXFP4: {
    mode: 'mxfp4',
    bits: 4,
    groupSize: 32,
    blockValues: 32,
    blockBytes: 17,
    scaleTypes: ['f32', 'f16'],
    packCodes: packMxfp4,
    scaleWriter: () => writeExponents,
  },
};
