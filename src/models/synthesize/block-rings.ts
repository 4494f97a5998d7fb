/** Finished blocks of each type, made once: matrices are written from them, round and round. */
import type { TensorType } from '../gguf/tensor-types.ts';
import { blockMaker, floatPool, floatType } from './blocks.ts';
import { chunkKey, fillFloats, fillRandom, randomPool } from './random-words.ts';

const POOL_BYTES = 1 << 20;
/** Made in some milliseconds, far larger than a row or a cache line's worth of repetition could show in an engine. */
const RING_BYTES = 8 << 20;

/** Fills a piece of whole blocks. */
type MakePiece = (bytes: Uint8Array<ArrayBuffer>, piece: number) => void;

/**
 * An odd number of blocks: pages of a file then start at ever other places of the ring, and none equals another before
 * 2 GB of a type. Its pieces are made when they are first needed, so that what is there can be written meanwhile.
 */
export class BlockRing {
  readonly byteLength: number;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #pieceBytes: number;
  readonly #made = new Set<number>();
  readonly #make: MakePiece;

  constructor({ blockBytes }: TensorType, make: MakePiece) {
    // Whole blocks and whole 32-bit words in every piece.
    const unit = 4 * blockBytes;
    this.#pieceBytes = Math.floor(POOL_BYTES / unit) * unit;
    this.#bytes = new Uint8Array(this.#pieceBytes * Math.floor(RING_BYTES / this.#pieceBytes));
    const blocks = this.#bytes.byteLength / blockBytes;
    this.byteLength = blockBytes * (blocks - 1 + (blocks % 2));
    this.#make = make;
  }

  /** Makes the piece of that place where it is missing. @returns whether it was */
  require(from: number): boolean {
    const piece = Math.floor(from / this.#pieceBytes);
    if (this.#made.has(piece)) return false;
    const start = piece * this.#pieceBytes;
    this.#make(this.#bytes.subarray(start, start + this.#pieceBytes), piece);
    this.#made.add(piece);
    return true;
  }

  /** From a place on as far as the ring is made, `most` bytes at most. */
  stretch(from: number, most: number): Uint8Array {
    let end = from;
    for (let piece = Math.floor(from / this.#pieceBytes); this.#made.has(piece) && end < from + most; piece++)
      end = (piece + 1) * this.#pieceBytes;
    return this.#bytes.subarray(from, Math.min(end, from + most, this.byteLength));
  }
}

export class BlockRings {
  readonly #seed: number;
  readonly #pool: Uint32Array;
  readonly #rings = new Map<string, BlockRing>();

  constructor(seed: number) {
    this.#seed = seed;
    this.#pool = randomPool(POOL_BYTES / 4, seed);
  }

  /** @param tensorName for messages */
  ring(type: TensorType, tensorName: string): BlockRing {
    const known = this.#rings.get(type.name);
    if (known !== undefined) return known;
    const ring = new BlockRing(type, this.#maker(type, tensorName));
    this.#rings.set(type.name, ring);
    return ring;
  }

  #maker(type: TensorType, tensorName: string): MakePiece {
    const [seed, pool] = [this.#seed, this.#pool];
    const float = floatType(type);
    if (float !== null) {
      const parts = { floats: floatPool(pool, float), pool, fresh: float.fresh };
      return (bytes, piece) => fillFloats(wordsOf(bytes), parts, chunkKey(seed, type.name, piece));
    }
    const make = blockMaker(type, tensorName);
    return (bytes, piece) => {
      fillRandom(wordsOf(bytes), pool, chunkKey(seed, type.name, piece));
      const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
      make(bytes, halves, bytes.byteLength / type.blockBytes);
    };
  }
}

function wordsOf({ buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>): Uint32Array {
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}
