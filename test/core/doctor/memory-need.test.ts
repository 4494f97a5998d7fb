import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { kvBytesPerToken, largestContext, memoryNeed } from '../../../src/core/doctor/memory-need.ts';
import { SHAPE } from './healthy.ts';

const SETTINGS = { microBatchTokens: 512, kvType: 'f16' } as const;

describe('KV cache', () => {
  // llama.cpp prints `KV self size = 1024.00 MiB` for Llama 3 8B with 8,192 tokens in f16.
  test('Llama 3 8B: 128 KiB for each token', () => {
    expect(kvBytesPerToken(SHAPE, 'f16')).toBe(128 * 1024);
    expect((kvBytesPerToken(SHAPE, 'f16') ?? 0) * 8_192).toBe(1_024 * 1024 ** 2);
  });

  // Llama 2 7B has no grouped heads: 32 of 128 values, 2 GiB for 4,096 tokens.
  test('without grouped heads four times as much', () => {
    const shape = { ...SHAPE, kvHeads: Array.from({ length: 32 }, () => 32) };
    expect((kvBytesPerToken(shape, 'f16') ?? 0) * 4_096).toBe(2 * 1024 ** 3);
  });

  test('types of the cache', () => {
    expect(kvBytesPerToken(SHAPE, 'f32')).toBe(256 * 1024);
    expect(kvBytesPerToken(SHAPE, 'q8_0')).toBe(32 * 8 * 256 * (34 / 32));
  });

  test('heads of key and value that differ in length, layers without attention', () => {
    expect(kvBytesPerToken({ ...SHAPE, kvHeads: [0, 0, 4], keyLength: 192, valueLength: 128 }, 'f16')).toBe(
      4 * 320 * 2,
    );
  });

  test('a state that does not grow, and a header that does not tell', () => {
    expect(kvBytesPerToken({ ...SHAPE, architecture: 'mamba2', kvHeads: null }, 'f16')).toBe(0);
    expect(kvBytesPerToken({ ...SHAPE, architecture: 'rwkv7', kvHeads: null }, 'f16')).toBe(0);
    expect(kvBytesPerToken({ ...SHAPE, kvHeads: null }, 'f16')).toBeNull();
  });
});

describe('the whole', () => {
  test('SmolLM2-135M: near the measured peak of 363 MB', () => {
    const shape = {
      ...SHAPE,
      weightBytes: 89_940_000,
      embedding: 576,
      feedForward: 1_536,
      vocabulary: 49_152,
      kvHeads: Array.from({ length: 30 }, () => 3),
      keyLength: 64,
      valueLength: 64,
    };
    const need = memoryNeed(shape, { ...SETTINGS, contextTokens: 768 });
    expect(need?.total).toBeGreaterThan(340e6);
    expect(need?.total).toBeLessThan(390e6);
  });

  // llama.cpp prints `CPU compute buffer size = 258.50 MiB` for Llama 3 8B with a micro batch of 512.
  test('the buffer for the logits of one micro batch', () => {
    const small = memoryNeed(SHAPE, { ...SETTINGS, contextTokens: 256 });
    expect(small?.compute).toBe(258.5 * 1024 ** 2 + 6 * 512 * 256);
  });

  test('or for the feed-forward layer, where that is wider', () => {
    const need = memoryNeed({ ...SHAPE, vocabulary: 1_000 }, { ...SETTINGS, contextTokens: 256 });
    expect(need?.compute).toBe(4 * 512 * (2 * 14_336 + 4_096) + 6 * 512 * 256);
  });

  test('an upper bound says so', () => {
    expect(memoryNeed(SHAPE, { ...SETTINGS, contextTokens: 256 })?.isUpperBound).toBe(false);
    expect(memoryNeed({ ...SHAPE, kvIsUpperBound: true }, { ...SETTINGS, contextTokens: 256 })?.isUpperBound).toBe(
      true,
    );
  });
});

describe('the largest context', () => {
  test('it fits, and one step more does not', () => {
    fc.assert(
      fc.property(fc.integer({ min: 6e9, max: 60e9 }), (availableBytes) => {
        const context = largestContext(SHAPE, { availableBytes, contextTokensMax: 10_000_000 }, SETTINGS) ?? -1;
        const needFor = (contextTokens: number): number =>
          memoryNeed(SHAPE, { ...SETTINGS, contextTokens })?.total ?? Infinity;
        expect(context % 256).toBe(0);
        expect(needFor(context)).toBeLessThanOrEqual(availableBytes);
        expect(needFor(context + 256)).toBeGreaterThan(availableBytes);
      }),
      { numRuns: 100 },
    );
  });

  test('never more than the model has, never less than nothing', () => {
    expect(largestContext(SHAPE, { availableBytes: 60e9, contextTokensMax: 8_192 }, SETTINGS)).toBe(8_192);
    expect(largestContext(SHAPE, { availableBytes: 1e9, contextTokensMax: 8_192 }, SETTINGS)).toBe(0);
    expect(
      largestContext({ ...SHAPE, kvHeads: null }, { availableBytes: 1e9, contextTokensMax: 8_192 }, SETTINGS),
    ).toBeNull();
  });
});
