/**
 * CRC-32 of what was written for a tensor, from the checksums of pieces that end in any order. It tells whether the bytes
 * reached the file; it is no protection against somebody who changes them on purpose.
 */
import { crc32 } from 'node:zlib';

export interface Checksum {
  readonly crc: number;
  readonly bytes: number;
}

/** What is known of nothing. */
export const NO_BYTES: Checksum = { crc: 0, bytes: 0 };

export function checksumOf(bytes: Uint8Array): Checksum {
  return { crc: crc32(bytes), bytes: bytes.byteLength };
}

/*
 * A CRC is a remainder of polynomials over GF(2) modulo the generator, with the lowest coefficient in the highest bit. What
 * follows multiplies what stands before by x^(8 * bytes): that factor is found by squaring (as zlib's crc32_combine does).
 */
const GENERATOR = 0xedb8_8320;
const ONE = 0x8000_0000;
const X = 0x4000_0000;
const BITS = 32;

/** The checksum of `first` with `second` behind it. */
export function joinChecksums(first: Checksum, second: Checksum): Checksum {
  const crc = (multiply(powerOfX(second.bytes), first.crc) ^ second.crc) >>> 0;
  return { crc, bytes: first.bytes + second.bytes };
}

function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let bit = 0; bit < BITS; bit++) {
    if (((a << bit) & ONE) !== 0) product ^= shifted;
    shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ GENERATOR;
  }
  return product >>> 0;
}

/** x^(8 * bytes). */
function powerOfX(bytes: number): number {
  let power = ONE;
  let square = X;
  for (let left = bytes * 8; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) power = multiply(square, power);
    square = multiply(square, square);
  }
  return power;
}
