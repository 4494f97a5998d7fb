import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';
import { writeError } from './write-error.ts';

const NEWLINE = 0x0a;

export interface JsonlLog {
  /** Resolves when the line is on the disk. Appends keep their order. @throws AppError `record-write-failed`. */
  append(value: unknown): Promise<void>;
  close(): Promise<void>;
}

export interface JsonlLines {
  /** Parsed lines, in order; the caller checks them by its schema. */
  readonly lines: unknown[];
  /** The last line was cut off in the middle of a write: a crash or a full disk. It is left out. */
  readonly torn: boolean;
}

/** Opens a log for appending; a torn last line of an earlier session is cut off first. */
export async function openJsonl(path: string): Promise<JsonlLog> {
  let file: FileHandle;
  try {
    file = await open(path, 'a+');
    await cutTornLine(file);
  } catch (error) {
    throw await writeError(path, error);
  }
  let last: Promise<void> = Promise.resolve();
  return {
    append(value) {
      const write = last.then(() => appendLine(file, path, value));
      last = write.catch(() => {});
      return write;
    },
    async close() {
      await last;
      await file.close();
    },
  };
}

/** Reads a log. @throws AppError `record-invalid` when it is larger than `bytesMax` or damaged before its last line. */
export async function readJsonl(path: string, bytesMax: number): Promise<JsonlLines> {
  const text = await readBounded(path, bytesMax);
  const texts = text.split('\n');
  const end = texts.pop() ?? '';
  const lines = texts.filter((line) => line.trim() !== '').map((line, index) => parseLine(line, path, index));
  return { lines, torn: end.trim() !== '' };
}

async function appendLine(file: FileHandle, path: string, value: unknown): Promise<void> {
  try {
    await file.appendFile(`${JSON.stringify(value)}\n`);
    await file.datasync();
  } catch (error) {
    throw await writeError(path, error);
  }
}

/** A line without its line end would swallow the next one. */
async function cutTornLine(file: FileHandle): Promise<void> {
  const { size } = await file.stat();
  const chunk = Buffer.alloc(64 * 1024);
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - chunk.length);
    const { bytesRead } = await file.read(chunk, 0, end - start, start);
    const newline = chunk.subarray(0, bytesRead).lastIndexOf(NEWLINE);
    if (newline >= 0 && start + newline + 1 === size) return;
    if (newline >= 0 || start === 0) return file.truncate(newline >= 0 ? start + newline + 1 : 0);
    end = start;
  }
}

async function readBounded(path: string, bytesMax: number): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size <= bytesMax) return await file.readFile('utf8');
    throw new AppError(
      'record-invalid',
      `${path} has ${size} bytes, more than the ${bytesMax} that any run of ours writes`,
    );
  } finally {
    await file.close();
  }
}

function parseLine(line: string, path: string, index: number): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new AppError('record-invalid', `${path} is damaged in line ${index + 1}: ${line.slice(0, 80)}`, {
      cause: error,
    });
  }
}
