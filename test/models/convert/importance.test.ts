import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AppError } from '../../../src/core/errors.ts';
import { tensorTypeNamed } from '../../../src/models/gguf/tensor-types.ts';
import { writeGguf } from '../../../src/models/gguf/write.ts';
import { readImportance } from '../../../src/models/convert/importance.ts';

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'runoff-imatrix-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

const F32 = tensorTypeNamed('F32');
const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

async function gguf(counts: number[], sums: number[]): Promise<string> {
  const path = join(folder, 'm.gguf');
  await writeGguf(path, {
    metadata: new Map([['general.type', { type: 'string', value: 'imatrix' }]]),
    tensors: [
      { name: 'blk.0.attn_q.weight.counts', type: F32, dimensions: [1, counts.length], bytes: floats(...counts) },
      {
        name: 'blk.0.attn_q.weight.in_sum2',
        type: F32,
        dimensions: [sums.length / counts.length, counts.length],
        bytes: floats(...sums),
      },
    ],
  });
  return path;
}

function legacy(name: string, calls: number, values: readonly number[], claimed = values.length): Buffer {
  const int = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    return bytes;
  };
  return Buffer.concat([int(1), int(name.length), Buffer.from(name), int(calls), int(claimed), floats(...values)]);
}

async function file(bytes: Uint8Array): Promise<string> {
  const path = join(folder, 'm.dat');
  await writeFile(path, bytes);
  return path;
}

describe('GGUF', () => {
  test('sums are divided by their count', async () => {
    const importance = await readImportance(await gguf([4], [2, 4, 10]));
    expect([...(importance.get('blk.0.attn_q.weight') ?? [])]).toEqual([0.5, 1, 2.5]);
  });

  test('what was never used counts alike', async () => {
    const importance = await readImportance(await gguf([0], [0, 0]));
    expect([...(importance.get('blk.0.attn_q.weight') ?? [])]).toEqual([1, 1]);
  });

  test('a model is no importance matrix', async () => {
    const path = join(folder, 'model.gguf');
    await writeGguf(path, {
      metadata: new Map(),
      tensors: [{ name: 'a.weight', type: F32, dimensions: [1], bytes: floats(1) }],
    });
    await expect(readImportance(path)).rejects.toThrow('no tensors that end in .in_sum2');
  });

  test('NaN is an error', async () => {
    await expect(readImportance(await gguf([1], [Number.NaN]))).rejects.toThrow('infinite value or NaN');
  });

  test.each([Number.NaN, Infinity])('a count of %s is an error, not "never used"', async (count) => {
    await expect(readImportance(await gguf([count], [2, 4]))).rejects.toThrow(
      'blk.0.attn_q.weight.counts holds an infinite value or NaN',
    );
  });

  test('a folder is none', async () => {
    await expect(readImportance(folder)).rejects.toThrow('it is not a file');
  });
});

describe('the older form', () => {
  test('values are divided by the calls', async () => {
    const importance = await readImportance(await file(legacy('blk.0.ffn_up.weight', 2, [1, 3])));
    expect([...(importance.get('blk.0.ffn_up.weight') ?? [])]).toEqual([0.5, 1.5]);
  });

  test.each([2 ** 31 - 1, -1, 0, 1_000])('%i values that are not there are an error', async (claimed) => {
    await expect(readImportance(await file(legacy('a', 1, [1, 2], claimed)))).rejects.toThrow(AppError);
  });

  test('a name that occurs twice is an error', async () => {
    const one = legacy('a', 1, [1]).subarray(4);
    const bytes = Buffer.concat([Buffer.from(Int32Array.of(2).buffer), one, one]);
    await expect(readImportance(await file(bytes))).rejects.toThrow('a occurs twice');
  });

  test('cut at every byte it is an error', async () => {
    const whole = legacy('blk.0.ffn_up.weight', 1, [1, 2, 3]);
    for (let length = 0; length < whole.length; length++)
      await expect(readImportance(await file(whole.subarray(0, length)))).rejects.toThrow(AppError);
  });
});
