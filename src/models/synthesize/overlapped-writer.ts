/** Writes chunks while the next one is made: the copy into the page cache takes as long as the making, and another core. */
import type { FileHandle } from 'node:fs/promises';
import { alignedBuffer } from '../file-io.ts';

export class OverlappedWriter {
  readonly #handle: FileHandle;
  #free: Uint8Array<ArrayBuffer>;
  #busy: Uint8Array<ArrayBuffer>;
  #pending: Promise<void> = Promise.resolve();

  constructor(handle: FileHandle, chunkBytes: number) {
    this.#handle = handle;
    this.#free = alignedBuffer(chunkBytes);
    this.#busy = alignedBuffer(chunkBytes);
  }

  /** To be filled; another one after each `write`. */
  get buffer(): Uint8Array<ArrayBuffer> {
    return this.#free;
  }

  /** Starts writing the first `bytes` of the buffer, after the chunk before. Rejects with what that one failed with. */
  async write(bytes: number, position: number): Promise<void> {
    await this.#pending;
    const chunk = this.#free.subarray(0, bytes);
    [this.#free, this.#busy] = [this.#busy, this.#free];
    this.#pending = this.#writeAll(chunk, position);
    // Told by the next call; until then nobody waits for it.
    this.#pending.catch(() => {});
  }

  /** Resolves when everything is written. */
  async flush(): Promise<void> {
    await this.#pending;
  }

  async #writeAll(chunk: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < chunk.byteLength;) {
      const { bytesWritten } = await this.#handle.write(chunk, done, chunk.byteLength - done, position + done);
      done += bytesWritten;
    }
  }
}
