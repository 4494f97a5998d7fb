/**
 * Texts and lists of token ids in files: a proof goes through a hundred thousand of them, in several processes, and none holds
 * them all. Synchronous: the files are fresh, so they are in the page cache.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { assert } from '../../core/assert.ts';
import { writeFully } from '../file-io.ts';

/** Read and written at once: what a system call costs is nothing beside it. */
const CHUNK_BYTES = 64 << 10;
const LINE_END = 0x0a;

/** Can be gone through again, which reads the file again. */
export interface Counted<T> extends Iterable<T> {
  readonly length: number;
}

/** Values in a file, which another process may read, too. */
export interface Stored<T> extends Counted<T> {
  readonly path: string;
}

/** One value a line, as JSON. */
export function storeJsonLines<T>(path: string, values: Iterable<T>): Stored<T> {
  const length = withWriter(path, (write) => {
    let count = 0;
    for (const value of values) {
      write(Buffer.from(`${JSON.stringify(value)}\n`));
      count++;
    }
    return count;
  });
  return storedJsonLines(path, length);
}

/** What another process stored. */
export function storedJsonLines<T>(path: string, length: number): Stored<T> {
  const lines = readJsonLines<T>(path);
  return { path, length, [Symbol.iterator]: () => lines[Symbol.iterator]() };
}

/** Trusted: a file of our own. */
export function readJsonLines<T>(path: string): Iterable<T> {
  return {
    *[Symbol.iterator]() {
      let rest = Buffer.alloc(0);
      for (const chunk of chunksOf(path)) {
        const bytes = Buffer.concat([rest, chunk]);
        let start = 0;
        for (let end = bytes.indexOf(LINE_END); end >= 0; end = bytes.indexOf(LINE_END, start)) {
          yield JSON.parse(bytes.toString('utf8', start, end)) as T;
          start = end + 1;
        }
        rest = bytes.subarray(start);
      }
      assert(rest.length === 0, 'the last line ends');
    },
  };
}

/** For every list the number of its ids, then the ids. */
export function writeIdLists(path: string, lists: Iterable<ArrayLike<number>>): void {
  withWriter(path, (write) => {
    for (const list of lists) {
      const words = new Int32Array(1 + list.length);
      words[0] = list.length;
      words.set(list, 1);
      write(new Uint8Array(words.buffer));
    }
  });
}

export function readIdLists(path: string): Iterable<Int32Array> {
  return {
    *[Symbol.iterator]() {
      let words = new Int32Array(0);
      for (const chunk of chunksOf(path)) {
        assert(chunk.length % 4 === 0, 'chunks hold whole ids');
        const all = new Int32Array(words.length + chunk.length / 4);
        all.set(words);
        new Uint8Array(all.buffer).set(chunk, 4 * words.length);
        let at = 0;
        for (let end = endOfList(all, at); end <= all.length; end = endOfList(all, at)) {
          yield all.slice(at + 1, end);
          at = end;
        }
        words = all.slice(at);
      }
      assert(words.length === 0, 'a list lies inside the file');
    },
  };
}

/** Beyond the array where its count is not there yet. */
function endOfList(all: Int32Array, at: number): number {
  const count = all[at] ?? all.length;
  assert(count >= 0, 'a count is not negative');
  return at + 1 + count;
}

export function counted<T>(length: number, values: Iterable<T>): Counted<T> {
  return { length, [Symbol.iterator]: () => values[Symbol.iterator]() };
}

/** Values that are made while they are asked for, again each time. */
export function lazily<T>(values: () => Iterable<T>): Iterable<T> {
  return { [Symbol.iterator]: () => values()[Symbol.iterator]() };
}

/** The buffer is used again for the next chunk. */
function* chunksOf(path: string): Generator<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  const fd = openSync(path, 'r');
  try {
    for (;;) {
      let length = 0;
      // A read may return less than is there; ids must stay whole.
      for (let bytes = -1; bytes !== 0 && length < buffer.length; length += bytes)
        bytes = readSync(fd, buffer, length, buffer.length - length, null);
      if (length === 0) return;
      yield buffer.subarray(0, length);
    }
  } finally {
    closeSync(fd);
  }
}

function withWriter<T>(path: string, use: (write: (bytes: Uint8Array) => void) => T): T {
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  const fd = openSync(path, 'w');
  let [position, length] = [0, 0];
  const put = (bytes: Uint8Array): void => {
    writeFully({ fd }, bytes, position);
    position += bytes.length;
  };
  const flush = (): void => {
    put(buffer.subarray(0, length));
    length = 0;
  };
  try {
    const result = use((bytes) => {
      if (length + bytes.length > buffer.length) flush();
      if (bytes.length > buffer.length) return put(bytes);
      buffer.set(bytes, length);
      length += bytes.length;
    });
    flush();
    return result;
  } finally {
    closeSync(fd);
  }
}
