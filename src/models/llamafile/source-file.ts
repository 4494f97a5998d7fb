/** Random access to an untrusted file, with errors that say where. Reads are synchronous: they are few and small. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { AppError } from '../../core/errors.ts';
import { cannotOpen } from '../cannot-open.ts';

export class SourceFile {
  readonly path: string;
  readonly byteLength: number;
  readonly #descriptor: number;

  /** @throws AppError `model-not-found` when it cannot be opened, `model-unsupported` for a folder */
  constructor(path: string) {
    this.path = path;
    try {
      this.#descriptor = openSync(path, 'r');
    } catch (cause) {
      throw cannotOpen(`file ${path}`, cause);
    }
    const facts = fstatSync(this.#descriptor);
    this.byteLength = facts.size;
    if (facts.isFile()) return;
    this.close();
    throw new AppError('model-unsupported', `${path} is not a file.`, { hint: 'Give the path of one file.' });
  }

  /** Exactly these bytes, in `memory` where it is given. @throws AppError `model-invalid` when the file does not hold them. */
  read(position: number, byteLength: number, what: string, memory?: Buffer): Buffer {
    if (position + byteLength > this.byteLength) {
      throw this.invalid(`${what} at byte ${position} needs ${byteLength} bytes, the file ends at ${this.byteLength}`);
    }
    const target = memory === undefined ? Buffer.allocUnsafeSlow(byteLength) : memory.subarray(0, byteLength);
    let done = 0;
    while (done < byteLength) {
      const count = readSync(this.#descriptor, target, done, byteLength - done, position + done);
      if (count === 0) throw this.invalid(`it became shorter while it was read, at byte ${position + done}`);
      done += count;
    }
    return target;
  }

  invalid(reason: string): AppError {
    return new AppError('model-invalid', `${this.path} is not a usable llamafile: ${reason}.`, {
      hint: 'Download or pack it again.',
      context: { path: this.path, fileBytes: this.byteLength },
    });
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
