/** Source files of a conversion, opened when they are first needed, and whole reads on Node's thread pool. */
import { closeSync, openSync, read } from 'node:fs';
import { promisify } from 'node:util';
import { AppError } from '../../core/errors.ts';

const readAt = promisify(read);

/*
 * On Node's thread pool, unlike elsewhere: copying a megabyte from the page cache takes longer than the trip, and the copies
 * of several lanes go on at the same time.
 */
export class SourceFiles {
  readonly #descriptors = new Map<string, number>();

  async readAll(path: string, into: Uint8Array, position: number): Promise<void> {
    const descriptor = this.#open(path);
    for (let done = 0; done < into.byteLength;) {
      const { bytesRead } = await readAt(descriptor, into, done, into.byteLength - done, position + done);
      if (bytesRead === 0) {
        throw new AppError(
          'model-invalid',
          `A model file became shorter while it was read: nothing at byte ${position + done}.`,
          {
            hint: 'Let no other program change the model, then try again.',
          },
        );
      }
      done += bytesRead;
    }
  }

  close(): void {
    for (const descriptor of this.#descriptors.values()) closeSync(descriptor);
  }

  #open(path: string): number {
    let descriptor = this.#descriptors.get(path);
    if (descriptor === undefined) {
      descriptor = openSync(path, 'r');
      this.#descriptors.set(path, descriptor);
    }
    return descriptor;
  }
}
