/**
 * ggml blocks of 32 weights to MLX affine groups of 32: the same integers in MLX's order, the same scale, and the zero point
 * as a bias. Nothing is rounded. MLX packs one little-endian bit stream a row, so a row's groups follow one another.
 *
 * The loops run over 16- and 32-bit views and handle 8 weights per operation: byte by byte they are ten times slower.
 */
import { halfToFloat, halfToFloatTable, floatToHalf } from '../half.ts';
import type { BlockFormat, ScaleArray, ScaleType, ScaleWriter } from './block-format.ts';
import { packIq4Nl, packStream, packTernary, SUPER_FORMATS } from './kernels-super.ts';

const SIMPLE = { mode: 'affine', groupSize: 32, blockValues: 32, scaleTypes: ['f32', 'f16'] } as const;

/** Code that means 0 in a symmetrical format, and where the block's half-precision scale is, in bytes. */
function symmetrical(
  zeroPoint: number,
  blockBytes: number,
  scaleAt = 0,
): Pick<BlockFormat, 'blockBytes' | 'scaleWriter'> {
  const groupsPerBlock = scaleAt === 0 ? 1 : 2;
  return {
    blockBytes,
    scaleWriter: (dtype) => symmetricalWriter({ zeroPoint, blockBytes, scaleAt, groupsPerBlock }, dtype),
  };
}

/** A block that stores its minimum after its scale. */
function withMinimum(blockBytes: number): Pick<BlockFormat, 'blockBytes' | 'scaleWriter'> {
  return { blockBytes, scaleWriter: (dtype) => minimumWriter(blockBytes, dtype) };
}

export const BLOCK_FORMATS: Readonly<Record<string, BlockFormat>> = {
  Q4_0: { ...SIMPLE, ...symmetrical(8, 18), bits: 4, packCodes: packQ4_0 },
  Q4_1: { ...SIMPLE, ...withMinimum(20), bits: 4, packCodes: packQ4_1 },
  Q5_0: {
    ...SIMPLE,
    ...symmetrical(16, 22),
    bits: 5,
    packCodes: (bytes, out, blocks) => packQ5(bytes, out, { blocks, blockBytes: 22, highAt: 2 }),
  },
  Q5_1: {
    ...SIMPLE,
    ...withMinimum(24),
    bits: 5,
    packCodes: (bytes, out, blocks) => packQ5(bytes, out, { blocks, blockBytes: 24, highAt: 4 }),
  },
  Q8_0: { ...SIMPLE, ...symmetrical(128, 34), bits: 8, packCodes: packQ8_0 },
  IQ4_NL: { ...SIMPLE, ...symmetrical(128, 18), bits: 8, packCodes: packIq4Nl },
  TQ1_0: {
    ...SIMPLE,
    ...symmetrical(1, 54, 52),
    bits: 2,
    groupSize: 128,
    blockValues: 256,
    packCodes: packTernary('TQ1_0'),
  },
  TQ2_0: {
    ...SIMPLE,
    ...symmetrical(1, 66, 64),
    bits: 2,
    groupSize: 128,
    blockValues: 256,
    packCodes: packTernary('TQ2_0'),
  },
  ...SUPER_FORMATS,
};

/*
 * ggml keeps weights j and j+16 in the nibbles of byte j; MLX wants neighbours in a byte. Four bytes at a time: mask one
 * nibble of each, fold neighbours together (>>> 4), then the two bytes that result (>>> 8).
 */
function packQ4_1(bytes: Uint8Array, out: Int32Array, blocks: number): void {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, blocks * 5);
  for (let block = 0, at = 1, to = 0; block < blocks; block++, at += 5, to += 4) {
    for (let pair = 0; pair < 2; pair++) {
      const a = words[at + 2 * pair]!;
      const b = words[at + 2 * pair + 1]!;
      let lowA = a & 0x0f0f0f0f;
      let lowB = b & 0x0f0f0f0f;
      let highA = (a >>> 4) & 0x0f0f0f0f;
      let highB = (b >>> 4) & 0x0f0f0f0f;
      lowA = (lowA | (lowA >>> 4)) & 0x00ff00ff;
      lowB = (lowB | (lowB >>> 4)) & 0x00ff00ff;
      highA = (highA | (highA >>> 4)) & 0x00ff00ff;
      highB = (highB | (highB >>> 4)) & 0x00ff00ff;
      out[to + pair] = ((lowA | (lowA >>> 8)) & 0xffff) | ((lowB | (lowB >>> 8)) << 16);
      out[to + pair + 2] = ((highA | (highA >>> 8)) & 0xffff) | ((highB | (highB >>> 8)) << 16);
    }
  }
}

/** As packQ4_1, from 16-bit views: blocks of 18 bytes are not word-aligned. */
function packQ4_0(bytes: Uint8Array, out: Int32Array, blocks: number): void {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, blocks * 9);
  for (let block = 0, at = 1, to = 0; block < blocks; block++, at += 9, to += 4) {
    for (let pair = 0; pair < 2; pair++) {
      const i = at + 4 * pair;
      const a = halves[i]! | (halves[i + 1]! << 16);
      const b = halves[i + 2]! | (halves[i + 3]! << 16);
      let lowA = a & 0x0f0f0f0f;
      let lowB = b & 0x0f0f0f0f;
      let highA = (a >>> 4) & 0x0f0f0f0f;
      let highB = (b >>> 4) & 0x0f0f0f0f;
      lowA = (lowA | (lowA >>> 4)) & 0x00ff00ff;
      lowB = (lowB | (lowB >>> 4)) & 0x00ff00ff;
      highA = (highA | (highA >>> 4)) & 0x00ff00ff;
      highB = (highB | (highB >>> 4)) & 0x00ff00ff;
      out[to + pair] = ((lowA | (lowA >>> 8)) & 0xffff) | ((lowB | (lowB >>> 8)) << 16);
      out[to + pair + 2] = ((highA | (highA >>> 8)) & 0xffff) | ((highB | (highB >>> 8)) << 16);
    }
  }
}

/** Signed bytes become unsigned ones by adding 128, which is flipping their top bit. */
function packQ8_0(bytes: Uint8Array, out: Int32Array, blocks: number): void {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, blocks * 17);
  for (let block = 0, at = 1, to = 0; block < blocks; block++, at += 17, to += 8) {
    for (let word = 0; word < 8; word++) {
      out[to + word] = (halves[at + 2 * word]! | (halves[at + 2 * word + 1]! << 16)) ^ 0x80808080;
    }
  }
}

/** The fifth bits lie apart in one word; the result is a stream of 5-bit values, 5 words a block. */
function packQ5(
  bytes: Uint8Array,
  out: Int32Array,
  { blocks, blockBytes, highAt }: { blocks: number; blockBytes: number; highAt: number },
): void {
  const codes = new Uint8Array(32);
  for (let block = 0; block < blocks; block++) {
    const at = block * blockBytes + highAt;
    const high = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    for (let j = 0; j < 32; j++) {
      const nibble = j < 16 ? bytes[at + 4 + j]! & 15 : bytes[at + 4 + j - 16]! >>> 4;
      codes[j] = nibble | (((high >>> j) & 1) << 4);
    }
    packStream(codes, out, { bits: 5, to: 5 * block });
  }
}

interface SymmetricalBlock {
  readonly zeroPoint: number;
  readonly blockBytes: number;
  readonly scaleAt: number;
  /** Groups that share the scale. */
  readonly groupsPerBlock: 1 | 2;
}

function symmetricalWriter(
  { zeroPoint, blockBytes, scaleAt, groupsPerBlock }: SymmetricalBlock,
  dtype: ScaleType,
): ScaleWriter {
  const scaleOf = dtype === 'f32' ? halfToFloatTable() : null;
  const { biases: biasOf, faults } = symmetricalTables(zeroPoint, dtype);
  const place = { stride: blockBytes / 2, first: scaleAt / 2, groupsPerBlock };
  return (bytes, blocks, out) => {
    writeStored(bytes, { ...place, blocks, table: scaleOf }, out.scales);
    writeStored(bytes, { ...place, blocks, table: biasOf }, out.biases);
    return worstFault(bytes, { ...place, blocks, faults });
  };
}

function minimumWriter(blockBytes: number, dtype: ScaleType): ScaleWriter {
  const place = {
    stride: blockBytes / 2,
    groupsPerBlock: 1,
    table: dtype === 'f32' ? halfToFloatTable() : null,
  } as const;
  return (bytes, blocks, out) => {
    writeStored(bytes, { ...place, blocks, first: 0 }, out.scales);
    writeStored(bytes, { ...place, blocks, first: 1 }, out.biases);
    return null;
  };
}

interface Strided {
  readonly blocks: number;
  /** In 16-bit units, as `first`. */
  readonly stride: number;
  readonly first: number;
  readonly groupsPerBlock: 1 | 2;
}

/** Looks the `first`-th half of every block up in a table; without a table the bits go through as they are. */
function writeStored(
  bytes: Uint8Array,
  { blocks, stride, first, groupsPerBlock, table }: Strided & { table: Float32Array | Uint16Array | null },
  out: ScaleArray,
): void {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, blocks * stride);
  for (let block = 0, at = first, to = 0; block < blocks; block++, at += stride) {
    const value = table === null ? halves[at]! : table[halves[at]!]!;
    out[to++] = value;
    if (groupsPerBlock === 2) out[to++] = value;
  }
}

const INFINITE_SCALE = 2;
const BIAS_OVERFLOW = 1;

/** bias = -zeroPoint * scale for each half pattern: a power of two, so exact unless it overflows. */
function symmetricalTables(
  zeroPoint: number,
  dtype: 'f32' | 'f16',
): { biases: Float32Array | Uint16Array; faults: Uint8Array } {
  const biases = dtype === 'f32' ? new Float32Array(65_536) : new Uint16Array(65_536);
  const faults = new Uint8Array(65_536);
  for (let bits = 0; bits < 65_536; bits++) {
    const scale = halfToFloat(bits);
    const bias = -zeroPoint * scale;
    biases[bits] = dtype === 'f32' ? bias : floatToHalf(bias);
    if (Math.abs(scale) === Infinity) faults[bits] = INFINITE_SCALE;
    else if (dtype === 'f16' && Math.abs(bias) > 65_504) faults[bits] = BIAS_OVERFLOW;
  }
  return { biases, faults };
}

function worstFault(
  bytes: Uint8Array,
  { blocks, stride, first, faults }: Strided & { faults: Uint8Array },
): ReturnType<ScaleWriter> {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, blocks * stride);
  let worst = 0;
  for (let block = 0, at = first; block < blocks; block++, at += stride) worst |= faults[halves[at]!]!;
  if ((worst & INFINITE_SCALE) !== 0) return 'infinite-scale';
  return (worst & BIAS_OVERFLOW) !== 0 ? 'bias-overflow' : null;
}
