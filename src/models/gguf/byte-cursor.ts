/**
 * Forward reading of an untrusted header: one window of the file in memory, every length checked against the file size
 * before anything is allocated.
 *
 * Reads are synchronous: a header is hundreds of thousands of tiny values, and a promise for each would cost seconds.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { AppError } from '../../core/errors.ts';

/** Large enough that a header is a few dozen reads, small enough to forget. */
const WINDOW_BYTES = 1 << 20;

/** A model that lies inside another file, e.g. in a llamafile. */
export interface FilePart {
  /** Bytes from the start of the file. */
  readonly start: number;
  readonly byteLength: number;
  /** For messages. */
  readonly name: string;
}

/** The first bytes of a file whose rest is elsewhere: what a range request brought. */
export interface FileHead {
  /** For messages. */
  readonly path: string;
  readonly bytes: Buffer;
  /** Of the whole file, as it was announced. */
  readonly fileBytes: number;
}

/** The header goes on behind the bytes that are there. Caught where heads are read; nobody else sees it. */
export class HeadTooShort extends Error {
  readonly neededBytes: number;

  constructor(path: string, neededBytes: number) {
    super(`${path}: ${neededBytes} bytes of its head are needed`);
    this.neededBytes = neededBytes;
  }
}

export class ByteCursor {
  /** For messages: of a part also its name. */
  readonly path: string;
  /** Of a part: its length. */
  readonly fileBytes: number;
  /** Null: the window is all that is there. */
  readonly #descriptor: number | null;
  readonly #base: number;
  #memory: Buffer = Buffer.alloc(0);
  #window: Buffer = Buffer.alloc(0);
  #windowStart = 0;
  #position = 0;

  /** Offsets are counted from the start of the part where one is given. */
  constructor(source: string | FileHead, part?: FilePart) {
    if (typeof source !== 'string') {
      this.path = source.path;
      this.fileBytes = source.fileBytes;
      this.#base = 0;
      this.#descriptor = null;
      this.#window = source.bytes;
      return;
    }
    const path = source;
    this.path = part === undefined ? path : `${path}:${part.name}`;
    this.#base = part?.start ?? 0;
    this.#descriptor = openSync(path, 'r');
    const rest = fstatSync(this.#descriptor).size - this.#base;
    this.fileBytes = Math.max(0, Math.min(rest, part?.byteLength ?? rest));
  }

  close(): void {
    if (this.#descriptor !== null) closeSync(this.#descriptor);
  }

  /** Offset in the file of the next byte. */
  get offset(): number {
    return this.#windowStart + this.#position;
  }

  u8(): number {
    const at = this.#take(1);
    return this.#window[at] as number;
  }

  u32(): number {
    const at = this.#take(4);
    return this.#window.readUInt32LE(at);
  }

  u64(): bigint {
    const at = this.#take(8);
    return this.#window.readBigUInt64LE(at);
  }

  /** A u64 that counts or points at something in the file; beyond 2^53 it cannot. Without BigInt: there are hundreds of thousands. */
  count(what: string): number {
    const at = this.#take(8);
    const low = this.#window.readUInt32LE(at);
    const high = this.#window.readUInt32LE(at + 4);
    const value = high * 2 ** 32 + low;
    if (value > Number.MAX_SAFE_INTEGER)
      throw this.invalid(`${what} at byte ${this.offset - 8} is ${value}, which no file can hold`);
    return value;
  }

  text(bytes: number): string {
    const start = this.#take(bytes);
    return this.#window.toString('utf8', start, start + bytes);
  }

  /** The next bytes, valid until the next call. */
  bytes(length: number): Buffer {
    const start = this.#take(length);
    return this.#window.subarray(start, start + length);
  }

  /** Moves on without reading. */
  skip(length: number): void {
    if (this.#position + length <= this.#window.length) {
      this.#position += length;
      return;
    }
    this.expect(length, 'a value');
    this.#windowStart = this.offset + length;
    this.#window = Buffer.alloc(0);
    this.#position = 0;
  }

  /** Fails when the rest of the file is shorter, before anything is allocated. */
  expect(length: number, what: string): void {
    const missing = this.offset + length - this.fileBytes;
    if (missing > 0) {
      throw this.invalid(
        `it ends inside its header: ${what} at byte ${this.offset} needs ${length} bytes, at least ${missing} are missing`,
      );
    }
  }

  invalid(reason: string): AppError {
    return new AppError('model-invalid', `${this.path} is not a usable GGUF file: ${reason}.`, {
      hint: 'Download or convert the model again.',
      context: { path: this.path, fileBytes: this.fileBytes },
    });
  }

  /** Makes `length` bytes available and returns where they start in the window, which it may replace: call it first. */
  #take(length: number): number {
    if (this.#position + length > this.#window.length) this.#refill(length);
    const start = this.#position;
    this.#position += length;
    return start;
  }

  #refill(length: number): void {
    this.expect(length, 'a value');
    const start = this.offset;
    if (this.#descriptor === null) throw new HeadTooShort(this.path, start + length);
    const wanted = Math.min(Math.max(length, WINDOW_BYTES), this.fileBytes - start);
    // Used again: garbage of a megabyte each would pile up before it is collected.
    const window = wanted <= this.#memory.length ? this.#memory.subarray(0, wanted) : Buffer.allocUnsafeSlow(wanted);
    if (wanted > this.#memory.length && wanted <= WINDOW_BYTES) this.#memory = window;
    let filled = 0;
    while (filled < wanted) {
      const count = readSync(this.#descriptor, window, filled, wanted - filled, this.#base + start + filled);
      if (count === 0) throw this.invalid(`it became shorter while it was read, at byte ${start + filled}`);
      filled += count;
    }
    this.#window = window;
    this.#windowStart = start;
    this.#position = 0;
  }
}
