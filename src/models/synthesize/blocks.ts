/**
 * Random weights made directly in a type's own blocks. All bits of a block are random, then scales (and minimums) are set so
 * that the weights have mean 0 and a standard deviation of WEIGHT_DEVIATION, as trained matrices do: activations stay
 * finite, and no scale or weight is so small that a processor would take a slow path for it (denormal numbers).
 */
import { AppError } from '../../core/errors.ts';
import { createRandom } from '../../core/random.ts';
import type { TensorType } from '../gguf/tensor-types.ts';
import { floatToHalf } from '../half.ts';
import { WEIGHT_DEVIATION } from './tensors.ts';

/** Scales of a matrix differ by some tens of percent from block to block. */
const JITTER = 0.25;
/** The smallest f16 that is no denormal number. */
const HALF_NORMAL_MIN = 2 ** -14;

/** Deviation of codes that are uniform over `levels` integers. */
const deviation = (levels: number): number => Math.sqrt((levels * levels - 1) / 12);

/** Turns random bits into `blocks` blocks. Both views are of the same memory. */
export type BlockMaker = (bytes: Uint8Array, halves: Uint16Array, blocks: number) => void;

/** Rejects with `model-unsupported` for types whose blocks are not understood here. */
export function blockMaker(type: TensorType, tensorName: string): BlockMaker {
  const make = Object.hasOwn(MAKERS, type.name) ? MAKERS[type.name] : undefined;
  if (make !== undefined) return make();
  throw new AppError('model-unsupported', `no twin can be made of ${tensorName}: it is ${type.name}`, {
    hint: `Types that a twin can have: ${[...Object.keys(FLOATS), ...Object.keys(MAKERS)].join(', ')}. Name one with --quant.`,
  });
}

const MAKERS: Readonly<Record<string, () => BlockMaker>> = {
  Q8_0: q8Maker,
  Q4_0: () => scaleMaker(9, symmetricScales(16)),
  Q5_0: () => scaleMaker(11, symmetricScales(32)),
  Q4_1: () => minimumMaker(10, 16),
  Q5_1: () => minimumMaker(12, 32),
  Q2_K: q2Maker,
  Q3_K: q3Maker,
  Q4_K: () => sixBitMaker(72, 16),
  Q5_K: () => sixBitMaker(88, 32),
  Q6_K: q6Maker,
};

function awayFromZero(value: number): number {
  return Math.abs(value) < HALF_NORMAL_MIN ? HALF_NORMAL_MIN : value;
}

function toBfloat(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]! >>> 16;
}

/** The types without blocks. */
export interface FloatType {
  readonly encode: (value: number) => number;
  /** Bits of a pair of values that may be drawn anew: signs, and the low bits of the fractions. */
  readonly fresh: number;
}

const FLOATS: Readonly<Record<string, FloatType>> = {
  F16: { encode: (value) => floatToHalf(awayFromZero(value)), fresh: 0x803f_803f },
  BF16: { encode: toBfloat, fresh: 0x8007_8007 },
};

/** Null for types that have blocks. */
export function floatType(type: TensorType): FloatType | null {
  return Object.hasOwn(FLOATS, type.name) ? (FLOATS[type.name] ?? null) : null;
}

/** A pool of random bits as a pool of normally distributed values: 16 bits choose one of 65,536 quantiles. */
export function floatPool(pool: Uint32Array, { encode }: FloatType): Uint32Array {
  const table = new Uint16Array(65_536);
  for (let i = 0; i < table.length; i++) table[i] = encode(WEIGHT_DEVIATION * normalQuantile((i + 0.5) / table.length));
  const [words, floats] = [new Int32Array(pool.buffer, pool.byteOffset, pool.length), new Int32Array(pool.length)];
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    floats[i] = table[word & 0xffff]! | (table[word >>> 16]! << 16);
  }
  return new Uint32Array(floats.buffer);
}

/** Acklam's rational approximation, relative error 1.2e-9. */
export function normalQuantile(p: number): number {
  if (p > 0.5) return -normalQuantile(1 - p);
  if (p < 0.024_25) {
    const q = Math.sqrt(-2 * Math.log(p));
    const top =
      ((((-7.784894002430293e-3 * q - 0.3223964580411365) * q - 2.400758277161838) * q - 2.549732539343734) * q +
        4.374664141464968) *
        q +
      2.938163982698783;
    const bottom =
      (((7.784695709041462e-3 * q + 0.3224671290700398) * q + 2.445134137142996) * q + 3.754408661907416) * q + 1;
    return top / bottom;
  }
  const q = p - 0.5;
  const r = q * q;
  const top =
    (((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r + 138.357751867269) * r -
      30.66479806614716) *
      r +
      2.506628277459239) *
    q;
  const bottom =
    ((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r + 66.80131188771972) * r -
      13.28068155288572) *
      r +
    1;
  return top / bottom;
}

/** 256 f16 scales around `centre`, by a random byte. */
function scaleTable(centre: number): Uint16Array {
  return Uint16Array.from({ length: 256 }, (_, i) => floatToHalf(centre * (1 + JITTER * (i / 127.5 - 1))));
}

/** Codes run from -levels/2 to levels/2 - 1: half of the scales are negative, which takes the mean to 0. */
function symmetricScales(levels: number): Uint16Array {
  const table = scaleTable(WEIGHT_DEVIATION / deviation(levels));
  return table.map((scale, i) => ((i & 1) === 1 ? scale | 0x8000 : scale));
}

/** One scale at the start of a block. */
function scaleMaker(blockHalves: number, scales: Uint16Array): BlockMaker {
  return (_bytes, halves, blocks) => {
    for (let block = 0, at = 0; block < blocks; block++, at += blockHalves) halves[at] = scales[halves[at]! & 255]!;
  };
}

/** A scale and the minimum that centres the codes. */
function minimumMaker(blockHalves: number, levels: number): BlockMaker {
  const centre = WEIGHT_DEVIATION / deviation(levels);
  const scales = scaleTable(centre);
  const minimums = scaleTable((-centre * (levels - 1)) / 2);
  return (_bytes, halves, blocks) => {
    for (let block = 0, at = 0; block < blocks; block++, at += blockHalves) {
      const index = halves[at]! & 255;
      halves[at] = scales[index]!;
      halves[at + 1] = minimums[index]!;
    }
  };
}

/** MLX's affine groups: scales of both signs, and the biases that centre the codes, by the same byte. */
export function affineScales(
  levels: number,
  { encode }: FloatType,
): { readonly scales: Uint16Array; readonly biases: Uint16Array } {
  const centre = WEIGHT_DEVIATION / deviation(levels);
  const scales = Array.from({ length: 256 }, (_, i) => (i & 1 ? -1 : 1) * centre * (1 + JITTER * (i / 127.5 - 1)));
  return {
    scales: Uint16Array.from(scales, encode),
    biases: Uint16Array.from(scales, (scale) => encode((-scale * (levels - 1)) / 2)),
  };
}

/** Quantisers never write -128; it becomes -127, and the scale's sign takes the mean to 0. */
function q8Maker(): BlockMaker {
  const setScales = scaleMaker(17, symmetricScales(256));
  return (bytes, halves, blocks) => {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, Math.floor((blocks * 34) / 4));
    // Sets the lowest bit of every negative byte.
    for (let i = 0; i < words.length; i++) words[i] = words[i]! | ((words[i]! >>> 7) & 0x0101_0101);
    for (let i = words.length * 4; i < blocks * 34; i++) bytes[i] = bytes[i]! | (bytes[i]! >>> 7);
    setScales(bytes, halves, blocks);
  };
}

/** Sixteen 4-bit pairs of scale and minimum, equal and from 8 to 15; d at byte 80, dmin at 82 of 84. */
function q2Maker(): BlockMaker {
  const centre = WEIGHT_DEVIATION / (11.5 * deviation(4));
  const scales = scaleTable(centre);
  const minimums = scaleTable(1.5 * centre);
  const pairs = Uint8Array.from({ length: 256 }, (_, i) => (8 + (i & 7)) * 17);
  return (bytes, halves, blocks) => {
    for (let block = 0, at = 0; block < blocks; block++, at += 84) {
      for (let i = at; i < at + 16; i++) bytes[i] = pairs[bytes[i]!]!;
      const half = at / 2;
      const index = halves[half + 40]! & 255;
      halves[half + 40] = scales[index]!;
      halves[half + 41] = minimums[index]!;
    }
  };
}

/** Sixteen 6-bit scales from -32 to 31, as random as the codes; d at byte 108 of 110. */
function q3Maker(): BlockMaker {
  const scales = scaleTable(WEIGHT_DEVIATION / (deviation(64) * deviation(8)));
  return (_bytes, halves, blocks) => {
    for (let at = 54; at < blocks * 55; at += 55) halves[at] = scales[halves[at]! & 255]!;
  };
}

/** Q4_K and Q5_K: d, dmin, and eight pairs of 6-bit scale and minimum in 12 bytes. Pairs are equal and from 8 to 31. */
function sixBitMaker(blockHalves: number, levels: number): BlockMaker {
  const centre = WEIGHT_DEVIATION / (19.5 * deviation(levels));
  const scales = scaleTable(centre);
  const minimums = scaleTable((centre * (levels - 1)) / 2);
  const packs = packedPairs();
  return (_bytes, halves, blocks) => {
    for (let block = 0, at = 0; block < blocks; block++, at += blockHalves) {
      const index = halves[at]! & 255;
      const pack = (halves[at + 1]! & 255) * 6;
      halves[at] = scales[index]!;
      halves[at + 1] = minimums[index]!;
      for (let i = 0; i < 6; i++) halves[at + 2 + i] = packs[pack + i]!;
    }
  };
}

/** 256 packs of 12 bytes, laid out as ggml's get_scale_min_k4 reads them; always the same. */
function packedPairs(): Uint16Array {
  const random = createRandom('twin pairs', 0);
  const bytes = new Uint8Array(256 * 12);
  for (let pack = 0; pack < bytes.length; pack += 12) {
    const values = Array.from({ length: 8 }, () => 8 + random.integer(24));
    for (let j = 0; j < 4; j++) {
      const low = values[j] as number;
      const high = values[j + 4] as number;
      bytes[pack + j] = low | ((high >>> 4) << 6);
      bytes[pack + 4 + j] = low | ((high >>> 4) << 6);
      bytes[pack + 8 + j] = (high & 15) * 17;
    }
  }
  return new Uint16Array(bytes.buffer);
}

/** Sixteen 8-bit scales at byte 192, from 8 to 15 and from -15 to -8; d at byte 208 of 210. */
function q6Maker(): BlockMaker {
  const scales = scaleTable(WEIGHT_DEVIATION / (11.5 * deviation(64)));
  const signed = Uint8Array.from({ length: 256 }, (_, i) => ((i & 128) === 0 ? 8 + (i & 7) : 256 - 8 - (i & 7)));
  return (bytes, halves, blocks) => {
    for (let block = 0, at = 0; block < blocks; block++, at += 210) {
      for (let i = at + 192; i < at + 208; i++) bytes[i] = signed[bytes[i]!]!;
      const half = at / 2 + 104;
      halves[half] = scales[halves[half]! & 255]!;
    }
  };
}
