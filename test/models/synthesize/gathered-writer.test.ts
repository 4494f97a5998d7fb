import { open, readFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GatheredWriter } from '../../../src/models/synthesize/gathered-writer.ts';
import { temporaryFolder } from '../fixture.ts';

const folder = await temporaryFolder();
const piece = (fill: number, bytes: number): Uint8Array => new Uint8Array(bytes).fill(fill);

/** Takes at most `atMost` bytes a call, as a system may. */
function reluctant(handle: FileHandle, atMost: number, calls: number[]): Pick<FileHandle, 'writev'> {
  return {
    async writev(pieces, position) {
      const bytes = Buffer.concat(pieces as unknown as Uint8Array[]).subarray(0, atMost);
      calls.push(bytes.length);
      await handle.write(bytes, 0, bytes.length, position);
      return { bytesWritten: bytes.length, buffers: pieces };
    },
  };
}

test('pieces follow each other in the file, whatever a call takes', async () => {
  const path = join(folder, 'whole');
  const handle = await open(path, 'wx');
  const [calls, written]: [number[], number[]] = [[], []];
  const writer = new GatheredWriter(reluctant(handle, 7, calls), 16, (bytes) => written.push(bytes));
  for (let i = 1; i <= 9; i++) await writer.add(piece(i, i));
  await writer.flush();
  await handle.close();
  const expected = Buffer.concat(Array.from({ length: 9 }, (_, i) => piece(i + 1, i + 1)));
  expect(await readFile(path)).toEqual(expected);
  expect(Math.max(...calls)).toBe(7);
  expect(written.reduce((sum, bytes) => sum + bytes, 0)).toBe(45);
});

test('while a call runs, pieces are gathered for the next one, up to the limit', async () => {
  const sizes: number[] = [];
  let finish = (): void => {};
  const handle = {
    writev: async (pieces: readonly Uint8Array[]) => {
      const bytesWritten = pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
      sizes.push(bytesWritten);
      await new Promise<void>((resolve) => (finish = resolve));
      return { bytesWritten, buffers: pieces };
    },
  } as unknown as FileHandle;
  const writer = new GatheredWriter(handle, 10, () => {});
  await writer.add(piece(1, 3));
  await writer.add(piece(2, 4));
  expect(writer.room).toBe(6);
  const full = writer.add(piece(3, 6));
  expect(sizes).toEqual([3]);
  finish();
  await full;
  expect(sizes).toEqual([3, 10]);
  finish();
  await writer.flush();
  expect(sizes).toEqual([3, 10]);
});

test('what a call failed with is told by a later one', async () => {
  const handle = { writev: () => Promise.reject(new Error('no space left')) } as unknown as FileHandle;
  const writer = new GatheredWriter(handle, 4, () => {});
  await writer.add(piece(1, 1));
  await expect(writer.add(piece(1, 4))).rejects.toThrow('no space left');
});
