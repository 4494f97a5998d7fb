/** Damaged and hostile files: a typed error or a result, quickly, in little memory, never a crash. */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AppError } from '../../../src/core/errors.ts';
import { fingerprintModel } from '../../../src/models/fingerprint/fingerprint.ts';
import { planQuantize } from '../../../src/models/mlx/quantize-plan.ts';
import { repackToMlx } from '../../../src/models/mlx/repack.ts';
import { openConversionSource } from '../../../src/models/mlx/source.ts';
import { summarizeFolder } from '../../../src/models/mlx/summary.ts';
import { compareWeights } from '../../../src/models/verify/compare-weights.ts';
import { fixturePath, temporaryFolder } from '../fixture.ts';
import { safetensorsFile } from '../model-folder.ts';

const LONGEST_MS = 1_000;
const MEMORY_BYTES_MAX = 200 << 20;
const HOSTILE_NUMBERS = [
  '-1',
  '0',
  '1e308',
  '9007199254740993',
  '18446744073709551616',
  '9223372036854775808',
  'null',
  '1.5',
  '"8"',
  '[]',
];

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

  it('survive 300 folders with changed numbers, bytes and lengths', { timeout: 60_000 }, async () => {
    const random = generator(1);
    const memoryBefore = process.memoryUsage.rss();
    const seen = new Map<string, number>();
    for (let i = 0; i < 300; i++) {
      const kind = i % 6;
      const replaced = (text: string): string => withHostileNumber(text, random);
      const flipped = Buffer.from(weights);
      flipped[random(8 + headerBytes)]! ^= 1 << random(8);
      const codes = await mutated(
        kind === 0
          ? { weights: withHeader(replaced(header)) }
          : kind === 1
            ? { config: replaced(config) }
            : kind === 2
              ? { weights: weights.subarray(0, random(weights.length)) }
              : kind === 3
                ? { weights: flipped }
                : kind === 4
                  ? { index: withHostileText(index, random) }
                  : { config: config.slice(0, random(config.length)) },
      );
      for (const code of codes) seen.set(String(code), (seen.get(String(code)) ?? 0) + 1);
    }
    const codes = [...seen.keys()].toSorted();
    expect(['model-invalid', 'model-not-found', 'model-unsupported', 'null']).toEqual(expect.arrayContaining(codes));
    expect(seen.get('model-invalid')).toBeGreaterThan(150);
    expect(process.memoryUsage.rss() - memoryBefore).toBeLessThan(MEMORY_BYTES_MAX);
  });

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
    };
    for (const [name, files] of Object.entries(cases)) {
      const [fingerprint] = await mutated(files);
      expect([name, fingerprint]).toEqual([name, 'model-invalid']);
    }
  });

  it('survive 200 damaged GGUF files', { timeout: 60_000 }, async () => {
    const random = generator(2);
    const bytes = await readFile(fixturePath('tiny-llama.gguf'));
    const path = join(folder, 'mutated.gguf');
    for (let i = 0; i < 200; i++) {
      const copy = Buffer.from(bytes);
      for (let n = 0; n < 1 + random(4); n++) copy.writeBigUInt64LE(2n ** BigInt(random(64)) - 1n, random(2_800));
      await writeFile(path, i % 4 === 0 ? bytes.subarray(0, random(bytes.length)) : copy);
      const startedMs = performance.now();
      for (const read of [fingerprintModel, openConversionSource]) {
        try {
          await read(path);
        } catch (error) {
          if (!(error instanceof AppError)) throw error;
        }
      }
      expect(performance.now() - startedMs).toBeLessThan(LONGEST_MS);
    }
    await copyFile(fixturePath('tiny-llama.gguf'), path);
    expect((await fingerprintModel(path)).tensors.length).toBeGreaterThan(0);
  });
});

/** Numbers from 0 to below `limit`, the same in every run. */
function generator(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor(((state >>> 8) / 2 ** 24) * limit);
  };
}

function withHostileNumber(text: string, random: (limit: number) => number): string {
  const numbers = [...text.matchAll(/(?<=[[:,\s])\d+/g)];
  const chosen = numbers[random(numbers.length)];
  if (chosen === undefined) return text;
  return (
    text.slice(0, chosen.index) +
    HOSTILE_NUMBERS[random(HOSTILE_NUMBERS.length)] +
    text.slice(chosen.index + chosen[0].length)
  );
}

function withHostileText(text: string, random: (limit: number) => number): string {
  const places = [...text.matchAll(/"model\.safetensors"/g)];
  const chosen = places[random(places.length)];
  const hostile = [
    '"../../x.safetensors"',
    '""',
    '"/etc/passwd"',
    '1',
    '{}',
    '"C:\\\\x"',
    '"model.safetensors\\u0000"',
  ];
  if (chosen === undefined) return text;
  return text.slice(0, chosen.index) + hostile[random(hostile.length)] + text.slice(chosen.index + chosen[0].length);
}
