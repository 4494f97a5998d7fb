import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GgufValue } from '../../../src/models/gguf/metadata.ts';
import { readGgufHeader, type GgufHeader } from '../../../src/models/gguf/read-header.ts';
import { memoryBytes, summarizeGguf } from '../../../src/models/gguf/summary.ts';
import { failure, fixturePath, patched, temporaryFolder, writeModel } from '../fixture.ts';

describe('summarizeGguf', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'm.gguf');
  const count = (value: number): GgufValue => ({ type: 'u32', value });
  const counts = (items: number[]): GgufValue => ({ type: 'array', itemType: 'u32', items });
  const summary = async (metadata: Record<string, GgufValue | null>) => {
    await writeModel(path, { metadata });
    return summarizeGguf(path);
  };

  it('describes a model', async () => {
    const {
      weightBytes,
      tensorTypes,
      layerCount,
      tokenizer,
      preTokenizer,
      license,
      tiedEmbeddings,
      cacheBytesPerToken,
    } = await summarizeGguf(fixturePath('tiny-llama.gguf'));
    expect({ weightBytes, layerCount, tokenizer, preTokenizer, license, tiedEmbeddings, cacheBytesPerToken })
      .toMatchInlineSnapshot(`
      {
        "cacheBytesPerToken": 128,
        "layerCount": 1,
        "license": null,
        "preTokenizer": "smollm",
        "tiedEmbeddings": true,
        "tokenizer": "gpt2",
        "weightBytes": 32288,
      }
    `);
    expect(tensorTypes.reduce((sum, { byteLength }) => sum + byteLength, 0)).toBe(weightBytes);
    expect(tensorTypes.map(({ byteLength }) => byteLength)).toEqual(
      tensorTypes.map(({ byteLength }) => byteLength).toSorted((a, b) => b - a),
    );
  });

  it('counts keys and values of every layer in f16', async () => {
    // 1 layer, 1 key-value head of 16: (16 + 16) values of 2 bytes.
    const { cacheBytesPerToken } = await summary({});
    expect(cacheBytesPerToken).toBe(64);
    expect(memoryBytes(await summary({}), 100).cache).toBe(6_400);
    const wide = {
      'llama.block_count': count(3),
      'llama.attention.key_length': count(24),
      'llama.attention.value_length': count(8),
    };
    expect((await summary(wide)).cacheBytesPerToken).toBe(3 * 32 * 2);
    expect((await summary({ 'llama.attention.head_count_kv': null })).cacheBytesPerToken).toBe(128);
    expect(
      (await summary({ 'llama.block_count': count(3), 'llama.attention.head_count_kv': counts([1, 0, 2]) }))
        .cacheBytesPerToken,
    ).toBe(3 * 32 * 2);
  });

  it.each<[string, Record<string, GgufValue | null>]>([
    ['a recurrent state', { 'llama.ssm.state_size': count(16) }],
    ['a compressed cache', { 'llama.attention.kv_lora_rank': count(512) }],
    ['no layer count', { 'llama.block_count': null }],
    ['an absurd layer count', { 'llama.block_count': count(4e9) }],
    ['no heads', { 'llama.attention.head_count': count(0) }],
  ])('says nothing about the cache with %s', async (_, metadata) => {
    const found = await summary(metadata);
    expect(found.cacheBytesPerToken).toBeNull();
    expect(memoryBytes(found, 10)).toEqual({ weights: found.weightBytes, cache: null });
  });
});

it('reads a model inside another file as if it were alone', async () => {
  const folder = await temporaryFolder();
  const { appendFile, readFile, writeFile } = await import('node:fs/promises');
  const outer = join(folder, 'outer.bin');
  const tiny = await readFile(fixturePath('tiny-llama.gguf'));
  await writeFile(outer, Buffer.alloc(12_345, 7));
  await appendFile(outer, tiny);
  await appendFile(outer, Buffer.alloc(999, 7));
  const inside = await readGgufHeader(outer, { start: 12_345, byteLength: tiny.length, name: 'tiny' });
  const alone = await readGgufHeader(fixturePath('tiny-llama.gguf'));
  const plain = (header: GgufHeader): unknown => ({
    ...header,
    path: '',
    tensors: header.tensors.map((tensor) => ({ ...tensor, path: '' })),
  });
  expect(plain(inside)).toEqual(plain(alone));
  await expect(readGgufHeader(outer, { start: 12_345, byteLength: tiny.length - 64, name: 'tiny' })).rejects.toThrow(
    'outer.bin:tiny is incomplete',
  );
  await expect(readGgufHeader(outer, { start: 99_999_999, byteLength: 5, name: 'tiny' })).rejects.toThrow(
    'a header has at least 24',
  );
});

it('steps over long arrays, and still sees everything behind them', async () => {
  const whole = await readGgufHeader(fixturePath('tiny-llama.gguf'));
  const lean = await readGgufHeader(fixturePath('tiny-llama.gguf'), undefined, 3);
  expect(lean.tensors).toEqual(whole.tensors);
  expect(lean.arrayLengths).toEqual(whole.arrayLengths);
  expect(lean.arrayLengths.get('tokenizer.ggml.tokens')).toBe(40);
  const left = [...whole.metadata.keys()].filter((key) => !lean.metadata.has(key));
  expect(left).toEqual([...whole.arrayLengths].filter(([, length]) => length > 3).map(([key]) => key));
  expect(left).toContain('tokenizer.ggml.tokens');
});

it('refuses a header that is cut inside an array that it steps over', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'cut.gguf');
  const { dataOffset, valueOffsets } = await readGgufHeader(fixturePath('tiny-llama.gguf'));
  for (let length = valueOffsets.get('tokenizer.ggml.tokens')!; length < dataOffset; length += 53) {
    await patched(fixturePath('tiny-llama.gguf'), path, (bytes) => bytes.subarray(0, length));
    expect((await failure(readGgufHeader(path, undefined, 3))).code).toBe('model-invalid');
  }
});
