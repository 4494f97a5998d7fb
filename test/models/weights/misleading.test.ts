/** Files that were made to mislead: a typed error, quickly. Thousands of random ones: test/models/damage. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AppError } from '../../../src/core/errors.ts';
import { fingerprintModel } from '../../../src/models/fingerprint/fingerprint.ts';
import { planQuantize } from '../../../src/models/mlx/quantize-plan.ts';
import { repackToMlx } from '../../../src/models/mlx/repack.ts';
import { openConversionSource } from '../../../src/models/mlx/source.ts';
import { summarizeFolder } from '../../../src/models/mlx/summary.ts';
import { compareWeights } from '../../../src/models/verify/compare-weights.ts';
import { modelFacts } from '../../../src/models/gguf/model-facts.ts';
import { failure, fixturePath, temporaryFolder, writeModel } from '../fixture.ts';
import { safetensorsFile } from '../model-folder.ts';

const LONGEST_MS = 1_000;

describe('readers of models', async () => {
  const folder = await temporaryFolder();
  const original = join(folder, 'original');
  await repackToMlx(fixturePath('tiny-qwen2.gguf'), original, { scales: 'f16' });
  const weights = await readFile(join(original, 'model.safetensors'));
  const config = await readFile(join(original, 'config.json'), 'utf8');
  const index = await readFile(join(original, 'model.safetensors.index.json'), 'utf8');
  const headerBytes = Number(weights.readBigUInt64LE());
  const header = weights.toString('utf8', 8, 8 + headerBytes);

  /** The fingerprint, and in turns one of the other readers. @returns codes of the errors */
  let turn = 0;
  async function readAll(path: string): Promise<(string | null)[]> {
    const codes: (string | null)[] = [];
    const others = [
      () => summarizeFolder(path),
      () => compareWeights(original, path, { relativeRmseMax: 0 }),
      async () =>
        planQuantize(await openConversionSource(path), {
          affine: { bits: 4, groupSize: 32, recipe: null },
          dtype: null,
          rounding: 'cpu',
        }),
    ];
    for (const reader of [() => fingerprintModel(path), others[turn++ % others.length]!]) {
      const startedMs = performance.now();
      try {
        await reader();
        codes.push(null);
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        codes.push(error.code);
      }
      expect(performance.now() - startedMs).toBeLessThan(LONGEST_MS);
    }
    return codes;
  }

  async function mutated(files: { weights?: Uint8Array; config?: string; index?: string }): Promise<(string | null)[]> {
    const path = join(folder, 'mutated');
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'model.safetensors'), files.weights ?? weights);
    await writeFile(join(path, 'config.json'), files.config ?? config);
    await writeFile(join(path, 'model.safetensors.index.json'), files.index ?? index);
    return readAll(path);
  }

  const withHeader = (json: string): Buffer => {
    const length = Buffer.alloc(8);
    const text = Buffer.from(json);
    length.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([length, text, weights.subarray(8 + headerBytes)]);
  };

  it('refuse what was made to mislead', async () => {
    const tensor = { name: 'a.weight', dtype: 'F32', shape: [2], bytes: new Uint8Array(8) };
    const huge = Buffer.alloc(8);
    huge.writeBigUInt64LE(2n ** 63n);
    const cases: Record<string, Parameters<typeof mutated>[0]> = {
      'a header of 2^63 bytes': { weights: Buffer.concat([huge, weights.subarray(8)]) },
      'a shape whose product is 2^64': {
        weights: withHeader(header.replace(/"shape":\[\d+,\d+\]/, '"shape":[4294967296,4294967296]')),
      },
      'an index that points outside': { index: index.replaceAll('model.safetensors', '../../../etc/passwd') },
      'a tensor of the index that is nowhere': { index: index.replace('model.norm.weight', 'model.morn.weight') },
      'a group size of 2^31': { config: config.replace(/"group_size": 32/g, '"group_size": 2147483648') },
      'nested a hundred thousand deep': { config: `{"quantization":${'['.repeat(100_000)}${']'.repeat(100_000)}}` },
      'another tensor entirely': { weights: safetensorsFile([tensor]) },
      'scales of nothing': {
        weights: withHeader(header.replace('model.norm.weight', 'model.norm.scales')),
        index: '{"weight_map":{}}',
      },
      'biases of nothing': {
        weights: withHeader(header.replace('model.norm.weight', 'model.norm.biases')),
        index: '{"weight_map":{}}',
      },
    };
    for (const [name, files] of Object.entries(cases)) {
      const [fingerprint] = await mutated(files);
      expect([name, fingerprint]).toEqual([name, 'model-invalid']);
    }
  });

  it.each([
    ['billions of layers', 'qwen2.block_count', 2 ** 32 - 1, 'announces 4294967295 layers but'],
    ['a rotary base of NaN', 'qwen2.rope.freq_base', Number.NaN, 'rotary base NaN cannot be'],
    ['norms with infinity', 'qwen2.attention.layer_norm_rms_epsilon', Infinity, 'norms with Infinity'],
    ['one file of two', 'split.count', 2, 'is a part of a model of 2 files, but not named as the first'],
  ])('refuse a GGUF with %s', async (_, key, value, message) => {
    const path = join(folder, 'hostile.gguf');
    const type = Number.isInteger(value) ? 'u32' : 'f32';
    await writeModel(path, { architecture: 'qwen2', metadata: { [key]: { type, value } } });
    const startedMs = performance.now();
    expect((await failure(fingerprintModel(path))).message).toContain(message);
    expect(performance.now() - startedMs).toBeLessThan(LONGEST_MS);
  });

  it.each([Number.NaN, -5, 0.5])('take a context of %d for one that is not told', async (value) => {
    const path = join(folder, 'hostile.gguf');
    await writeModel(path, { metadata: { 'llama.context_length': { type: 'f32', value } } });
    expect((await modelFacts(path)).contextTokens).toBe(0);
  });
});
