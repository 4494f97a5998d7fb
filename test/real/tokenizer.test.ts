/** Both tokenizers for real: the proof finds what is the same and what is not. Skipped where node-llama-cpp is not installed. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readGgufHeader } from '../../src/models/gguf/read-header.ts';
import { writeGguf } from '../../src/models/gguf/write.ts';
import { checkGgufTokenizer } from '../../src/models/tokenizer/check-gguf.ts';
import { storeJsonLines } from '../../src/models/tokenizer/token-lists.ts';
import { tokenizerMetadata, type TokenizerMetadata } from '../../src/models/tokenizer/to-gguf.ts';
import { createEnvironments } from '../../src/platform/environments/environments.ts';
import { cacheFolder } from '../../src/platform/folders.ts';
import { failure, fixturePath, temporaryFolder } from '../models/fixture.ts';

const environment = await createEnvironments({ cacheFolder: cacheFolder(), onProgress() {} }).inspect('node-llama-cpp');
const isReady = environment.state === 'ready';
if (!isReady) console.log(`test/real/tokenizer: skipped: node-llama-cpp is ${environment.state}`);
const llamaCpp = environment.state === 'ready' ? { root: environment.root } : { root: null, reason: 'not installed' };
const SMOLLM2 = join(cacheFolder(), 'models', 'smollm2-135m-instruct-q4_0', 'SmolLM2-135M-Instruct.Q4_0.gguf');
const folderOf = (name: string): string => fixturePath(join('tokenizers', name));

function prove(folder: string, preTokenizer: string | null = null): Promise<TokenizerMetadata> {
  return tokenizerMetadata(folder, { preTokenizer, vocabularySize: null, strict: false, llamaCpp });
}

describe.skipIf(!isReady)('the proof', () => {
  test.each([
    ['llama3', 'llama-bpe'],
    ['qwen2', 'qwen2'],
    ['gpt2', 'gpt-2'],
    ['smollm', 'smollm'],
    ['deepseek', 'deepseek-v3'],
    ['sentencepiece-json', 'default'],
  ])('%s is %s', async (name, preTokenizer) => {
    const { proof, ...made } = await prove(folderOf(name));
    expect({
      name: made.preTokenizer,
      state: proof.state,
      differences: proof.comparisons.map(({ differenceCount }) => differenceCount),
    }).toEqual({ name: preTokenizer, state: 'proven', differences: [0] });
    expect(proof.comparisons[0]?.textCount).toBeGreaterThan(12_000);
  });

  test('only the vocabulary shows that ignore_merges is wrong', async () => {
    const { proof } = await prove(folderOf('llama3'), 'smaug-bpe');
    expect(proof.state).toBe('differs');
    expect(proof.comparisons[0]?.byKind).toHaveProperty('vocabulary');
  });

  test('rules that no name has: the closest, its error rate and the first difference', async () => {
    const error = await failure(prove(folderOf('unknown')));
    expect(error.code).toBe('tokenizer-unknown');
    expect(error.message).toMatch(/The closest is [a-z0-9.-]+: \d+ of \d+ texts differ \(\d+\.\d\d%\).* The first: /);
    expect(error.hint).toContain('--pre-tokenizer');
  });

  test('a regex that never ends stops at its limit, not at Ctrl-C', async () => {
    const { huggingFaceTokens } = await import('../../src/models/tokenizer/hugging-face-tokenizer.ts');
    const folder = await mkdtemp(join(tmpdir(), 'runoff-regex-'));
    await cp(folderOf('gpt2'), folder, { recursive: true });
    const path = join(folder, 'tokenizer.json');
    const file = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    await writeFile(
      path,
      JSON.stringify({
        ...file,
        pre_tokenizer: { type: 'Split', pattern: { Regex: '(a+)+$' }, behavior: 'Isolated', invert: false },
      }),
    );
    const texts = storeJsonLines(join(folder, 'texts'), [{ kind: 'prose', text: `${'a'.repeat(60)}b` }]);
    const error = await failure(huggingFaceTokens(texts, { path, into: join(folder, 'ids'), timeoutMs: 3_000 }));
    expect(error.code).toBe('engine-timeout');
    await rm(folder, { recursive: true });
  });
});

describe.skipIf(!isReady)('a finished .gguf', () => {
  test('with scores of -1000, as the converter writes them, does not tokenise as its original', async () => {
    const folder = await temporaryFolder();
    const made = join(folder, 'made.gguf');
    const head = ['general.architecture', { type: 'string', value: 'llama' }] as const;
    const proved = await prove(folderOf('sentencepiece-json'));
    await writeGguf(made, { metadata: new Map([head, ...proved.metadata]), tensors: [] });
    const { metadata } = await readGgufHeader(made);
    const scores = metadata.get('tokenizer.ggml.scores');
    if (scores?.type !== 'array' || scores.itemType !== 'f32') throw new TypeError('scores are missing');
    const flat = { ...scores, items: Float32Array.from({ length: scores.items.length }, () => -1000) };
    const path = join(folder, 'flat.gguf');
    await writeGguf(path, { metadata: new Map([...metadata, ['tokenizer.ggml.scores', flat]]), tensors: [] });
    const { proof } = await checkGgufTokenizer(path, { against: folderOf('sentencepiece-json'), llamaCpp });
    expect(proof.state).toBe('differs');
    expect(proof.comparisons[0]?.textDifferenceCount).toBeGreaterThan(10);
  });

  test('with a name that this llama.cpp does not know is not loaded, and that is no crash', async () => {
    const { metadata } = await readGgufHeader(join(folderOf('gpt2'), 'reference.gguf'));
    const path = join(await temporaryFolder(), 'unknown-name.gguf');
    const renamed = new Map([...metadata, ['tokenizer.ggml.pre', { type: 'string', value: 'gpt-5' } as const]]);
    await writeGguf(path, { metadata: renamed, tensors: [] });
    const { proof } = await checkGgufTokenizer(path, { against: folderOf('gpt2'), llamaCpp });
    expect([proof.state, proof.refused, proof.comparisons]).toEqual(['not-run', ['gpt-5'], []]);
    expect(proof.reason).toMatch(/^llama\.cpp \S+ does not load this vocabulary$/);
  });

  test.skipIf(!existsSync(SMOLLM2))('SmolLM2, against the tokenizer that is rebuilt from it', async () => {
    const { proof, preTokenizer } = await checkGgufTokenizer(SMOLLM2, { against: null, llamaCpp });
    expect([preTokenizer, proof.state, proof.comparisons[0]?.differenceCount]).toEqual(['smollm', 'proven', 0]);
  });
});
