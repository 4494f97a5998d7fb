import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GgufValue } from '../../../src/models/gguf/metadata.ts';
import { loadTokenizer, type ModelTokenizer } from '../../../src/models/tokenizer/load-tokenizer.ts';
import { repackToMlx } from '../../../src/models/mlx/repack.ts';
import { failure, fixturePath, temporaryFolder, writeModel } from '../fixture.ts';

/** The 256 characters that stand for bytes in byte-level BPE, in byte order. */
const BYTE_CHARACTERS = Array.from({ length: 256 }, (_, byte) => {
  const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  if (printable) return String.fromCharCode(byte);
  const before = Array.from({ length: byte }, (_unused, i) => i).filter(
    (i) => !((i > 32 && i < 127) || (i > 160 && i !== 173)),
  ).length;
  return String.fromCharCode(256 + before);
});

describe('loadTokenizer', async () => {
  const folder = await temporaryFolder();
  let number = 0;

  async function load(metadata: Record<string, GgufValue>): Promise<ModelTokenizer> {
    const path = join(folder, `${++number}.gguf`);
    await writeModel(path, { metadata });
    return loadTokenizer(path);
  }

  const words = (items: readonly string[]): GgufValue => ({ type: 'array', itemType: 'string', items });
  const text = (value: string): GgufValue => ({ type: 'string', value });

  /** Bytes, then what the merges make, then one control token. */
  function byteLevel(pre: string, merges: readonly string[]): Promise<ModelTokenizer> {
    const tokens = [...BYTE_CHARACTERS, ...merges.map((merge) => merge.replace(' ', '')), '<|im_end|>'];
    const types = tokens.map((token) => (token === '<|im_end|>' ? 3 : 1));
    return load({
      'tokenizer.ggml.model': text('gpt2'),
      'tokenizer.ggml.pre': text(pre),
      'tokenizer.ggml.tokens': words(tokens),
      'tokenizer.ggml.token_type': { type: 'array', itemType: 'i32', items: types },
      'tokenizer.ggml.merges': words(merges),
    });
  }

  const DIGITS = ['1 2', '3 4', '12 34', '1234 5', '12 3', '4 5'];
  const pieces = (tokenizer: ModelTokenizer, input: string): string[] =>
    tokenizer.encode(input).map((id) => tokenizer.decode([id]));

  it('splits numbers as each pre-tokenizer does', async () => {
    const splits: Record<string, string[]> = {};
    for (const pre of ['gpt-2', 'smollm', 'qwen2', 'llama-bpe', 'gpt-4o', 'tekken', 'default'])
      splits[pre] = pieces(await byteLevel(pre, DIGITS), '12345');
    expect(splits).toEqual({
      'gpt-2': ['12345'],
      smollm: ['1', '2', '3', '4', '5'],
      qwen2: ['1', '2', '3', '4', '5'],
      'llama-bpe': ['123', '45'],
      'gpt-4o': ['123', '45'],
      tekken: ['1', '2', '3', '4', '5'],
      default: ['123', '45'],
    });
  });

  it('takes a whole word that is a token before it looks at merges, for llama-bpe only', async () => {
    const merges = ['a b', 'b c', 'ab c', 'a bc'];
    expect([
      pieces(await byteLevel('llama-bpe', merges), 'abc'),
      pieces(await byteLevel('gpt-2', merges.slice(0, 2)), 'abc'),
    ]).toEqual([['abc'], ['ab', 'c']]);
  });

  it('cuts control tokens out of the text, and gives every text back', async () => {
    const tokenizer = await byteLevel('smollm', ['h i']);
    expect(tokenizer.encode('hi<|im_end|>')).toEqual([256, 257]);
    expect([tokenizer.encode(''), tokenizer.decode([]), tokenizer.vocabularySize, tokenizer.warning]).toEqual([
      [],
      '',
      258,
      null,
    ]);
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 40 }).filter((input) => input.isWellFormed()),
        (input) => tokenizer.decode(tokenizer.encode(input)) === input,
      ),
    );
  });

  it('warns about pre-tokenizers that are unknown or unspecified', async () => {
    expect([
      (await byteLevel('kimi-k2', [])).warning,
      (await byteLevel('constructor', [])).warning,
      (await byteLevel('default', [])).warning,
    ]).toMatchInlineSnapshot(`
      [
        "The pre-tokenizer kimi-k2 is not known to this program; token ids of text may differ from the model's own.",
        "The pre-tokenizer constructor is not known to this program; token ids of text may differ from the model's own.",
        "The file names no particular pre-tokenizer; llama.cpp falls back to a general one, and so do we. The original tokenizer may differ.",
      ]
    `);
  });

  it('gives the ids of SentencePiece for a vocabulary with scores', async () => {
    const fixture = JSON.parse(readFileSync(fixturePath('sentencepiece.json'), 'utf8')) as {
      tokens: string[];
      scores: number[];
      types: number[];
      cases: { text: string; ids: number[] }[];
    };
    const tokenizer = await load({
      'tokenizer.ggml.model': text('llama'),
      'tokenizer.ggml.tokens': words(fixture.tokens),
      'tokenizer.ggml.scores': { type: 'array', itemType: 'f32', items: fixture.scores },
      'tokenizer.ggml.token_type': { type: 'array', itemType: 'i32', items: fixture.types },
    });
    // SentencePiece reads "</s>" in a text as four characters; a prompt may contain it as a token.
    for (const { text: input, ids } of fixture.cases.filter((entry) => !entry.text.includes('</s>'))) {
      expect([input, tokenizer.encode(input)]).toEqual([input, ids]);
      // The mark itself is a space to SentencePiece.
      expect(tokenizer.decode(ids)).toBe(input.replaceAll('▁', ' '));
    }
  });

  it('refuses other tokenizers, and a model without one', async () => {
    const other = load({ 'tokenizer.ggml.model': text('bert'), 'tokenizer.ggml.tokens': words(['a']) });
    expect(await failure(other)).toMatchObject({
      code: 'model-unsupported',
      message: 'The tokenizer model bert cannot be rebuilt; gpt2, llama and t5 can.',
    });
    expect(await failure(load({}))).toMatchObject({
      code: 'model-unsupported',
      hint: 'Convert the model again with its vocabulary.',
    });
  });

  it('does not keep a repack from going on', async () => {
    const path = join(folder, 'odd.gguf');
    await writeModel(path, {
      metadata: { 'tokenizer.ggml.model': text('bert'), 'tokenizer.ggml.tokens': words(['a']) },
    });
    const { warnings } = await repackToMlx(path, join(folder, 'odd'), { scales: 'f32' });
    expect(warnings).toEqual(['The tokenizer model bert cannot be rebuilt; gpt2, llama and t5 can.']);
  });
});
