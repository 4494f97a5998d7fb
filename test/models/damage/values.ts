/** Values of weights by the formats' definitions, written apart from src: the oracle of what a damaged file really says. */
import { createHash } from 'node:crypto';

export function float16(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** A bfloat16 is the upper half of a float32. */
const word = new Uint32Array(1);
const wordAsFloat = new Float32Array(word.buffer);

interface StoredType {
  /** Of a block. */
  readonly values: number;
  readonly bytes: number;
  readonly decode: (file: Buffer, at: number, out: Float32Array, to: number) => void;
}

/** Of the types that the damaged files have. */
export const STORED: Readonly<Record<string, StoredType>> = {
  F32: { values: 1, bytes: 4, decode: (file, at, out, to) => (out[to] = file.readFloatLE(at)) },
  F16: { values: 1, bytes: 2, decode: (file, at, out, to) => (out[to] = float16(file.readUInt16LE(at))) },
  BF16: {
    values: 1,
    bytes: 2,
    decode(file, at, out, to) {
      word[0] = file.readUInt16LE(at) << 16;
      out[to] = wordAsFloat[0] as number;
    },
  },
  Q8_0: {
    values: 32,
    bytes: 34,
    decode(file, at, out, to) {
      const scale = float16(file.readUInt16LE(at));
      for (let i = 0; i < 32; i++) out[to + i] = file.readInt8(at + 2 + i) * scale;
    },
  },
  Q4_0: {
    values: 32,
    bytes: 18,
    decode(file, at, out, to) {
      const scale = float16(file.readUInt16LE(at));
      for (let i = 0; i < 32; i++) {
        const byte = file[at + 2 + (i % 16)] as number;
        out[to + i] = ((i < 16 ? byte & 15 : byte >> 4) - 8) * scale;
      }
    },
  },
};

export function decode(type: string, bytes: Buffer): Float32Array {
  const stored = STORED[type];
  if (stored === undefined) throw new TypeError(`the oracle does not know ${type}`);
  const blocks = bytes.length / stored.bytes;
  const out = new Float32Array(blocks * stored.values);
  for (let i = 0; i < blocks; i++) stored.decode(bytes, i * stored.bytes, out, i * stored.values);
  return out;
}

/** MLX's affine groups: a code of so many bits times a scale plus a bias, each step in float32. */
export function decodeAffine(
  words: Buffer,
  { scales, biases, bits, group }: { scales: Float32Array; biases: Float32Array; bits: number; group: number },
): Float32Array {
  const out = new Float32Array((words.length * 8) / bits);
  for (let i = 0; i < out.length; i++) {
    let code = 0;
    for (let bit = 0; bit < bits; bit++) {
      const at = i * bits + bit;
      code |= (((words[at >> 3] as number) >> (at & 7)) & 1) << bit;
    }
    const of = Math.floor(i / group);
    out[i] = Math.fround(code * (scales[of] as number)) + (biases[of] as number);
  }
  return out;
}

/** Step 3 and 4 of the specification `rf1`: one NaN, no minus zero, SHA-256 of little-endian float32. */
export function hashOf(values: Float32Array): string {
  const bytes = Buffer.alloc(4 * values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (Number.isNaN(value)) bytes.writeUInt32LE(0x7fc0_0000, 4 * i);
    else bytes.writeFloatLE(value === 0 ? 0 : value, 4 * i);
  }
  return createHash('sha256').update(bytes).digest('hex');
}
