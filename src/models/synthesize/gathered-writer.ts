/** Writes pieces one after the other, many in a call, while the next ones are made: the copy into the page cache needs another core. */
import type { FileHandle } from 'node:fs/promises';

export class GatheredWriter {
  readonly #handle: Pick<FileHandle, 'writev'>;
  readonly #bytesMax: number;
  readonly #onWritten: (bytes: number) => void;
  #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  #position = 0;
  #isBusy = false;
  #pending: Promise<void> = Promise.resolve();

  /** @param bytesMax of one call: an interrupt waits for it */
  constructor(handle: Pick<FileHandle, 'writev'>, bytesMax: number, onWritten: (bytes: number) => void) {
    this.#handle = handle;
    this.#bytesMax = bytesMax;
    this.#onWritten = onWritten;
  }

  /** What is free in the call to come. */
  get room(): number {
    return this.#bytesMax - this.#gatheredBytes;
  }

  /** The piece must stay as it is. Waits when a call is full and the one before still runs; rejects with what that failed with. */
  async add(piece: Uint8Array): Promise<void> {
    if (piece.byteLength === 0) return;
    this.#gathered.push(piece);
    this.#gatheredBytes += piece.byteLength;
    if (this.#isBusy && this.room > 0) return;
    await this.#start();
  }

  /** Resolves when everything is written. */
  async flush(): Promise<void> {
    await this.#start();
    await this.#pending;
  }

  async #start(): Promise<void> {
    await this.#pending;
    this.#isBusy = true;
    this.#pending = this.#write(this.#gathered, this.#position);
    // Told by the next call; until then nobody waits for it.
    this.#pending.catch(() => {});
    this.#position += this.#gatheredBytes;
    this.#gathered = [];
    this.#gatheredBytes = 0;
  }

  async #write(pieces: readonly Uint8Array[], position: number): Promise<void> {
    let at = position;
    for (let rest = pieces; rest.length > 0;) {
      const { bytesWritten } = await this.#handle.writev(rest, at);
      at += bytesWritten;
      rest = without(rest, bytesWritten);
    }
    this.#isBusy = false;
    this.#onWritten(at - position);
  }
}

/** A system may write less than it was given. */
function without(pieces: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skipped = bytes;
  return pieces.flatMap((piece) => {
    const gone = Math.min(skipped, piece.byteLength);
    skipped -= gone;
    return gone === piece.byteLength ? [] : [piece.subarray(gone)];
  });
}
