/** What the doctor learns of models on the hub, from their headers. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { lookAtHubModel } from '../../src/app/doctor-hub.ts';
import { findModel } from '../../src/app/doctor-target.ts';
import { checkPreTokenizer } from '../../src/core/doctor/model-checks.ts';
import type { DoctorFacts, ModelLook } from '../../src/core/doctor/facts.ts';
import { failure, fixturePath, temporaryFolder, writeModel } from '../models/fixture.ts';
import { useHub } from '../models/hub/hub-fixture.ts';
import { safetensorsFile } from '../models/model-folder.ts';

const bench = useHub();
const folder = await temporaryFolder();

async function checkpoint(tokenizer: string, vocabulary: number): Promise<Record<string, Buffer>> {
  const path = (name: string): string => fixturePath(join('tokenizers', tokenizer, name));
  const config = JSON.parse(await readFile(path('config.json'), 'utf8')) as object;
  const embedding = { name: 'model.embed_tokens.weight', dtype: 'BF16', shape: [vocabulary, 64] };
  return {
    'config.json': Buffer.from(JSON.stringify({ ...config, vocab_size: vocabulary })),
    'tokenizer.json': await readFile(path('tokenizer.json')),
    'tokenizer_config.json': await readFile(path('tokenizer_config.json')),
    'model.safetensors': safetensorsFile([{ ...embedding, bytes: new Uint8Array(2 * 64 * vocabulary) }]),
  };
}

async function look(spec: string): Promise<ModelLook> {
  const found = await lookAtHubModel(spec, { hub: bench().hub() });
  if (found.kind === 'local') throw new TypeError('it is not in the cache');
  return found.model;
}

test('a checkpoint is looked at as the GGUF in 16 bits that it becomes', async () => {
  const files = await checkpoint('llama3', 430);
  bench().server.add('owner/base', files);
  expect(await look('hf:owner/base')).toMatchObject({
    state: 'readable',
    isOnHub: true,
    fileBytes: files['model.safetensors']?.length,
    quantisation: 'BF16',
    contextTokens: 128,
    shape: { architecture: 'llama', layers: 1, embedding: 64, kvHeads: [4], keyLength: 16, vocabulary: 430 },
    tokenizer: { kind: 'gpt2', preTokenizer: 'llama-bpe', isKnownHere: true },
  });
});

test('a tokenizer of which nothing can be told is unknown, not missing', async () => {
  bench().server.add('owner/odd', await checkpoint('unknown', 3_000));
  const model = await look('hf:owner/odd');
  const [finding] = checkPreTokenizer({ model } as DoctorFacts);
  expect(finding).toMatchObject({ severity: 'unknown', what: expect.stringContaining("the model's pre-tokenizer: ") });
});

test('a GGUF of any architecture is looked at; a damaged one is a finding, one that is not there an error', async () => {
  const path = join(folder, 'mamba.gguf');
  await writeModel(path, { architecture: 'mamba' });
  const content = await readFile(path);
  bench().server.add('owner/mamba', { 'm.gguf': content });
  expect(await look('hf:owner/mamba')).toMatchObject({ state: 'readable', shape: { architecture: 'mamba' } });
  bench().server.add('owner/cut', { 'm.gguf': content.subarray(0, content.length - 100) });
  const target = await findModel('hf:owner/cut', { hub: bench().hub() });
  expect(await target?.look([])).toMatchObject({
    state: 'unreadable',
    message: expect.stringContaining('100 bytes are missing'),
    hint: 'The file on the hub is damaged: take another one.',
  });
  expect((await failure(findModel('hf:owner/none', { hub: bench().hub() }))).code).toBe('model-not-found');
});

test('one that is in the cache is looked at there', async () => {
  const path = join(folder, 'here.gguf');
  await writeModel(path);
  bench().server.add('owner/here', { 'm.gguf': await readFile(path) });
  const pulled = await bench().pull('hf:owner/here');
  const target = await findModel('hf:owner/here:m.gguf', { hub: bench().hub() });
  expect(target?.name).toBe(pulled.path);
  expect(await target?.look([])).toMatchObject({ state: 'readable', isOnHub: false });
});
