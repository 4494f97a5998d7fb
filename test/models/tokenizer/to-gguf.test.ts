/** Against llama.cpp's own converter: its vocabulary-only output of every fixture was recorded by make_tokenizers.py. */
import { readFileSync } from 'node:fs';
import { cp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, it } from 'vitest';
import type { GgufValue } from '../../../src/models/gguf/metadata.ts';
import { readGgufHeader } from '../../../src/models/gguf/read-header.ts';
import { tokenizerMetadata, type TokenizerMetadata } from '../../../src/models/tokenizer/to-gguf.ts';
import { writeGguf } from '../../../src/models/gguf/write.ts';
import { failure, fixturePath, temporaryFolder } from '../fixture.ts';

const OPTIONS = {
  preTokenizer: null,
  vocabularySize: null,
  strict: false,
  llamaCpp: { root: null, reason: 'llama.cpp is not there' },
} as const;
const folderOf = (name: string): string => fixturePath(join('tokenizers', name));

function make(
  name: string,
  options: Partial<typeof OPTIONS | { preTokenizer: string | null }> = {},
): Promise<TokenizerMetadata> {
  return tokenizerMetadata(folderOf(name), { ...OPTIONS, ...options });
}

type Plain = readonly (readonly [key: string, value: unknown])[];

function plain(metadata: Iterable<[string, GgufValue]>): Plain {
  return [...metadata]
    .filter(([key]) => key.startsWith('tokenizer.'))
    .map(([key, value]) => [
      key,
      value.type === 'array' ? [value.itemType, ...Array.from<unknown>(value.items)] : [value.type, value.value],
    ]);
}

const scratch = await temporaryFolder();
let count = 0;

/** As a reader finds it. */
async function written({ metadata }: TokenizerMetadata): Promise<Plain> {
  const path = join(scratch, `${count++}.gguf`);
  await writeGguf(path, { metadata, tensors: [] });
  return plain((await readGgufHeader(path)).metadata);
}

async function reference(name: string): Promise<Plain> {
  return plain((await readGgufHeader(join(folderOf(name), 'reference.gguf'))).metadata);
}

function itemsOf(entries: Plain, key: string): readonly unknown[] {
  const found = entries.find(([name]) => name === key)?.[1];
  return Array.isArray(found) ? found.slice(1) : [];
}

describe('bit for bit what the converter writes, in its order', () => {
  it.each(['llama3', 'qwen2', 'gpt2', 'smollm', 'deepseek', 'phi3'])('%s', async (name) => {
    const made = await make(name);
    expect(await written(made)).toEqual(await reference(name));
  });

  it('a tokenizer whose pre-tokenizer the user names', async () => {
    const made = await make('unknown', { preTokenizer: 'gpt-2' });
    expect(await written(made)).toEqual(await reference('unknown'));
    expect(made).toMatchObject({ preTokenizer: 'gpt-2', origin: 'given', proof: { state: 'not-run' } });
  });
});

/** The converter takes a piece that the training marked as user-defined (<mark>, id 4) for an ordinary one. */
function withoutTypeOfMark(entries: Plain): Plain {
  return entries.map(([key, value]) => [
    key,
    key === 'tokenizer.ggml.token_type' ? (value as unknown[]).toSpliced(5, 1) : value,
  ]);
}

describe('tokenizer.model', () => {
  it.each(['sentencepiece', 'gemma2', 'unigram'])(
    '%s: as the converter, but user-defined pieces stay so',
    async (name) => {
      const made = await written(await make(name));
      expect(withoutTypeOfMark(made)).toEqual(withoutTypeOfMark(await reference(name)));
      expect(itemsOf(made, 'tokenizer.ggml.token_type')[4]).toBe(4);
    },
  );

  it('leaves out added tokens beyond the rows of the model', async () => {
    expect((await make('sentencepiece')).tokenCount).toBe(524);
  });
});

describe('a tokenizer.json of that kind without tokenizer.model', () => {
  it('has scores in the order of the merges, where the converter writes -1000 for all', async () => {
    const made = await written(await make('sentencepiece-json'));
    const theirs = await reference('sentencepiece-json');
    const scores = itemsOf(made, 'tokenizer.ggml.scores') as readonly number[];
    expect(new Set(itemsOf(theirs, 'tokenizer.ggml.scores'))).toEqual(new Set([-1000]));
    const tokens = itemsOf(made, 'tokenizer.ggml.tokens') as readonly string[];
    const { merges } = (
      JSON.parse(readFileSync(join(folderOf('sentencepiece-json'), 'tokenizer.json'), 'utf8')) as {
        model: { merges: [string, string][] };
      }
    ).model;
    const first = merges[0]?.join('') ?? '';
    const last = merges.at(-1)?.join('') ?? '';
    expect(scores[tokens.indexOf(first)]).toBe(0);
    expect(scores[tokens.indexOf(last)]).toBeLessThanOrEqual(-1);
    const without = (entries: Plain): Plain => entries.filter(([key]) => !/scores|token_type/.test(key));
    expect(without(made)).toEqual(without(theirs));
  });

  it('keeps control and user-defined tokens of the base vocabulary', async () => {
    const types = itemsOf(await written(await make('sentencepiece-json')), 'tokenizer.ggml.token_type');
    expect(types.slice(0, 6)).toEqual([3, 3, 3, 3, 4, 6]);
  });
});

describe('the pre-tokenizer', () => {
  it.each([
    ['llama3', 'llama-bpe'],
    ['qwen2', 'qwen2'],
    ['gpt2', 'gpt-2'],
    ['smollm', 'smollm'],
    ['deepseek', 'deepseek-v3'],
  ])('%s is %s by its rules', async (name, preTokenizer) => {
    const { origin, proof, ...made } = await make(name);
    expect({ name: made.preTokenizer, origin, state: proof.state, reason: proof.reason }).toEqual({
      name: preTokenizer,
      origin: 'rules',
      state: 'not-run',
      reason: 'llama.cpp is not there',
    });
  });

  it('is not taken silently where no rules fit', async () => {
    const error = await failure(make('unknown'));
    expect(error.code).toBe('tokenizer-unknown');
    expect(error.message).toContain(
      String.raw`none of llama.cpp's pre-tokenizers has this tokenizer's rules: \p{L}{1,4}|\p{N}{1,2}|[^\p{L}\p{N}]`,
    );
    expect(error.hint).toContain('--pre-tokenizer NAME');
  });

  it('is refused by strict where nothing could be proved', async () => {
    const error = await failure(tokenizerMetadata(folderOf('gpt2'), { ...OPTIONS, strict: true }));
    expect(error).toMatchObject({ code: 'tokenizer-unknown' });
    expect(error.message).toContain('is not proved; it was not compared: llama.cpp is not there');
  });

  it('must be a name that llama.cpp has', async () => {
    expect(await failure(make('gpt2', { preTokenizer: 'gpt-5' }))).toMatchObject({ code: 'usage' });
  });

  it('has no say over SentencePiece', async () => {
    expect(await failure(make('sentencepiece', { preTokenizer: 'gpt-2' }))).toMatchObject({ code: 'usage' });
  });
});

it('a tokenizer with more tokens than the model has rows is refused', async () => {
  const error = await failure(tokenizerMetadata(folderOf('gpt2'), { ...OPTIONS, vocabularySize: 400 }));
  expect(error.code).toBe('model-invalid');
  expect(error.message).toMatch(/has id 4\d\d, but the model has only 400 rows/);
});

it('old objects in place of texts name the same beginning-of-text token', async () => {
  const folder = await temporaryFolder();
  await cp(folderOf('gpt2'), folder, { recursive: true });
  const path = join(folder, 'tokenizer_config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  await writeFile(path, JSON.stringify({ ...config, bos_token: { __type: 'AddedToken', content: '<|start|>' } }));
  expect(await written(await tokenizerMetadata(folder, OPTIONS))).toEqual(await reference('gpt2'));
  await rm(folder, { recursive: true });
});

// Not of the Unigram fixture: the library replaces its normalisation rules by fixed ones (tabs become spaces).
describe('the JavaScript tokenizer gives the ids of the Rust one', () => {
  it.each(['llama3', 'qwen2', 'gpt2', 'smollm', 'deepseek', 'unknown', 'sentencepiece-json'])('%s', (name) => {
    const read = (file: string): unknown => JSON.parse(readFileSync(join(folderOf(name), file), 'utf8'));
    const tokenizer = new Tokenizer(read('tokenizer.json'), {});
    for (const { text, ids } of read('ids.json') as { text: string; ids: number[] }[]) {
      expect([text, tokenizer.encode(text, { add_special_tokens: false }).ids]).toEqual([text, ids]);
    }
  });
});
