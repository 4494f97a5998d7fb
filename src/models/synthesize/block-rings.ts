/** Finished blocks of each type, made once: matrices are written from them, round and round. */
import type { TensorType } from '../gguf/tensor-types.ts';
import { blockMaker, floatPool, floatType } from './blocks.ts';
import { chunkKey, fillFloats, fillRandom, randomPool } from './random-words.ts';

const POOL_BYTES = 1 << 20;
/** Made in some milliseconds, far larger than a row or a cache line's worth of repetition could show in an engine. */
const RING_BYTES = 8 << 20;

export class BlockRings {
  readonly #seed: number;
  readonly #pool: Uint32Array;
  readonly #rings = new Map<string, Uint8Array<ArrayBuffer>>();

  constructor(seed: number) {
    this.#seed = seed;
    this.#pool = randomPool(POOL_BYTES / 4, seed);
  }

  /**
   * An odd number of blocks: pages of a file then start at ever other places of the ring, and none equals another before
   * 2 GB of a type. @param tensorName for messages
   */
  ring(type: TensorType, tensorName: string): Uint8Array<ArrayBuffer> {
    const known = this.#rings.get(type.name);
    if (known !== undefined) return known;
    const { blockBytes } = type;
    const made = this.#make(type, tensorName);
    const blocks = Math.floor(made.byteLength / blockBytes);
    const ring = made.subarray(0, blockBytes * (blocks - 1 + (blocks % 2)));
    this.#rings.set(type.name, ring);
    return ring;
  }

  #make(type: TensorType, tensorName: string): Uint8Array<ArrayBuffer> {
    const float = floatType(type);
    const make = float === null ? blockMaker(type, tensorName) : null;
    const floats = float === null ? null : floatPool(this.#pool, float);
    // Whole blocks and whole 32-bit words in every piece.
    const unit = 4 * type.blockBytes;
    const pieceBytes = Math.floor(POOL_BYTES / unit) * unit;
    const pieces = Math.floor(RING_BYTES / pieceBytes);
    const bytes = new Uint8Array(pieceBytes * pieces);
    for (let piece = 0; piece < pieces; piece++) {
      const words = new Uint32Array(bytes.buffer, piece * pieceBytes, pieceBytes / 4);
      const key = chunkKey(this.#seed, type.name, piece);
      if (float === null || floats === null) fillRandom(words, this.#pool, key);
      else fillFloats(words, { floats, pool: this.#pool, fresh: float.fresh }, key);
    }
    make?.(bytes, new Uint16Array(bytes.buffer), bytes.byteLength / type.blockBytes);
    return bytes;
  }
}
