import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generalMetadata, samplingMetadata, sizeLabel, titleOf } from '../../../src/models/convert/general-metadata.ts';

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'runoff-card-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Metadata.id_to_title of the reference answers these. */
test.each([
  ['tiny-llama', 'Tiny Llama'],
  ['Llama-3.2-1B-Instruct', 'Llama 3.2 1B Instruct'],
  ['v2-model', 'v2 Model'],
  ['7b-chat', '7b Chat'],
  ['gemma_2', 'Gemma_2'],
  ['my--model', 'My Model'],
])('%s is called %s', (name, title) => {
  expect(titleOf(name)).toBe(title);
});

/** model_weight_count_rounded_notation of the reference answers these. */
test.each([
  [1_235_814_432, '1.2B'],
  [134_515_008, '135M'],
  [8_030_261_248, '8.0B'],
  [70_553_706_496, '71B'],
  [999, '1.0K'],
  [360_821, '361K'],
])('%i parameters are %s', (count, label) => {
  expect(sizeLabel(count)).toBe(label);
});

test('sampling: numbers of the right kind, in order', () => {
  const entries = samplingMetadata({
    temperature: 0.6,
    top_k: 20,
    top_p: '0.9',
    min_p: null,
    repetition_penalty: 1.1,
    do_sample: true,
  });
  expect([...entries]).toEqual([
    ['general.sampling.top_k', { type: 'i32', value: 20 }],
    ['general.sampling.temp', { type: 'f32', value: 0.6 }],
    ['general.sampling.penalty_repeat', { type: 'f32', value: 1.1 }],
  ]);
  expect([...samplingMetadata(null), ...samplingMetadata({ top_k: 2 ** 40 })]).toEqual([]);
});

test.each([
  ['---\nlicense: apache-2.0\n---\nlicense: mit\n', 'apache-2.0'],
  ['---\nlicense: "mit"\ntags:\n- a\n---\n', 'mit'],
  ['---\nlicense: other # see below\n---\n', 'other'],
  ['license: mit\n', undefined],
  ['---\nlicense:\n- mit\n---\n', undefined],
])('of the model card %j the licence is %s', async (card, license) => {
  await writeFile(join(folder, 'README.md'), card);
  const entry = (await generalMetadata(folder, 1_000_000)).get('general.license');
  expect(entry?.type === 'string' ? entry.value : undefined).toBe(license);
});
