/** A GGUF's vocabulary as Hugging Face's files, and these as a GGUF's again. The GGUFs are llama.cpp's converter's. */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GgufMetadata, GgufValue } from '../../../src/models/gguf/metadata.ts';
import { readGgufHeader } from '../../../src/models/gguf/read-header.ts';
import { readVocabulary, type Vocabulary } from '../../../src/models/gguf/vocabulary.ts';
import { writeGguf } from '../../../src/models/gguf/write.ts';
import { tokenizerMetadata } from '../../../src/models/tokenizer/to-gguf.ts';
import { rebuildTokenizer, tokenizerConfig, type TokenizerJson } from '../../../src/models/tokenizer/tokenizer-json.ts';
import { fixturePath, temporaryFolder } from '../fixture.ts';

const OPTIONS = {
  preTokenizer: null,
  vocabularySize: null,
  strict: false,
  llamaCpp: { root: null, reason: 'llama.cpp is not there' },
} as const;
const folderOf = (name: string): string => fixturePath(join('tokenizers', name));

async function referenceOf(name: string): Promise<{ metadata: GgufMetadata; vocabulary: Vocabulary }> {
  const { metadata } = await readGgufHeader(join(folderOf(name), 'reference.gguf'));
  return { metadata, vocabulary: readVocabulary(metadata)! };
}

async function again(vocabulary: Vocabulary, modelType: string): Promise<GgufMetadata> {
  const folder = await temporaryFolder();
  const config = { model_type: modelType, vocab_size: vocabulary.tokens.length };
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(rebuildTokenizer(vocabulary).tokenizerJson));
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(tokenizerConfig(vocabulary, null)));
  const path = join(folder, 'again.gguf');
  await writeGguf(path, { metadata: (await tokenizerMetadata(folder, OPTIONS)).metadata, tensors: [] });
  return (await readGgufHeader(path)).metadata;
}

function items(value: GgufValue | undefined): unknown[] {
  return value?.type === 'array' ? Array.from<unknown>(value.items) : [];
}

/** What llama.cpp tokenises by. */
const KEYS = ['model', 'pre', 'bos_token_id', 'eos_token_id', 'unknown_token_id'];

describe('what llama.cpp tokenises by stays the same', () => {
  it.each([
    ['llama3', 'llama'],
    ['qwen2', 'qwen2'],
    ['gpt2', 'llama'],
    ['smollm', 'llama'],
    ['deepseek', 'llama'],
    ['sentencepiece', 'llama'],
    ['unigram', 't5'],
  ])('%s', async (name, modelType) => {
    const { metadata: before, vocabulary } = await referenceOf(name);
    const after = await again(vocabulary, modelType);
    for (const key of KEYS.filter((candidate) => before.has(`tokenizer.ggml.${candidate}`)))
      expect([key, after.get(`tokenizer.ggml.${key}`)]).toEqual([key, before.get(`tokenizer.ggml.${key}`)]);
    for (const key of ['tokens', 'token_type', 'merges'].map((short) => `tokenizer.ggml.${short}`))
      expect([key, ...items(after.get(key))]).toEqual([key, ...items(before.get(key))]);
    expect(readVocabulary(after)?.addBos).toBe(vocabulary.addBos);
  });
});

describe('Unigram', async () => {
  const { vocabulary } = await referenceOf('unigram');
  const { tokenizerJson } = rebuildTokenizer(vocabulary);

  it('has the rules and the pieces that transformers gives it', () => {
    const reference = JSON.parse(readFileSync(join(folderOf('unigram'), 'tokenizer.json'), 'utf8')) as TokenizerJson;
    for (const part of ['normalizer', 'pre_tokenizer', 'decoder'] as const)
      expect([part, tokenizerJson[part]]).toEqual([part, reference[part]]);
    // The converter of T5's tokenizer forgets that the pieces have bytes to fall back on.
    expect(tokenizerJson.model).toEqual({ ...reference.model, byte_fallback: true });
  });

  it('comes back with its scores and its table of replacements', async () => {
    const { metadata: before } = await referenceOf('unigram');
    const after = await again(vocabulary, 't5');
    for (const key of ['scores', 'precompiled_charsmap', 'add_space_prefix', 'remove_extra_whitespaces'])
      expect([key, after.get(`tokenizer.ggml.${key}`)]).toEqual([key, before.get(`tokenizer.ggml.${key}`)]);
  });
});
