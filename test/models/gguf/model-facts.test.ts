import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GgufValue } from '../../../src/models/gguf/metadata.ts';
import { modelFacts } from '../../../src/models/gguf/model-facts.ts';
import { fixturePath, temporaryFolder, writeModel } from '../fixture.ts';

describe('modelFacts', async () => {
  const folder = await temporaryFolder();

  it('describes a model', async () => {
    const { path, ...facts } = await modelFacts(fixturePath('tiny-llama.gguf'));
    expect(path).toMatch(/tiny-llama\.gguf$/);
    expect(facts).toMatchInlineSnapshot(`
      {
        "addBos": false,
        "architecture": "llama",
        "bitsPerWeight": 9.451990632318502,
        "bosTokenId": 1,
        "chatTemplate": null,
        "contextTokens": 128,
        "endTokenIds": [
          0,
          2,
        ],
        "eosTokenId": 2,
        "fileBytes": 34304,
        "name": "Tiny llama",
        "parameterCount": 27328,
        "quantisation": "Q4_1",
        "traffic": {
          "cacheValuesPerToken": 64,
          "multipliedParametersPerToken": 24576,
          "weightBytesPerToken": 32288,
        },
        "twinOf": null,
        "vocabularySize": 40,
      }
    `);
  });

  interface Words {
    readonly model?: string;
    readonly pre?: string;
    readonly tokens: readonly string[];
    readonly extra?: Record<string, GgufValue>;
  }

  async function vocabularyFacts({
    model = 'gpt2',
    pre,
    tokens,
    extra = {},
  }: Words): Promise<{ addBos: boolean; bos: number | null; eos: number | null; ends: string[] }> {
    const path = join(folder, 'words.gguf');
    await writeModel(path, {
      metadata: {
        'tokenizer.ggml.model': { type: 'string', value: model },
        'tokenizer.ggml.pre': pre === undefined ? null : { type: 'string', value: pre },
        'tokenizer.ggml.tokens': { type: 'array', itemType: 'string', items: tokens },
        ...extra,
      },
    });
    const facts = await modelFacts(path);
    return {
      addBos: facts.addBos,
      bos: facts.bosTokenId,
      eos: facts.eosTokenId,
      ends: facts.endTokenIds.map((id) => tokens[id]!),
    };
  }

  const id = (value: number): GgufValue => ({ type: 'u32', value });

  it('knows by tokenizer whether a prompt starts with BOS, unless the header tells', async () => {
    const tokens = ['<unk>', '<s>', '</s>', 'a'];
    const off: GgufValue = { type: 'bool', value: false };
    const added = await Promise.all([{ model: 'llama', tokens }].map(vocabularyFacts));
    added.push(await vocabularyFacts({ model: 'llama', tokens, extra: { 'tokenizer.ggml.add_bos_token': off } }));
    added.push(
      await vocabularyFacts({ tokens }),
      await vocabularyFacts({ tokens, pre: 'llama-bpe' }),
      await vocabularyFacts({ tokens, pre: 'qwen2' }),
    );
    expect(added.map(({ addBos }) => addBos)).toEqual([true, false, false, true, false]);
    expect(added[0]).toEqual({ addBos: true, bos: 1, eos: 2, ends: ['</s>'] });
  });

  it('finds every token that ends a generation in llama.cpp', async () => {
    const ends = async (tokens: string[], extra: Record<string, GgufValue> = {}): Promise<string[]> =>
      (await vocabularyFacts({ tokens, extra })).ends;
    expect(await ends(['a', '<|begin_of_text|>', '<|end_of_text|>', '<|eom_id|>', '<|eot_id|>'])).toEqual([
      '<|end_of_text|>',
      '<|eom_id|>',
      '<|eot_id|>',
    ]);
    expect(
      await ends(['stop', 'b', 'turn'], { 'tokenizer.ggml.eos_token_id': id(0), 'tokenizer.ggml.eot_token_id': id(2) }),
    ).toEqual(['stop', 'turn']);
    expect(await ends(['<|endoftext|>', '<|im_end|>', '<reponame>', '<file_sep>', '<|file_sep|>'])).toEqual([
      '<|endoftext|>',
      '<|im_end|>',
      '<reponame>',
      '<|file_sep|>',
    ]);
    expect(await ends(['<|end|>', '<|return|>', '<|call|>'])).toEqual(['<|return|>', '<|call|>']);
    expect(await ends(['<|end|>', 'a'])).toEqual(['<|end|>']);
  });

  it('ignores ids beyond the vocabulary', async () => {
    const facts = await vocabularyFacts({
      tokens: ['a', 'b'],
      extra: { 'tokenizer.ggml.eos_token_id': id(7), 'tokenizer.ggml.bos_token_id': id(1) },
    });
    expect(facts).toEqual({ addBos: false, bos: 1, eos: null, ends: [] });
  });

  it('manages without a tokenizer', async () => {
    await writeModel(join(folder, 'bare.gguf'));
    expect(await modelFacts(join(folder, 'bare.gguf'))).toMatchObject({
      name: 'bare',
      vocabularySize: 0,
      endTokenIds: [],
      bosTokenId: null,
      chatTemplate: null,
    });
  });
});
