/** Seeded randomness: the same seed gives the same run order, nonces and simulations on every machine. */
import { assert } from './assert.ts';

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform integer in 0..bound-1. */
  integer(bound: number): number;
}

/** 32-bit hash of the parts (FNV-1a over UTF-16 units, then the murmur3 finaliser): seeds generators, secures nothing. */
export function hashSeed(...parts: readonly (string | number)[]): number {
  let hash = 0x811c9dc5;
  for (const character of parts.join('\u0000')) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * mulberry32: 32 bits of state, period 2^32, passes gjrand; enough for orders and simulations.
 * Source: Tommy Ettinger, public domain.
 */
export function createRandom(...seed: readonly (string | number)[]): Random {
  let state = hashSeed(...seed);
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { next, integer: (bound) => Math.floor(next() * bound) };
}

/** A new array in uniformly random order (Fisher-Yates). */
export function shuffle<T>(items: readonly T[], random: Random): T[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last -= 1) {
    const other = random.integer(last + 1);
    const [left, right] = [result[last], result[other]];
    assert(left !== undefined && right !== undefined, 'shuffle stays inside the array');
    result[last] = right;
    result[other] = left;
  }
  return result;
}

/** Standard normal deviate (Box-Muller). */
export function normal(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
  return radius * Math.cos(2 * Math.PI * random.next());
}
