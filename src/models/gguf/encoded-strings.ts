/** An array of strings in the form that it has in a file: no JavaScript string, and no call, for any of half a million. */
import { assert } from '../../core/assert.ts';
import { VALUE_TYPES, type EncodedArray } from './metadata.ts';

/** Type of the items and their number. */
const HEAD_BYTES = 12;
/** Before each string: its length, as 64 bits. */
const LENGTH_BYTES = 8;

export class EncodedStrings {
  #bytes: Buffer<ArrayBuffer>;
  #end = HEAD_BYTES;
  #count = 0;

  /** @param itemBytes of a string, length left out; longer ones make it grow */
  constructor(items: number, itemBytes: number) {
    this.#bytes = Buffer.alloc(HEAD_BYTES + items * (LENGTH_BYTES + itemBytes));
  }

  get count(): number {
    return this.#count;
  }

  /** Adds a string of UTF-8. */
  add(string: Uint8Array): void {
    this.#reserve(LENGTH_BYTES + string.length);
    this.#bytes.writeBigUInt64LE(BigInt(string.length), this.#end);
    this.#bytes.set(string, this.#end + LENGTH_BYTES);
    this.#end += LENGTH_BYTES + string.length;
    this.#count += 1;
  }

  /**
   * Adds, for each of the second pieces, what each of the first ones is together with it; `countMax` strings at most.
   * All second pieces have one length: their strings are copies of one another but for that piece.
   */
  addProduct(firsts: readonly Uint8Array[], seconds: readonly Uint8Array[], countMax: number): void {
    const tailBytes = seconds[0]?.length ?? 0;
    assert(
      seconds.every(({ length }) => length === tailBytes),
      'second pieces have one length',
    );
    const block = this.#block(firsts, tailBytes);
    let missing = countMax;
    for (const second of seconds) {
      const strings = Math.min(missing, firsts.length);
      if (strings <= 0) return;
      const blockBytes = block.ends[strings - 1] as number;
      this.#reserve(blockBytes);
      const bytes = this.#bytes;
      bytes.set(block.bytes.subarray(0, blockBytes), this.#end);
      for (let i = 0; i < strings; i++) {
        const at = this.#end + block.ends[i]! - tailBytes;
        for (let j = 0; j < tailBytes; j++) bytes[at + j] = second[j]!;
      }
      this.#end += blockBytes;
      this.#count += strings;
      missing -= strings;
    }
  }

  finish(): EncodedArray {
    this.#bytes.writeUInt32LE(VALUE_TYPES.indexOf('string'));
    this.#bytes.writeBigUInt64LE(BigInt(this.#count), 4);
    return { type: 'encoded', bytes: this.#bytes.subarray(0, this.#end) };
  }

  /** Strings with room for a second piece, and where each ends. */
  #block(firsts: readonly Uint8Array[], tailBytes: number): { bytes: Buffer; ends: Int32Array } {
    const bytes = Buffer.alloc(firsts.reduce((sum, { length }) => sum + LENGTH_BYTES + length + tailBytes, 0));
    const ends = new Int32Array(firsts.length);
    let end = 0;
    for (const [i, first] of firsts.entries()) {
      bytes.writeUInt32LE(first.length + tailBytes, end);
      bytes.set(first, end + LENGTH_BYTES);
      ends[i] = end += LENGTH_BYTES + first.length + tailBytes;
    }
    return { bytes, ends };
  }

  #reserve(more: number): void {
    if (this.#end + more <= this.#bytes.length) return;
    const larger = Buffer.alloc(2 * this.#bytes.length + more);
    larger.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = larger;
  }
}
