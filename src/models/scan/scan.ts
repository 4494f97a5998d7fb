/** One pass over what is written for a tensor: a checksum, and whether all of its floats are numbers. */
import { readFileSync } from 'node:fs';

/**
 * Two sums over the 32-bit little-endian words of a tensor's output, modulo 2^32: of the words, and of each word times its
 * place (Fletcher's idea: a value that changed alters the first, values that changed places the second). Parts add up in any
 * order. It tells whether the bytes reached the file; it is no protection against somebody who changes them on purpose.
 */
export interface Checksum {
  readonly sum: number;
  readonly placedSum: number;
}

/** What is known of nothing. */
export const NO_BYTES: Checksum = { sum: 0, placedSum: 0 };

export interface Scan {
  readonly checksum: Checksum;
  /** No float is infinite or NaN. */
  readonly isFinite: boolean;
}

/** Of both parts, whatever lies between them. */
export function addChecksums(a: Checksum, b: Checksum): Checksum {
  return { sum: (a.sum + b.sum) >>> 0, placedSum: (a.placedSum + b.placedSum) >>> 0 };
}

/** 16 hexadecimal digits. */
export function formatChecksum({ sum, placedSum }: Checksum): string {
  return [sum, placedSum].map((word) => word.toString(16).padStart(8, '0')).join('');
}

/** @param offset of the bytes in the tensor's output */
export function checksumOf(bytes: Uint8Array, offset: number): Checksum {
  return scan(bytes, { floats: null, offset }).checksum;
}

/** Bits of the exponent, and one in its lowest place; two halves are looked at as one word. */
const EXPONENTS = {
  F32: { mask: 0x7f80_0000, one: 0x0080_0000, carry: 0x8000_0000 | 0 },
  BF16: { mask: 0x7f80_7f80, one: 0x0080_0080, carry: 0x8000_8000 | 0 },
  F16: { mask: 0x7c00_7c00, one: 0x0400_0400, carry: 0x8000_8000 | 0 },
} as const;
const NO_EXPONENTS = { mask: 0, one: 0, carry: 0 } as const;

export type ScannedFloats = keyof typeof EXPONENTS;

/** Null for blocks of a quantised type: their scales are not looked at. */
export function scannedFloats(type: string): ScannedFloats | null {
  return type === 'F32' || type === 'BF16' || type === 'F16' ? type : null;
}

const WORD_BYTES = 4;
/** The compiled loop takes whole steps; what is missing is zeros, which add nothing. */
const STEP_BYTES = 64;
/** Slices are copied into the loop's memory: small enough for a first-level cache beside it, long beside a call. */
const SLICE_BYTES = 32 << 10;
/** Behind the results. */
const SLICE_AT = 64;

/** @param offset of the bytes in the tensor's output; floats are whole and start at a multiple of their size there */
export function scan(
  bytes: Uint8Array,
  { floats, offset }: { readonly floats: ScannedFloats | null; readonly offset: number },
): Scan {
  const loop = (compiled ??= instantiate());
  const { mask, one, carry } = floats === null ? NO_EXPONENTS : EXPONENTS[floats];
  loop.results.fill(0);
  // Words begin at multiples of four of the output, wherever these bytes begin.
  let lead = offset % WORD_BYTES;
  let word = (offset - lead) / WORD_BYTES;
  for (let done = 0; done < bytes.byteLength;) {
    const slice = bytes.subarray(done, done + SLICE_BYTES - lead);
    const end = lead + slice.byteLength;
    const padded = Math.ceil(end / STEP_BYTES) * STEP_BYTES;
    loop.slice.fill(0, 0, lead);
    loop.slice.set(slice, lead);
    loop.slice.fill(0, end, padded);
    // A place beyond 2^32 counts modulo 2^32, as the sums do.
    loop.scan(SLICE_AT, SLICE_AT + padded, word >>> 0, mask, one);
    done += slice.byteLength;
    word += SLICE_BYTES / WORD_BYTES;
    lead = 0;
  }
  const [sum = 0, placedSum = 0, seen = 0] = loop.results;
  return { checksum: { sum: sum >>> 0, placedSum: placedSum >>> 0 }, isFinite: (seen & carry) === 0 };
}

interface Loop {
  readonly scan: (at: number, end: number, firstWord: number, mask: number, one: number) => void;
  readonly results: Int32Array;
  readonly slice: Uint8Array;
}

let compiled: Loop | null = null;

function instantiate(): Loop {
  const module = new WebAssembly.Module(readFileSync(new URL('./scan.wasm', import.meta.url)));
  const { exports } = new WebAssembly.Instance(module);
  const { buffer } = exports['memory'] as WebAssembly.Memory;
  return {
    scan: exports['scan'] as Loop['scan'],
    results: new Int32Array(buffer, 0, 3),
    slice: new Uint8Array(buffer, SLICE_AT, SLICE_BYTES),
  };
}
