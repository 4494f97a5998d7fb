import { describe, expect, test } from 'vitest';
import type { GgufValue } from '../../../src/models/gguf/metadata.ts';
import type { GgufHeader, GgufTensor } from '../../../src/models/gguf/read-header.ts';
import { tensorTypeNamed } from '../../../src/models/gguf/tensor-types.ts';
import { trafficOf } from '../../../src/models/gguf/traffic.ts';

/** Q8_0: 34 bytes for 32 values. */
function tensor(name: string, columns: number, rows: number): GgufTensor {
  const byteLength = (columns / 32) * 34 * rows;
  const type = tensorTypeNamed('Q8_0');
  const place = { path: '/m.gguf', rowBytes: byteLength / rows, offset: 0, byteLength };
  return { name, type, dimensions: [columns, rows], columns, rows, ...place };
}

function header(tensors: readonly GgufTensor[], numbers: Readonly<Record<string, number>> = {}): GgufHeader {
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: 'llama' }],
    ...Object.entries(numbers).map(([key, value]) => [`llama.${key}`, { type: 'u32', value }] as [string, GgufValue]),
  ]);
  const range = { start: 0, end: 0 };
  return {
    path: '/m.gguf',
    fileBytes: 0,
    version: 3,
    alignment: 32,
    metadata,
    arrayLengths: new Map(),
    valueOffsets: new Map(),
    metadataRange: range,
    dataOffset: 0,
    tensors,
  };
}

const EMBEDDING = tensor('token_embd.weight', 64, 1_000);
const LAYER = tensor('blk.0.ffn_up.weight', 64, 256);
const NORM = tensor('blk.0.attn_norm.weight', 64, 1);

describe('bytes of weights for one generated token', () => {
  test('with an output matrix of its own the embeddings are one row', () => {
    const output = tensor('output.weight', 64, 1_000);
    expect(trafficOf(header([EMBEDDING, LAYER, NORM, output]))).toMatchObject({
      weightBytesPerToken: 68 + 256 * 68 + 68 + 1_000 * 68,
      multipliedParametersPerToken: 64 * 256,
    });
  });

  test('tied embeddings are the output matrix, too: read as a whole', () => {
    expect(trafficOf(header([EMBEDDING, LAYER])).weightBytesPerToken).toBe(1_000 * 68 + 256 * 68);
  });

  test('of eight experts two are read', () => {
    const experts = tensor('blk.0.ffn_up_exps.weight', 64, 8 * 256);
    const router = tensor('blk.0.ffn_gate_inp.weight', 64, 8);
    const mixed = header([EMBEDDING, experts, router], { expert_count: 8, expert_used_count: 2 });
    expect(trafficOf(mixed)).toMatchObject({
      weightBytesPerToken: 1_000 * 68 + 2 * 256 * 68 + 8 * 68,
      multipliedParametersPerToken: 2 * 256 * 64 + 8 * 64,
    });
  });

  test('factors for positions are not counted', () => {
    expect(trafficOf(header([EMBEDDING, tensor('rope_freqs.weight', 32, 1)])).weightBytesPerToken).toBe(1_000 * 68);
  });
});

test('the KV cache: keys and values of every head of every layer', () => {
  const numbers = { block_count: 30, embedding_length: 576, 'attention.head_count': 9, 'attention.head_count_kv': 3 };
  // SmolLM2-135M: 3 heads of 64, keys and values, 30 layers.
  expect(trafficOf(header([EMBEDDING], numbers)).cacheValuesPerToken).toBe(30 * 3 * 2 * 64);
  expect(trafficOf(header([EMBEDDING])).cacheValuesPerToken).toBeNull();
});
