import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AppError } from '../../../src/core/errors.ts';
import { writeConverted } from '../../../src/models/convert/convert-to-gguf.ts';
import { planFromFolder } from '../../../src/models/convert/plan.ts';
import { planFromGguf } from '../../../src/models/convert/plan-from-gguf.ts';
import { llamaShapes } from '../llama-shapes.ts';
import { writeTinyModel, type TinyModel } from './tiny-models.ts';

const RUN = { libraryPath: null, importancePath: null, onProgress: () => {} } as const;
const TYPED = new Set(['model-invalid', 'model-unsupported', 'model-not-found', 'conversion-failed']);
const CASES = 400;
/** Bar: a second for each; the machine may be busy. */
const CASE_MS_MAX = 1_000;

const SMALL: TinyModel = {
  config: {
    architectures: ['LlamaForCausalLM'],
    vocab_size: 8,
    hidden_size: 32,
    intermediate_size: 32,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 1,
  },
  dtype: 'BF16',
  shards: 1,
  shapes: llamaShapes({ vocabulary: 8, hidden: 32, feed: 32, layers: 1, keyValue: 16 }),
};

let root = '';
let count = 0;
let original: Buffer;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'runoff-malformed-'));
  original = await readFile(join(await folderWith({}), 'model.safetensors'));
});

afterAll(() => rm(root, { recursive: true, force: true }));

async function folderWith(change: Partial<TinyModel>): Promise<string> {
  const folder = join(root, String(count++));
  await writeTinyModel(folder, { ...SMALL, ...change });
  return folder;
}

async function withWeights(bytes: Uint8Array): Promise<string> {
  const folder = join(root, String(count++));
  await mkdir(folder);
  await writeFile(join(folder, 'config.json'), JSON.stringify(SMALL.config));
  await writeFile(join(folder, 'model.safetensors'), bytes);
  return folder;
}

/** @returns the error, or null when it went well */
async function convert(folder: string, quant: 'BF16' | 'Q8_0' | 'F16' = 'BF16'): Promise<AppError | null> {
  const startedMs = performance.now();
  try {
    const plan = await planFromFolder(folder, { quant, tokenizer: new Map(), importance: null });
    await writeConverted(plan, join(folder, 'out.gguf'), RUN);
    return null;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    expect(TYPED).toContain(error.code);
    // Neither a result nor a rest of one.
    expect((await readdir(folder)).filter((name) => name.includes('out.gguf'))).toEqual([]);
    return error;
  } finally {
    expect(performance.now() - startedMs).toBeLessThan(CASE_MS_MAX);
  }
}

type Entry = { dtype: unknown; shape: unknown; data_offsets: unknown };
type Header = Record<string, Entry>;

function rebuilt(change: (header: Header) => void): Buffer {
  const length = Number(original.readBigUInt64LE());
  const header = JSON.parse(original.toString('utf8', 8, 8 + length)) as Header;
  change(header);
  return withHeader(JSON.stringify(header));
}

function withHeader(json: string): Buffer {
  const data = original.subarray(8 + Number(original.readBigUInt64LE()));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(Buffer.byteLength(json)));
  return Buffer.concat([size, Buffer.from(json), data]);
}

const Q = 'model.layers.0.self_attn.q_proj.weight';
const K = 'model.layers.0.self_attn.k_proj.weight';
const O = 'model.layers.0.self_attn.o_proj.weight';

describe('safetensors', () => {
  test('the unchanged model converts', async () => {
    expect(await convert(await folderWith({}))).toBeNull();
  });

  const changes: Readonly<Record<string, readonly [(header: Header) => void, RegExp]>> = {
    'two tensors on the same bytes': [(h) => (h[K]!.data_offsets = [0, 1024]), /inside the tensor before it/],
    'a hole': [(h) => delete h[K], /belong to no tensor/],
    'a length of 2^63': [(h) => (h[Q]!.shape = [2 ** 63, 1]), /has the shape/],
    'a length beyond 2^53 by its product': [(h) => (h[Q]!.shape = [2 ** 40, 2 ** 40]), /occupies/],
    'an offset of 2^63': [(h) => (h[Q]!.data_offsets = [0, 2 ** 63]), /has the offsets/],
    'a negative offset': [(h) => (h[Q]!.data_offsets = [-2048, 0]), /has the offsets/],
    'an end before its start': [(h) => (h[Q]!.data_offsets = [4096, 2048]), /occupies -2048 bytes/],
    'a fraction as size': [(h) => (h[Q]!.shape = [32.5, 32]), /has the shape/],
    'a type of another kind': [(h) => (h[Q]!.dtype = 'F8_E4M3'), /occupies|F8_E4M3/],
    'an unknown type': [(h) => (h[Q]!.dtype = 'Q9'), /unknown dtype/],
    'a type that is a property of objects': [(h) => (h[Q]!.dtype = 'constructor'), /unknown dtype/],
    'an entry that is a number': [(h) => (h[Q] = 5 as unknown as Entry), /not an object/],
    'nine dimensions': [(h) => (h[Q]!.shape = [32, 32, 1, 1, 1, 1, 1, 1, 1]), /has the shape/],
    'three dimensions': [(h) => (h[Q]!.shape = [32, 32, 1]), /has the shape/],
    'a transposed shape': [(h) => (h['model.layers.0.mlp.up_proj.weight']!.shape = [64, 16]), /rows of 16 values/],
    'an odd head': [(h) => (h[K]!.shape = [512]), /has rows of 512|not 1 heads|has the shape/],
    'a tensor that nobody knows': [
      (h) => Object.assign(h, { 'model.extra.weight': h[Q], [Q]: undefined }),
      /not part of a/,
    ],
    'a layer too many': [(h) => rename(h, K, 'model.layers.7.self_attn.k_proj.weight'), /not part of a/],
    'a name with a path': [(h) => rename(h, K, '../../etc/passwd'), /not part of a/],
    'a missing matrix': [
      (h) => rename(h, K, 'model.layers.0.self_attn.rotary_emb.inv_freq'),
      /attn_k.weight is missing/,
    ],
    'a tensor under two names': [
      (h) => rename(h, O, 'language_model.model.layers.0.self_attn.q_proj.weight'),
      /two tensors would be called/,
    ],
  };

  test.each(Object.entries(changes))('%s is an error', async (_, [change, words]) => {
    expect((await convert(await withWeights(rebuilt(change))))?.message).toMatch(words);
  });

  test('a name that occurs twice with one place is an error', async () => {
    const json = original.toString('utf8', 8, 8 + Number(original.readBigUInt64LE()));
    const header = JSON.parse(json) as Header;
    const twice = json.replace(/}\s*$/, `,${JSON.stringify(Q)}:${JSON.stringify({ ...header[Q], shape: [1024] })}}`);
    expect((await convert(await withWeights(withHeader(twice))))?.message).toMatch(/a tensor occurs twice/);
  });

  test('a tensor that is called as a key of the header is none of its keys', async () => {
    const named = rebuilt((header) => rename(header, K, 'data_offsets'));
    expect((await convert(await withWeights(named)))?.message).toMatch(/the tensor data_offsets is not part of a/);
  });

  test('a name that occurs twice is an error', async () => {
    const json = original.toString('utf8', 8, 8 + Number(original.readBigUInt64LE()));
    expect((await convert(await withWeights(withHeader(json.replace(K, Q)))))?.message).toMatch(
      /a tensor occurs twice/,
    );
  });

  test.each([0n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 32n, 100_000_001n, 7n])(
    'a header of %s bytes is an error',
    async (length) => {
      const bytes = Buffer.from(original);
      bytes.writeBigUInt64LE(length);
      expect(await convert(await withWeights(bytes))).toMatchObject({ code: 'model-invalid' });
    },
  );

  test('a header of 100 levels is an error', async () => {
    const json = `{"x":${'['.repeat(100)}${']'.repeat(100)}}`;
    expect((await convert(await withWeights(withHeader(json))))?.message).toMatch(/not an object/);
  });

  test.each([
    [0x7f80, 'BF16'],
    [0xff80, 'Q8_0'],
    [0x7fc0, 'BF16'],
    [0x7fc0, 'F16'],
  ] as const)('the bits %i as a weight are an error when converting to %s', async (bits, quant) => {
    const bytes = Buffer.from(original);
    bytes.writeUInt16LE(bits, bytes.length - 2);
    const error = await convert(await withWeights(bytes), quant);
    expect(error).toMatchObject({ code: 'model-invalid' });
    expect(error?.message).toMatch(/^Tensor \S+ holds an infinite value or NaN/);
  });

  test('a weight beyond the range of F16 is an error for F16 and none for BF16', async () => {
    const bytes = rebuilt(() => {});
    // 1e5, in a matrix.
    bytes.writeUInt16LE(0x47c3, 8 + Number(bytes.readBigUInt64LE()) + offsetOf(Q));
    const folder = await withWeights(bytes);
    expect((await convert(folder, 'F16'))?.message).toMatch(/beyond the range of F16/);
    expect(await convert(folder, 'BF16')).toBeNull();
  });

  test(`${CASES} random changes of header and length give a typed error or a file, each within a second`, async () => {
    const random = generator(20_261_125);
    const headerBytes = 8 + Number(original.readBigUInt64LE());
    let errors = 0;
    for (let i = 0; i < CASES; i++) {
      const cut = random(4) === 0 ? random(original.length) : original.length;
      const bytes = Buffer.from(original.subarray(0, cut));
      const flips = cut === original.length ? 1 + random(6) : random(3);
      for (let j = 0; j < flips && bytes.length > 0; j++)
        bytes[random(Math.min(bytes.length, headerBytes))] = TEXT[random(TEXT.length)]!;
      if ((await convert(await withWeights(bytes))) !== null) errors += 1;
    }
    expect(errors).toBeGreaterThan(CASES * 0.7);
  }, 60_000);
});

describe('index of shards', () => {
  const sharded = (): Promise<string> => folderWith({ shards: 2 });
  const INDEX = 'model.safetensors.index.json';
  const rewrite = async (folder: string, change: (map: Record<string, unknown>) => void): Promise<void> => {
    const index = JSON.parse(await readFile(join(folder, INDEX), 'utf8')) as { weight_map: Record<string, unknown> };
    change(index.weight_map);
    await writeFile(join(folder, INDEX), JSON.stringify(index));
  };

  test('two shards convert', async () => {
    expect(await convert(await sharded())).toBeNull();
  });

  test.each([
    '../model.safetensors',
    '/etc/passwd',
    'a/b.safetensors',
    '..\\b.safetensors',
    'C:x.safetensors',
    '..',
    'config.json',
    'x\0.safetensors',
  ])('a shard called %j is an error', async (name) => {
    const folder = await sharded();
    await rewrite(folder, (map) => (map[Q] = name));
    expect((await convert(folder))?.message).toMatch(/which is no file of this folder/);
  });

  test('a missing shard is an error that names it', async () => {
    const folder = await sharded();
    await rm(join(folder, 'model-00002-of-00002.safetensors'));
    expect((await convert(folder))?.message).toMatch(/model-00002-of-00002.safetensors is missing/);
  });

  test.skipIf(process.platform === 'win32')('a shard that links to itself is an error', async () => {
    const folder = await sharded();
    const path = join(folder, 'model-00002-of-00002.safetensors');
    await rm(path);
    await symlink(path, path);
    expect((await convert(folder))?.message).toMatch(/is missing/);
  });

  test('a tensor in another shard than the index says is an error', async () => {
    const folder = await sharded();
    await rewrite(
      folder,
      (map) => (map[Q] = String(map[Q]).replace(/0000[12]-/, (part) => (part === '00001-' ? '00002-' : '00001-'))),
    );
    expect((await convert(folder))?.message).toMatch(/q_proj\.weight is in model-\S+, not in model-/);
  });

  test('a tensor that is in two shards is an error', async () => {
    const folder = await sharded();
    await writeFile(
      join(folder, 'model-00002-of-00002.safetensors'),
      await readFile(join(folder, 'model-00001-of-00002.safetensors')),
    );
    expect((await convert(folder))?.message).toMatch(/is in model-00001-of-00002.safetensors and in/);
  });

  test.each(['[]', '{}', '{"weight_map":[]}', '{"weight_map":{"a":5}}', '{', ''])(
    'the index %j is an error',
    async (text) => {
      const folder = await sharded();
      await writeFile(join(folder, INDEX), text);
      expect(await convert(folder)).toMatchObject({ code: 'model-invalid' });
    },
  );
});

describe('config.json', () => {
  const changes: Readonly<Record<string, readonly [Record<string, unknown>, RegExp]>> = {
    'another architecture': [
      { architectures: ['MambaForCausalLM'] },
      /architecture MambaForCausalLM cannot be converted/,
    ],
    'no architecture': [{ architectures: [] }, /names no architecture/],
    'a billion layers': [{ num_hidden_layers: 1e9 }, /num_hidden_layers/],
    'a layer too many': [{ num_hidden_layers: 2 }, /blk\.1\.\S+ is missing/],
    'no heads': [{ num_attention_heads: 0 }, /num_attention_heads/],
    'half a head': [{ num_attention_heads: 2.5 }, /num_attention_heads/],
    'heads that do not divide': [{ num_attention_heads: 3, num_key_value_heads: 2 }, /not a multiple/],
    'a hidden size of another model': [{ hidden_size: 64 }, /config\.json says 64/],
    'heads of another model': [{ head_dim: 64 }, /config\.json says (?:64|128)/],
    'as many keys as queries': [{ num_key_value_heads: 2 }, /has 16 rows, config\.json says 32/],
    'a feed-forward size of another model': [{ intermediate_size: 48 }, /config\.json says 48/],
    'a size as text': [{ hidden_size: '32' }, /hidden_size/],
    'weights that are quantised already': [
      { quantization_config: { quant_method: 'gptq' } },
      /quantised already \(gptq\)/,
    ],
    'a mixture of experts': [{ num_local_experts: 8 }, /mixture of experts/],
    'an unknown rotary scaling': [{ rope_scaling: { rope_type: 'dynamic', factor: 2 } }, /rotary scaling dynamic/],
  };

  test.each(Object.entries(changes))('%s is an error', async (_, [change, words]) => {
    const folder = await folderWith({ config: { ...SMALL.config, ...change } });
    expect((await convert(folder))?.message).toMatch(words);
  });

  test.each(['', '[]', 'null', '{', '['.repeat(5_000)])('the text %j is an error', async (text) => {
    const folder = await folderWith({});
    await writeFile(join(folder, 'config.json'), text);
    expect(await convert(folder)).toMatchObject({ code: 'model-invalid' });
  });

  test('a folder without one is an error', async () => {
    const folder = await folderWith({});
    await rm(join(folder, 'config.json'));
    expect(await convert(folder)).toMatchObject({ code: 'model-not-found' });
  });
});

test('a part of a split GGUF that is missing is an error', async () => {
  const folder = await folderWith({});
  const plan = await planFromFolder(folder, {
    quant: 'BF16',
    tokenizer: new Map([['split.count', { type: 'u16', value: 2 }]]),
    importance: null,
  });
  const path = join(folder, 'm-00001-of-00002.gguf');
  await writeConverted(plan, path, RUN);
  await expect(planFromGguf(path, { quant: 'F16', importance: null })).rejects.toMatchObject({
    code: 'model-invalid',
    message: `The model has 2 parts, and ${join(folder, 'm-00002-of-00002.gguf')} is missing.`,
  });
  const second = join(folder, 'm-00002-of-00002.gguf');
  await writeConverted(plan, second, RUN);
  await expect(planFromGguf(path, { quant: 'F16', importance: null })).rejects.toThrow(
    'says that it is part unknown of 2; by its name it is 1 of 2',
  );
  const whole = await planFromFolder(folder, { quant: 'BF16', tokenizer: new Map(), importance: null });
  await writeConverted(whole, path, RUN);
  await expect(planFromGguf(path, { quant: 'F16', importance: null })).rejects.toThrow(
    'is one of 2 files by its name, and a whole model by its header',
  );
  const other = join(folder, 'other.gguf');
  await writeConverted(plan, other, RUN);
  await expect(planFromGguf(other, { quant: 'F16', importance: null })).rejects.toThrow(
    'not named as the first of them',
  );
});

function rename(header: Header, from: string, to: string): void {
  header[to] = header[from] as Entry;
  delete header[from];
}

function offsetOf(name: string): number {
  const header = JSON.parse(original.toString('utf8', 8, 8 + Number(original.readBigUInt64LE()))) as Header;
  return ((header[name] as Entry).data_offsets as [number, number])[0];
}

/** What headers consist of: changes that keep some of them readable. */
const TEXT = Buffer.from('0123456789{}[]",:FB16-. \0\u007f');

function generator(seed: number): (max: number) => number {
  let state = seed;
  return (max) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * max);
  };
}
