import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createRandom, normal } from '../../../src/core/random.ts';
import { planFromFolder } from '../../../src/models/convert/plan.ts';
import { storedFingerprint } from '../../../src/models/fingerprint/stored.ts';
import { dequantize } from '../../../src/models/gguf/dequantize.ts';
import { modelFacts } from '../../../src/models/gguf/model-facts.ts';
import { numbersOf, stringsOf } from '../../../src/models/gguf/metadata.ts';
import { decodeMetadata, readGgufHeader, type GgufHeader } from '../../../src/models/gguf/read-header.ts';
import { tensorTypeNamed } from '../../../src/models/gguf/tensor-types.ts';
import { halfToFloat } from '../../../src/models/half.ts';
import { repackToMlx } from '../../../src/models/mlx/repack.ts';
import { makeTwin, requireRoom } from '../../../src/models/synthesize/make-twin.ts';
import { planTwin, type TwinPlan } from '../../../src/models/synthesize/plan-twin.ts';
import { presetNamed } from '../../../src/models/synthesize/presets.ts';
import { standInVocabulary } from '../../../src/models/synthesize/vocabulary.ts';
import { writeTwin } from '../../../src/models/synthesize/write-twin.ts';
import { layoutGguf, encodeMetadata } from '../../../src/models/gguf/write.ts';
import { loadTokenizer } from '../../../src/models/tokenizer/load-tokenizer.ts';
import { resolveModel } from '../../../src/models/sources/resolve-model.ts';
import { failure, fixturePath, temporaryFolder, writeModel } from '../fixture.ts';

const folder = await temporaryFolder();
const SIZE = 3_000;

/** One matrix of 64 x 4,096 weights in a file of its own. */
async function bytesOfMatrix(type: string, seed = 1, name = 'blk.0.attn_q.weight'): Promise<Uint8Array> {
  const tensors = [{ name, dimensions: [4_096, 64], kind: 'matrix' as const, type: tensorTypeNamed(type) }];
  const file = { metadata: new Map(), tensors, alignment: 32, seed };
  const layout = layoutGguf(encodeMetadata(file.metadata), tensors);
  const path = join(folder, `${type}-${seed}-${name}.gguf`);
  await writeTwin(path, { file, layout }, {});
  const whole = await readFile(path);
  return new Uint8Array(whole.subarray(layout.offsets[0]));
}

function statistics(values: readonly number[] | Float32Array): { mean: number; deviation: number; largest: number } {
  const list = Array.from(values);
  const mean = list.reduce((sum, value) => sum + value, 0) / list.length;
  const deviation = Math.sqrt(list.reduce((sum, value) => sum + (value - mean) ** 2, 0) / list.length);
  return { mean, deviation, largest: list.reduce((most, value) => Math.max(most, Math.abs(value)), 0) };
}

const half = (bytes: Uint8Array, at: number): number => halfToFloat(bytes[at]! | (bytes[at + 1]! << 8));
const signed = (byte: number): number => (byte << 24) >> 24;

/** The block formats as ggml's dequantize_row_* define them, written down once more; [scale fields, weights]. */
const SUPER_BLOCKS: Readonly<Record<string, (block: Uint8Array) => { scales: number[]; weights: number[] }>> = {
  Q2_K: (b) => ({
    scales: [half(b, 80), half(b, 82)],
    weights: Array.from({ length: 256 }, (_, i) => {
      const part = Math.floor(i / 128);
      const within = i % 128;
      const code = (b[16 + part * 32 + (within % 32)]! >>> (2 * Math.floor(within / 32))) & 3;
      const pair = b[Math.floor(i / 16)]!;
      return half(b, 80) * (pair & 15) * code - half(b, 82) * (pair >>> 4);
    }),
  }),
  Q4_K: (b) => ({ scales: [half(b, 0), half(b, 2)], weights: sixBit(b, 16, null) }),
  Q5_K: (b) => ({ scales: [half(b, 0), half(b, 2)], weights: sixBit(b, 48, 16) }),
  Q6_K: (b) => ({
    scales: [half(b, 208)],
    weights: Array.from({ length: 256 }, (_, i) => {
      const part = Math.floor(i / 128);
      const within = i % 128;
      const row = Math.floor(within / 32);
      const column = within % 32;
      const low = (b[part * 64 + (row % 2) * 32 + column]! >>> (row < 2 ? 0 : 4)) & 15;
      const high = (b[128 + part * 32 + column]! >>> (2 * row)) & 3;
      return half(b, 208) * signed(b[192 + Math.floor(i / 16)]!) * ((low | (high << 4)) - 32);
    }),
  }),
};

function sixBit(b: Uint8Array, codesAt: number, highAt: number | null): number[] {
  const pair = (j: number): [number, number] =>
    j < 4
      ? [b[4 + j]! & 63, b[8 + j]! & 63]
      : [(b[8 + j]! & 15) | ((b[j]! >>> 6) << 4), (b[8 + j]! >>> 4) | ((b[4 + j]! >>> 6) << 4)];
  return Array.from({ length: 256 }, (_, i) => {
    const group = Math.floor(i / 32);
    const byte = b[codesAt + Math.floor(group / 2) * 32 + (i % 32)]!;
    const high = highAt === null ? 0 : ((b[highAt + (i % 32)]! >>> group) & 1) << 4;
    const code = ((byte >>> (group % 2 === 0 ? 0 : 4)) & 15) | high;
    const [scale, minimum] = pair(group);
    return half(b, 0) * scale * code - half(b, 2) * minimum;
  });
}

const HALF_NORMAL_MIN = 2 ** -14;

describe('weights', () => {
  test.each(['F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1'])(
    '%s: mean 0, deviation 0.02, nothing infinite',
    async (name) => {
      const type = tensorTypeNamed(name);
      const out = new Float32Array(64 * 4_096);
      dequantize(type, await bytesOfMatrix(name), { out, values: out.length });
      const { mean, deviation, largest } = statistics(out);
      expect(Math.abs(mean)).toBeLessThan(5e-4);
      expect(deviation).toBeGreaterThan(0.018);
      expect(deviation).toBeLessThan(0.022);
      expect(largest).toBeLessThan(0.12);
    },
  );

  test.each(Object.keys(SUPER_BLOCKS))('%s: mean 0, deviation 0.02, no scale is a denormal number', async (name) => {
    const type = tensorTypeNamed(name);
    const bytes = await bytesOfMatrix(name);
    const blocks = Array.from({ length: 200 }, (_, i) =>
      SUPER_BLOCKS[name]!(bytes.subarray(i * type.blockBytes, (i + 1) * type.blockBytes)),
    );
    expect(Math.min(...blocks.flatMap(({ scales }) => scales))).toBeGreaterThan(HALF_NORMAL_MIN);
    const { mean, deviation } = statistics(blocks.flatMap(({ weights }) => weights));
    expect(Math.abs(mean)).toBeLessThan(1e-3);
    expect(deviation).toBeGreaterThan(0.017);
    expect(deviation).toBeLessThan(0.023);
  });

  test('F16 has no denormal numbers, Q8_0 no -128', async () => {
    const halves = new Uint16Array((await bytesOfMatrix('F16')).buffer);
    expect(halves.every((bits) => (bits & 0x7c00) !== 0)).toBe(true);
    const eight = await bytesOfMatrix('Q8_0');
    expect(eight.every((byte, i) => i % 34 < 2 || byte !== 0x80)).toBe(true);
  });

  test('the seed decides the bytes, and no two pages of two matrices are equal', async () => {
    const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
    const first = await bytesOfMatrix('Q4_0', 7);
    expect(sha(first)).toMatchInlineSnapshot(`"dd2a99fcb5a3e52233ae5634321af7c75e6702afecc9e00aedc7a1110592f726"`);
    expect(sha(await bytesOfMatrix('Q4_0', 8))).not.toBe(sha(first));
    // Larger than the ring of blocks that they are written from: 2 x 9.4 MB.
    for (const type of ['Q4_0', 'Q4_K', 'F16']) {
      const path = join(folder, `two-${type}.gguf`);
      const matrix = { dimensions: [4_096, 4_096], kind: 'matrix' as const, type: tensorTypeNamed(type) };
      const tensors = ['a.weight', 'b.weight'].map((name) => ({ ...matrix, name }));
      const file = { metadata: new Map(), tensors, alignment: 32, seed: 7 };
      await writeTwin(path, { file, layout: layoutGguf(encodeMetadata(file.metadata), tensors) }, {});
      const whole = await readFile(path);
      const count = Math.floor(whole.length / 4_096);
      const pages = Array.from({ length: count }, (_, i) => sha(whole.subarray(i * 4_096, (i + 1) * 4_096)));
      expect(new Set(pages).size).toBe(count);
    }
  });
});

describe('attention', () => {
  const wide = { hidden_size: 256, intermediate_size: 256, num_attention_heads: 4 };

  test('scores spread as those of trained models: half of the probabilities are below the smallest normal f16', async () => {
    const path = join(folder, 'scores.gguf');
    await makeTwin(await tinyTwin(await configFile(wide), { preset: presetNamed('Q8_0') }), path);
    const { tensors } = await readGgufHeader(path);
    const whole = await readFile(path);
    const weights = (name: string): Float32Array => {
      const { type, offset, byteLength, dimensions } = tensors.find((tensor) => tensor.name === name)!;
      const out = new Float32Array(dimensions.reduce((product, size) => product * size, 1));
      // A copy: a view of floats needs an aligned start.
      dequantize(type, new Uint8Array(whole.subarray(offset, offset + byteLength)), { out, values: out.length });
      return out;
    };
    const [norm, queries, keys] = ['attn_norm', 'attn_q', 'attn_k'].map((name) => weights(`blk.1.${name}.weight`));
    const random = createRandom('scores', 1);
    const [size, head] = [256, 64];
    const project = (matrix: Float32Array): number[] => {
      const input = Array.from({ length: size }, (_, i) => normal(random) * norm![i]!);
      return Array.from({ length: head }, (_, row) =>
        input.reduce((sum, value, column) => sum + value * matrix[row * size + column]!, 0),
      );
    };
    const positions = Array.from({ length: 512 }, () => project(keys!));
    let [small, spread] = [0, 0];
    for (let sample = 0; sample < 20; sample++) {
      const query = project(queries!);
      const scores = positions.map(
        (key) => key.reduce((sum, value, i) => sum + value * query[i]!, 0) / Math.sqrt(head),
      );
      const sum = scores.reduce((total, score) => total + Math.exp(score), 0);
      small += scores.filter((score) => Math.exp(score) / sum < 2 ** -14).length / scores.length / 20;
      spread += statistics(scores).deviation / 20;
    }
    // SmolLM2 on 512 tokens of prose: 2.3 and 52%. Plain random weights: 0.2 and none.
    expect(spread).toBeGreaterThan(2.2);
    expect(spread).toBeLessThan(3.2);
    expect(small).toBeGreaterThan(0.4);
    expect(small).toBeLessThan(0.65);
  });

  test('with norms of query and key, these set the spread, and nothing else does', async () => {
    const config = await configFile({ ...wide, model_type: 'qwen3', head_dim: 64, num_key_value_heads: 4 });
    const centres = (await tinyTwin(config)).file.tensors
      .filter(({ kind, name }) => kind === 'norm' && name.startsWith('blk.0.'))
      .map(({ name, centre }) => [name, centre]);
    expect(Object.fromEntries(centres)).toEqual({
      'blk.0.attn_norm.weight': 1,
      'blk.0.ffn_norm.weight': 1,
      'blk.0.attn_q_norm.weight': expect.closeTo(Math.sqrt(2.7), 9),
      'blk.0.attn_k_norm.weight': expect.closeTo(Math.sqrt(2.7), 9),
    });
  });
});

describe('the stand-in vocabulary', () => {
  test('has exactly the size, without a token twice', () => {
    for (const size of [SIZE, 32_064, 49_152, 128_256, 262_144]) {
      const items = stringsOf(decodeMetadata(standInVocabulary(size).entries), 'tokenizer.ggml.tokens') ?? [];
      expect([items.length, new Set(items).size]).toEqual([size, size]);
    }
  });

  test('its merges are in the order of its tokens, and two places are left for the special ones', () => {
    const entries = decodeMetadata(standInVocabulary(128_256).entries);
    const tokens = stringsOf(entries, 'tokenizer.ggml.tokens') ?? [];
    const merges = stringsOf(entries, 'tokenizer.ggml.merges') ?? [];
    expect(merges.map((merge) => merge.replace(' ', ''))).toEqual(tokens.slice(256, -2));
    expect([0, 52, 53, 1_404, 2_080, 2_081, 3_432].map((i) => merges[i])).toEqual([
      'Ġ e',
      'Ġe e',
      'Ġt e',
      'e e',
      'Ġee ee',
      'Ġte ee',
      'Ġee te',
    ]);
    const types = numbersOf(entries, 'tokenizer.ggml.token_type') ?? [];
    expect([types[128_253], types[128_254], types.length]).toEqual([1, 3, 128_256]);
    expect(tokens.slice(-2)).toEqual(['<|begin_of_text|>', '<|end_of_text|>']);
  });

  test('beyond 916,000 tokens there are no words left: the rest is unused', () => {
    const entries = decodeMetadata(standInVocabulary(1_000_000).entries);
    const merges = stringsOf(entries, 'tokenizer.ggml.merges') ?? [];
    expect(merges).toHaveLength(52 + 52 * 26 + 26 * 26 + 52 * 26 ** 3);
    expect(stringsOf(entries, 'tokenizer.ggml.tokens')?.at(-3)).toBe('[PAD999997]');
    expect(Array.from(numbersOf(entries, 'tokenizer.ggml.token_type') ?? []).slice(-3)).toEqual([5, 3, 3]);
  });

  test('too small a vocabulary is refused', () => {
    expect(() => standInVocabulary(100)).toThrow('a vocabulary of 100 tokens is too small for a stand-in');
  });
});

async function tinyTwin(id: string, changes: Partial<Parameters<typeof planTwin>[0]> = {}): Promise<TwinPlan> {
  return planTwin({ id, preset: presetNamed('Q4_0'), seed: 1, tokenizer: null, demonstrationModel: null, ...changes });
}

async function configFile(changes: Record<string, unknown> = {}): Promise<string> {
  const path = join(folder, `config-${JSON.stringify(changes).length}.json`);
  const shape = { num_hidden_layers: 2, hidden_size: 64, intermediate_size: 96, num_attention_heads: 4 };
  await writeFile(path, JSON.stringify({ model_type: 'llama', ...shape, vocab_size: SIZE, ...changes }));
  return path;
}

describe('tokenizer files beside a config.json', () => {
  test('are the vocabulary of the twin', async () => {
    const { tokenizer, standInBecause, file } = await tinyTwin(fixturePath('tokenizers/llama3'));
    expect([tokenizer, standInBecause]).toEqual([
      "the model's own, from its tokenizer files, pre-tokenizer llama-bpe by its rules",
      null,
    ]);
    const { metadata } = await readGgufHeader(fixturePath('tokenizers/llama3/reference.gguf'));
    const made = decodeMetadata(file.metadata);
    expect(made.get('tokenizer.ggml.tokens')).toEqual(metadata.get('tokenizer.ggml.tokens'));
    expect(made.get('tokenizer.ggml.merges')).toEqual(metadata.get('tokenizer.ggml.merges'));
  });
});

describe('a twin file', () => {
  test('is a GGUF that says what it is, with a tokenizer that works', async () => {
    const path = join(folder, 'tiny.gguf');
    await makeTwin(await tinyTwin(await configFile()), path);
    const facts = await modelFacts(path);
    expect(facts).toMatchObject({ architecture: 'llama', vocabularySize: SIZE, quantisation: 'Q4_0' });
    expect(facts.twinOf).toBe(folder.split('/').at(-1));
    const tokenizer = await loadTokenizer(path);
    const text = 'The quick brown fox; 42 jumps.\n';
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    expect(tokenizer.encode(text).length).toBeLessThan(text.length);
  });

  test('an existing file is never replaced, and an interrupted one leaves nothing', async () => {
    const plan = await tinyTwin(await configFile());
    const path = join(folder, 'kept.gguf');
    await makeTwin(plan, path);
    expect(await failure(makeTwin(plan, path))).toMatchObject({
      code: 'conversion-failed',
      message: `${path} exists already`,
    });
    const signal = AbortSignal.abort();
    await expect(makeTwin(plan, join(folder, 'gone.gguf'), { signal })).rejects.toThrow('aborted');
    expect(readdirSync(folder).filter((name) => name.startsWith('gone'))).toEqual([]);
  });

  test('an interrupt in the middle of the writing ends it and leaves nothing', async () => {
    const matrix = { dimensions: [4_096, 4_096], kind: 'matrix' as const, type: tensorTypeNamed('F16') };
    const tensors = ['a.weight', 'b.weight', 'c.weight'].map((name) => ({ ...matrix, name }));
    const file = { metadata: new Map(), tensors, alignment: 32, seed: 1 };
    const layout = layoutGguf(encodeMetadata(file.metadata), tensors);
    const stop = new AbortController();
    let writtenBytes = 0;
    const onProgress = ({ doneBytes }: { doneBytes: number }): void => {
      writtenBytes = doneBytes;
      if (doneBytes > 1e6) stop.abort();
    };
    const options = { signal: stop.signal, onProgress };
    await expect(writeTwin(join(folder, 'half.gguf'), { file, layout }, options)).rejects.toThrow('aborted');
    expect(writtenBytes).toBeLessThan(layout.totalBytes);
    expect(readdirSync(folder).filter((name) => name.startsWith('half'))).toEqual([]);
  });

  test('room is looked for before anything is written', async () => {
    const { code, message } = await failure(requireRoom(join(folder, 'huge.gguf'), 2 ** 60));
    expect(code).toBe('conversion-failed');
    expect(message).toMatch(/^the twin needs 1152921504607 MB, \d+ MB are free in /);
  });

  test('the vocabulary of another file is filled up, a larger one refused', async () => {
    const donor = join(folder, 'donor.gguf');
    await makeTwin(await tinyTwin(await configFile()), donor);
    const wide = await tinyTwin(await configFile({ vocab_size: SIZE + 64 }), { tokenizer: donor });
    expect(wide.tokenizer).toContain('64 unused tokens added');
    const path = join(folder, 'wide.gguf');
    await makeTwin(wide, path);
    expect((await modelFacts(path)).vocabularySize).toBe(SIZE + 64);
    const narrow = await failure(tinyTwin(await configFile({ vocab_size: SIZE - 64 }), { tokenizer: donor }));
    expect(narrow.message).toContain(`has ${SIZE} tokens, the model's vocabulary ${SIZE - 64}`);
  });

  test('of a mixture of experts or an unknown type is refused', async () => {
    const experts = join(folder, 'experts.gguf');
    await writeModel(experts, { metadata: { 'llama.expert_count': { type: 'u32', value: 8 } } });
    expect((await failure(planTwin(await ask(experts)))).message).toContain('is a mixture of experts');
    const other = join(folder, 'other.gguf');
    await writeModel(other, { architecture: 'mamba' });
    expect((await failure(planTwin(await ask(other)))).message).toContain('of the architecture mamba');
    const codebooks = join(folder, 'codebooks.gguf');
    await writeModel(codebooks, { tensors: { 'blk.0.attn_q.weight': { type: 'IQ4_NL', shape: [32, 32] } } });
    const plan = await planTwin(await ask(codebooks));
    expect((await failure(makeTwin(plan, join(folder, 'none.gguf')))).message).toContain('it is IQ4_NL');
  });

  test('in Q4_0_L it has a lossless form in MLX, rotary scaling and all', async () => {
    const rope = { rope_type: 'llama3', factor: 32, original_max_position_embeddings: 8_192 };
    const config = await configFile({
      rope_scaling: rope,
      tie_word_embeddings: true,
      max_position_embeddings: 131_072,
    });
    const path = join(folder, 'lossless.gguf');
    await makeTwin(await tinyTwin(config, { preset: presetNamed('Q4_0_L') }), path);
    const { fingerprint, sha256 } = await storedFingerprint(path, join(folder, 'proofs'), {});
    const target = join(folder, 'lossless-mlx');
    await repackToMlx(path, target, { scales: 'f16', fingerprint: fingerprint ?? '', sourceSha256: sha256 ?? '' });
    expect((await storedFingerprint(target, join(folder, 'proofs'), {})).fingerprint).toBe(fingerprint);
    const made = JSON.parse(await readFile(join(target, 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(made['rope_scaling']).toMatchObject({ rope_type: 'llama3', factor: 32 });
    // Known as a twin there, too, and on the way back.
    const of = (await modelFacts(path)).twinOf;
    expect(made['runoff_twin']).toEqual({ of });
    const back = await planFromFolder(target, { quant: null, tokenizer: new Map(), importance: null });
    const { header } = back.parts[0]!.layout;
    expect(Buffer.from(header).includes(`runoff.twin.of`)).toBe(true);
  });

  test('as a model of a run it lies in the cache, made once', async () => {
    const spec = `twin:q8_0:${await configFile()}`;
    const options = { cacheFolder: join(folder, 'cache') };
    const first = await resolveModel(spec, options);
    expect(first.path).toMatch(/twins[\\/]v3-[0-9a-f]{8}[\\/].*-twin-q8_0\.gguf$/);
    expect(first.derivedBy).toContain('random weights (seed 1) in the shape of');
    expect((await resolveModel(spec, options)).path).toBe(first.path);
    expect(await failure(resolveModel('twin:q8_0', options))).toMatchObject({ code: 'usage' });
    expect(await failure(resolveModel('twin:q9:x', options))).toMatchObject({ code: 'usage' });
  });
});

const ask = async (id: string): Promise<Parameters<typeof planTwin>[0]> => ({
  id,
  preset: null,
  seed: 1,
  tokenizer: null,
  demonstrationModel: null,
});

/** Only where the demonstration model is in runoff's cache (runoff setup). */
const REAL = join(homedir(), '.cache/runoff/models/smollm2-135m-instruct-q4_0/SmolLM2-135M-Instruct.Q4_0.gguf');

describe.skipIf(!existsSync(REAL))('the twin of the demonstration model (needs it in the cache: runoff setup)', () => {
  const listing = ({ tensors }: GgufHeader): unknown[] =>
    tensors.map(({ name, type, dimensions, offset }, i) => [
      name,
      type.name,
      dimensions,
      offset - tensors[0]!.offset,
      i,
    ]);

  test('made from the file: the same tensors in the same places, the same metadata but for its label', async () => {
    const path = join(folder, 'smollm2.gguf');
    await makeTwin(await planTwin(await ask(REAL)), path);
    const [real, twin] = [await readGgufHeader(REAL), await readGgufHeader(path)];
    expect(listing(twin)).toEqual(listing(real));
    const different = [...twin.metadata.keys()].filter(
      (key) => JSON.stringify(twin.metadata.get(key)) !== JSON.stringify(real.metadata.get(key)),
    );
    expect(different).toEqual(['general.name', 'runoff.twin.of', 'runoff.twin.seed', 'runoff.twin.tokenizer']);
    expect([...real.metadata.keys()].filter((key) => !twin.metadata.has(key))).toEqual([]);
  }, 60_000);

  test('made from the catalogue: the same tensors and types', async () => {
    const { file } = await tinyTwin('smollm2-135m', { demonstrationModel: REAL });
    const real = await readGgufHeader(REAL);
    const sorted = (
      list: readonly { name: string; dimensions: readonly number[]; type: { name: string } }[],
    ): unknown[] => list.map(({ name, dimensions, type }) => `${name} ${dimensions.join('x')} ${type.name}`).toSorted();
    expect(sorted(file.tensors)).toEqual(sorted(real.tensors));
    const missing = [...real.metadata.keys()].filter((key) => !file.metadata.has(key) && !key.startsWith('general.'));
    expect(missing).toEqual([]);
    // The file stores float32.
    const text = (value: unknown): string =>
      JSON.stringify(value, (_, item: unknown) => (typeof item === 'number' ? Math.fround(item) : item));
    const made = decodeMetadata(file.metadata);
    const different = [...real.metadata].flatMap(([key, value]) =>
      key.startsWith('general.') || text(value) === text(made.get(key)) ? [] : [key],
    );
    expect(different).toEqual([]);
  });
});
