/** Twins of models on the hub: what is read of them, what they are, and how it ends where they cannot be had. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stringsOf, textOf, type GgufValue } from '../../../src/models/gguf/metadata.ts';
import { decodeMetadata } from '../../../src/models/gguf/read-header.ts';
import { ByteBudget } from '../../../src/models/hub/remote-file.ts';
import { makeTwin } from '../../../src/models/synthesize/make-twin.ts';
import { planTwin, type TwinAsk, type TwinPlan } from '../../../src/models/synthesize/plan-twin.ts';
import { presetNamed } from '../../../src/models/synthesize/presets.ts';
import { refuse } from '../../fixtures/hub/answers.ts';
import { failure, fixturePath, temporaryFolder, writeModel } from '../fixture.ts';
import { bytes, useHub } from '../hub/hub-fixture.ts';
import { safetensorsFile, type FolderTensor } from '../model-folder.ts';

const bench = useHub();
const folder = await temporaryFolder();
const MIB = 1 << 20;
const FACTORS = Float32Array.from({ length: 8 }, (_, i) => 1 + i);
const text = (value: string): GgufValue => ({ type: 'string', value });
const count = (value: number): GgufValue => ({ type: 'u32', value });

/** 4 MB, its rotary factors at the end. */
async function gguf(metadata: Record<string, GgufValue | null> = {}): Promise<Buffer> {
  const path = join(folder, 'model.gguf');
  await writeModel(path, {
    metadata: {
      'tokenizer.ggml.model': text('gpt2'),
      'tokenizer.ggml.tokens': { type: 'array', itemType: 'string', items: ['a', 'b', 'c'] },
      ...metadata,
    },
    tensors: {
      'token_embd.weight': { type: 'F32', shape: [30_000, 32] },
      'rope_freqs.weight': { type: 'F32', shape: [8], bytes: new Uint8Array(FACTORS.buffer) },
    },
  });
  return readFile(path);
}

const asking = (id: string, changes: Partial<TwinAsk> = {}): TwinAsk => ({
  id,
  preset: null,
  seed: 1,
  tokenizer: null,
  demonstrationModel: null,
  hub: { hub: bench().hub() },
  ...changes,
});
const listing = ({ file }: TwinPlan): unknown[] =>
  file.tensors.map(({ name, type, dimensions, values }) => [name, type.name, dimensions, values]);

describe('a GGUF on the hub', () => {
  it('gives the tensors, types, metadata and vocabulary of the file, from its first megabyte and its factors', async () => {
    const content = await gguf();
    const { commit } = bench().server.add('owner/tiny', { 'tiny.gguf': content, 'README.md': '# Card' });
    const [there, here] = [await planTwin(asking('hf:owner/tiny')), await planTwin(asking(join(folder, 'model.gguf')))];
    expect(listing(there)).toEqual(listing(here));
    expect(there.file.tensors.find(({ name }) => name === 'rope_freqs.weight')?.values).toEqual(FACTORS);
    expect(stringsOf(decodeMetadata(there.file.metadata), 'tokenizer.ggml.tokens')).toEqual(['a', 'b', 'c']);
    expect(there.source.pinned).toBe(`hf:owner/tiny@${commit}:tiny.gguf`);
    expect(textOf(decodeMetadata(there.file.metadata), 'runoff.twin.of')).toBe('owner/tiny, tiny.gguf');
    expect([...bench().server.sentBytes]).toEqual([['tiny.gguf', MIB + FACTORS.byteLength]]);
    expect(content.length).toBeGreaterThan(3 * MIB);
  });

  it('can be written, with other types', async () => {
    bench().server.add('owner/tiny', { 'tiny.gguf': await gguf() });
    const plan = await planTwin(asking('hf:owner/tiny:tiny.gguf', { preset: presetNamed('Q8_0') }));
    const { path } = await makeTwin(plan, join(folder, 'twin.gguf'));
    const again = await planTwin(asking(path));
    expect(again.file.tensors.map(({ type }) => type.name)).toContain('Q8_0');
    expect(again.source.of).toBe('Twin of owner/tiny, tiny.gguf (random weights)');
  });

  it('with a long header is read on, twice as far each time, and no byte twice', async () => {
    bench().server.add('owner/tiny', {
      'tiny.gguf': await gguf({ 'general.description': text('x'.repeat(1_500_000)) }),
    });
    await planTwin(asking('hf:owner/tiny'));
    const ranges = bench()
      .server.requests('cdn')
      .map(({ range }) => range);
    expect(ranges.slice(0, 2)).toEqual([`bytes=0-${MIB - 1}`, `bytes=${MIB}-${2 * MIB - 1}`]);
    expect(bench().server.sentBytes.get('tiny.gguf')).toBe(2 * MIB + FACTORS.byteLength);
  });

  it('in parts is one model', async () => {
    const split = (number: number): Record<string, GgufValue> => ({
      'split.no': count(number),
      'split.count': count(2),
    });
    const first = await gguf(split(0));
    const second = join(folder, 'second.gguf');
    const gone = ['token_embd', 'output_norm', 'blk.0.attn_norm', 'blk.0.ffn_norm', 'blk.0.attn_q', 'blk.0.attn_k'];
    const rest = ['blk.0.attn_v', 'blk.0.attn_output', 'blk.0.ffn_gate', 'blk.0.ffn_up', 'blk.0.ffn_down'];
    await writeModel(second, {
      metadata: split(1),
      tensors: {
        ...Object.fromEntries([...gone, ...rest].map((name) => [`${name}.weight`, null])),
        'output.weight': { type: 'Q8_0', shape: [30_000, 32] },
      },
    });
    bench().server.add('owner/big', {
      'big-00001-of-00002.gguf': first,
      'big-00002-of-00002.gguf': await readFile(second),
    });
    const { file, source } = await planTwin(asking('hf:owner/big'));
    expect(file.tensors.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['token_embd.weight', 'output.weight']),
    );
    expect(source.shape.tiedEmbeddings).toBe(false);
    expect([...file.metadata.keys()].filter((key) => key.startsWith('split.'))).toEqual([]);
    expect(source.slug).toBe('big');
  });

  it('that is in the cache already is not asked for', async () => {
    bench().server.add('owner/tiny', { 'tiny.gguf': await gguf() });
    const { pinned } = await bench().pull('hf:owner/tiny');
    bench().server.seen.length = 0;
    const plan = await planTwin(asking('hf:owner/tiny:tiny.gguf'));
    expect([plan.source.pinned, plan.source.of]).toEqual([pinned, 'owner/tiny, tiny.gguf']);
    await planTwin(asking('hf:owner/tiny', { hub: { hub: bench().hub(), offlineBecause: '--no-install' } }));
    expect(bench().server.seen).toEqual([]);
  });
});

describe('headers are kept', () => {
  it('so that the pinned model is looked at again without a network, a branch is not', async () => {
    const content = await gguf({ 'general.description': text('x'.repeat(1_500_000)) });
    bench().server.add('owner/tiny', { 'tiny.gguf': content });
    const headersFolder = join(bench().cacheFolder, 'headers');
    const first = await planTwin(asking('hf:owner/tiny', { hub: { hub: bench().hub(), headersFolder } }));
    bench().server.seen.length = 0;
    const offline = { hub: bench().hub({ offlineBecause: 'HF_HUB_OFFLINE' }), headersFolder };
    const again = await planTwin(asking(first.source.pinned ?? '', { hub: offline }));
    expect(listing(again)).toEqual(listing(first));
    expect(bench().server.seen).toEqual([]);
    expect((await failure(planTwin(asking('hf:owner/tiny', { hub: offline })))).code).toBe('model-not-found');
  });

  it('of a checkpoint, too; a damaged one is read again', async () => {
    bench().server.add('owner/base', {
      ...(await tokenizerFiles('llama3')),
      'model.safetensors': safetensorsFile(weights(430)),
    });
    const preset = presetNamed('Q8_0');
    const headersFolder = join(bench().cacheFolder, 'headers');
    const online = { hub: bench().hub(), headersFolder };
    const { source } = await planTwin(asking('hf:owner/base', { preset, hub: online }));
    bench().server.seen.length = 0;
    const offline = { hub: bench().hub({ offlineBecause: 'HF_HUB_OFFLINE' }), headersFolder };
    const again = await planTwin(asking(source.pinned ?? '', { preset, hub: offline }));
    expect(again.source.shape).toEqual(source.shape);
    expect(bench().server.seen).toEqual([]);
    for (const name of await readdir(headersFolder)) await writeFile(join(headersFolder, name), 'x');
    expect((await failure(planTwin(asking(source.pinned ?? '', { preset, hub: offline })))).code).toBe(
      'model-not-found',
    );
    expect((await planTwin(asking(source.pinned ?? '', { preset, hub: online }))).source.shape).toEqual(source.shape);
  });
});

describe('what cannot be had ends as a pull does', () => {
  const both = async (spec: string): Promise<void> => {
    const [look, pull] = [await failure(planTwin(asking(spec))), await failure(bench().pull(spec))];
    expect(look).toEqual(pull);
    expect(look.code).not.toBe('usage');
  };

  it('gated', async () => {
    bench().server.add('owner/gated', { 'm.gguf': await gguf() }, { access: 'gated' });
    await both('hf:owner/gated');
    expect((await failure(planTwin(asking('hf:owner/gated')))).code).toBe('access-denied');
  });

  it('a repository, a revision or a file that is not there', async () => {
    bench().server.add('owner/tiny', { 'm.gguf': await gguf() });
    await both('hf:owner/none');
    await both('hf:owner/tiny@v2');
    await both('hf:owner/tiny:Q9_K');
  });

  it('a hub that fails', async () => {
    bench().server.add('owner/tiny', { 'm.gguf': await gguf() });
    bench().server.intercept = (_request, response) => {
      refuse(response, 503, '');
      return true;
    };
    await both('hf:owner/tiny');
  });

  it('a network that is off', async () => {
    const { code, message } = await failure(
      planTwin(asking('hf:owner/tiny', { hub: { hub: bench().hub(), offlineBecause: '--no-install' } })),
    );
    expect([code, message]).toEqual(['model-not-found', expect.stringContaining('the network is off (--no-install)')]);
  });
});

describe('a connection', () => {
  it('that is cut is taken up behind its last byte', async () => {
    const content = await gguf();
    bench().server.add('owner/tiny', { 'tiny.gguf': content });
    let cuts = 0;
    bench().server.intercept = (_request, response, { origin, method }) => {
      if (origin !== 'cdn' || method !== 'GET' || cuts > 0) return false;
      cuts += 1;
      response.writeHead(206, { 'content-range': `bytes 0-${MIB - 1}/${content.length}`, 'content-length': MIB });
      response.write(content.subarray(0, 5_000));
      setTimeout(() => response.destroy(), 10);
      return true;
    };
    await planTwin(asking('hf:owner/tiny'));
    expect(bench().server.requests('cdn')[1]?.range).toBe(`bytes=5000-${MIB - 1}`);
  });

  it('that is always cut ends with the download error', async () => {
    bench().server.add('owner/tiny', { 'tiny.gguf': await gguf() });
    bench().server.intercept = (_request, response, { origin }) => {
      if (origin === 'cdn') response.destroy();
      return origin === 'cdn';
    };
    expect((await failure(planTwin(asking('hf:owner/tiny')))).code).toBe('download-failed');
  });

  it('to a server that sends whole files only is given up, with what to do', async () => {
    const content = await gguf();
    bench().server.add('owner/tiny', { 'tiny.gguf': content });
    bench().server.intercept = (_request, response, { origin, method }) => {
      if (origin !== 'cdn' || method !== 'GET') return false;
      response.writeHead(200, { 'content-length': content.length });
      response.end(content);
      return true;
    };
    const { code, message, hint } = await failure(planTwin(asking('hf:owner/tiny')));
    expect([code, message]).toEqual([
      'download-failed',
      'owner/tiny/tiny.gguf: the server ignores ranges, so its header cannot be read without the whole file',
    ]);
    expect(hint).toContain('runoff models pull');
  });
});

describe('headers are untrusted', () => {
  it('tensors behind the announced end', async () => {
    bench().server.add('owner/tiny', { 'tiny.gguf': (await gguf()).subarray(0, 3 * MIB) });
    const { code, message } = await failure(planTwin(asking('hf:owner/tiny')));
    expect([code, message]).toEqual([
      'model-invalid',
      expect.stringMatching(/tiny\.gguf is incomplete: .* bytes are missing/),
    ]);
  });

  it('no GGUF, and one that claims more than it has', async () => {
    bench().server.add('owner/page', { 'page.gguf': Buffer.from('<html>'.repeat(100)) });
    expect((await failure(planTwin(asking('hf:owner/page')))).code).toBe('model-invalid');
    const lies = await gguf();
    lies.writeBigUInt64LE(2n ** 40n, 16);
    bench().server.add('owner/lies', { 'lies.gguf': lies });
    const { code, message } = await failure(planTwin(asking('hf:owner/lies')));
    expect([code, message]).toEqual(['model-invalid', expect.stringContaining('its metadata count is 1099511627776')]);
  });

  it('all reads together have a limit', () => {
    const budget = new ByteBudget(3 * MIB);
    budget.spend(3 * MIB, 'a');
    expect(() => budget.spend(1, 'owner/x/y.gguf')).toThrow('owner/x/y.gguf: more than 3 MiB would have to be read');
  });
});

const HIDDEN = 64;
const LAYER = [
  'input_layernorm',
  'post_attention_layernorm',
  'self_attn.q_proj',
  'self_attn.k_proj',
  'self_attn.v_proj',
];

function tensor(name: string, shape: readonly number[]): FolderTensor {
  return { name, dtype: 'BF16', shape, bytes: bytes(2 * shape.reduce((product, size) => product * size, 1)) };
}

function weights(vocabulary: number): FolderTensor[] {
  return [
    tensor('model.embed_tokens.weight', [vocabulary, HIDDEN]),
    ...LAYER.map((name) => tensor(`model.layers.0.${name}.weight`, [HIDDEN])),
  ];
}

async function tokenizerFiles(name: string): Promise<Record<string, Buffer>> {
  const path = (file: string): string => fixturePath(join('tokenizers', name, file));
  return {
    'config.json': await readFile(path('config.json')),
    'tokenizer.json': await readFile(path('tokenizer.json')),
    'tokenizer_config.json': await readFile(path('tokenizer_config.json')),
  };
}

describe('a checkpoint on the hub', () => {
  const Q8 = { preset: presetNamed('Q8_0') };

  it('gives shape and tokenizer, from its small files and the header of its weights', async () => {
    const small = await tokenizerFiles('llama3');
    const content = safetensorsFile(weights(430));
    bench().server.add('owner/base', { ...small, 'model.safetensors': content, 'vocab.json': '{}', 'train.py': 'x' });
    const { source, tokenizer, file, standInBecause } = await planTwin(asking('hf:owner/base', Q8));
    expect(source).toMatchObject({ slug: 'base', of: 'owner/base' });
    expect(source.shape).toMatchObject({
      layerCount: 1,
      hiddenSize: HIDDEN,
      vocabularySize: 430,
      tiedEmbeddings: true,
    });
    expect([tokenizer, standInBecause]).toEqual([
      "the model's own, from its tokenizer files, pre-tokenizer llama-bpe by its rules",
      null,
    ]);
    expect(stringsOf(decodeMetadata(file.metadata), 'tokenizer.ggml.tokens')).toHaveLength(430);
    const header = 8 + Number(content.readBigUInt64LE());
    expect(Object.fromEntries(bench().server.sentBytes)).toEqual({
      ...Object.fromEntries(Object.entries(small).map(([name, { length }]) => [name, length])),
      'model.safetensors': header,
    });
  });

  it('in parts takes the names from the index, and has an output matrix where that lists one', async () => {
    const [first, second] = [weights(430), [tensor('lm_head.weight', [430, HIDDEN])]];
    const name = (part: number): string => `model-0000${part}-of-00002.safetensors`;
    const map = [...first.map((entry) => [entry.name, name(1)]), ...second.map((entry) => [entry.name, name(2)])];
    bench().server.add('owner/base', {
      ...(await tokenizerFiles('llama3')),
      [name(1)]: safetensorsFile(first),
      [name(2)]: safetensorsFile(second),
      'model.safetensors.index.json': JSON.stringify({ weight_map: Object.fromEntries(map) as object }),
    });
    const { source } = await planTwin(asking('hf:owner/base', Q8));
    expect(source.shape.tiedEmbeddings).toBe(false);
    expect([...bench().server.sentBytes.keys()]).not.toContain(name(2));
  });

  it('whose configuration contradicts its weights is refused', async () => {
    const small = await tokenizerFiles('llama3');
    bench().server.add('owner/a', { ...small, 'model.safetensors': safetensorsFile(weights(431)) });
    expect(await failure(planTwin(asking('hf:owner/a', Q8)))).toMatchObject({
      code: 'model-invalid',
      message: expect.stringContaining('speaks of 430 tokens of 64, the embeddings are 431 of 64'),
    });
    const more = [...weights(430), tensor('model.layers.1.input_layernorm.weight', [HIDDEN])];
    bench().server.add('owner/b', { ...small, 'model.safetensors': safetensorsFile(more) });
    expect((await failure(planTwin(asking('hf:owner/b', Q8)))).message).toContain('1 layers, the weights are of 2');
  });

  it('with a tokenizer that GGUF cannot express gets a stand-in that says so', async () => {
    const small = await tokenizerFiles('unknown');
    const config = JSON.stringify({ ...(JSON.parse(small['config.json']!.toString()) as object), vocab_size: 3_000 });
    bench().server.add('owner/odd', {
      ...small,
      'config.json': config,
      'model.safetensors': safetensorsFile(weights(3_000)),
    });
    const { tokenizer, standInBecause } = await planTwin(asking('hf:owner/odd', Q8));
    expect(tokenizer).toBe("a stand-in of 3000 tokens (byte-level BPE), not the model's own");
    expect(standInBecause).toContain('pre-tokenizer');
  });

  it('that names no quantisation needs one', async () => {
    bench().server.add('owner/base', {
      ...(await tokenizerFiles('llama3')),
      'model.safetensors': safetensorsFile(weights(430)),
    });
    expect((await failure(planTwin(asking('hf:owner/base')))).code).toBe('usage');
  });
});
