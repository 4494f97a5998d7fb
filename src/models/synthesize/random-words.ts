/** The random bits of twins: the same for a seed, a tensor and a place, on every machine. */
import { hashSeed } from '../../core/random.ts';

/** Odd, far from powers of two: neighbouring counters differ in half of their bits (2^32 / golden ratio). */
const STEP = 0x9e37_79b9;

/**
 * One word for every counter from 0 on: a bijective mixer of 32 bits (xor-shift and multiply, twice), so no word comes
 * twice. The pool of a file: its chunks are made from it, because this is four times slower than a disk can be.
 */
export function randomPool(words: number, seed: number): Uint32Array<ArrayBuffer> {
  const pool = new Uint32Array(words);
  let counter = hashSeed('twin', seed);
  for (let i = 0; i < words; i++) {
    counter = (counter + STEP) | 0;
    let mixed = Math.imul(counter ^ (counter >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    pool[i] = mixed ^ (mixed >>> 15);
  }
  return pool;
}

/** What turns the pool into the bits of one chunk of one tensor. */
export interface ChunkKey {
  /** Where in the pool it starts. */
  readonly offset: number;
  /** Odd, so that different words of the pool stay different. */
  readonly factor: number;
  readonly mask: number;
}

export function chunkKey(seed: number, tensorName: string, chunk: number): ChunkKey {
  return {
    offset: hashSeed('twin offset', seed, tensorName, chunk),
    factor: hashSeed('twin factor', seed, tensorName, chunk) | 1,
    mask: hashSeed('twin mask', seed, tensorName, chunk) | 0,
  };
}

/**
 * The pool, every word multiplied and masked as the chunk's key says. No page of a file equals another, so neither a
 * system that merges equal pages nor a compressing disk makes a twin smaller than the model.
 * @param pool of a power of two of words
 */
export function fillRandom(words: Uint32Array, pool: Uint32Array, { offset, factor, mask }: ChunkKey): void {
  const target = signed(words);
  const source = signed(pool);
  runs(target.length, source.length, offset, (at, from, count) =>
    mix({ target, source, at, from, count }, factor, mask),
  );
}

/**
 * Pairs of 16-bit floats: those of a pool with the right distribution, signs and low bits of the fraction drawn anew.
 * @param fresh the bits of a word that are drawn anew
 */
export function fillFloats(
  words: Uint32Array,
  { floats, pool, fresh }: { readonly floats: Uint32Array; readonly pool: Uint32Array; readonly fresh: number },
  { offset, factor, mask }: ChunkKey,
): void {
  const target = signed(words);
  const [values, source] = [signed(floats), signed(pool)];
  runs(target.length, source.length, offset, (at, from, count) => {
    mix({ target, source, at, from, count }, factor, mask);
    blend({ target, source: values, at, from, count }, fresh | 0);
  });
}

/*
 * Loops without a step across the pool's end, over signed words: an index or a word beyond 2^31 is a floating-point number
 * to V8, and made this seven times slower than the disk.
 */
function runs(
  length: number,
  poolLength: number,
  offset: number,
  run: (at: number, from: number, count: number) => void,
): void {
  let from = offset & (poolLength - 1);
  for (let at = 0; at < length;) {
    const count = Math.min(length - at, poolLength - from);
    run(at, from, count);
    at += count;
    from = 0;
  }
}

interface Run {
  readonly target: Int32Array;
  readonly source: Int32Array;
  readonly at: number;
  readonly from: number;
  readonly count: number;
}

function mix({ target, source, at, from, count }: Run, factor: number, mask: number): void {
  const odd = factor | 0;
  for (let i = 0; i < count; i++) target[at + i] = Math.imul(source[from + i]!, odd) ^ mask;
}

/** The target's bits where they are drawn anew, the source's elsewhere combined with them. */
function blend({ target, source, at, from, count }: Run, fresh: number): void {
  for (let i = 0; i < count; i++) target[at + i] = source[from + i]! ^ (target[at + i]! & fresh);
}

function signed({ buffer, byteOffset, length }: Uint32Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length);
}
