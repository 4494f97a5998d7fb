import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeConverted } from '../../../src/models/convert/convert-to-gguf.ts';
import { planFromFolder } from '../../../src/models/convert/plan.ts';
import { planFromGguf } from '../../../src/models/convert/plan-from-gguf.ts';
import { fileTypeOf, QUANT_NAMES, isConverterType, type QuantName } from '../../../src/models/convert/recipes.ts';
import { describeGguf, recorded } from './recorded.ts';
import { TINY_MODELS, writeTinyModel, type TinyModel } from './tiny-models.ts';

const PLAIN = ['F32', 'F16', 'BF16', 'Q8_0'] as const;
const OPTIONS = { tokenizer: new Map(), importance: null } as const;
const RUN = { libraryPath: null, importancePath: null, onProgress: () => {} } as const;

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runoff-convert-'));
  for (const [name, model] of Object.entries(TINY_MODELS)) await writeTinyModel(join(folder, name), model);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function convert(name: string, quant: QuantName): Promise<string> {
  const out = join(folder, `${name}-${quant}.gguf`);
  await writeConverted(await planFromFolder(join(folder, name), { ...OPTIONS, quant }), out, RUN);
  return out;
}

describe.each(Object.keys(TINY_MODELS))('%s', (name) => {
  test.each(PLAIN)('%s: tensors and metadata are those of convert_hf_to_gguf.py', async (quant) => {
    const found = await describeGguf(await convert(name, quant));
    const wanted = recorded(name, quant);
    expect(found.tensors).toEqual(wanted.tensors);
    expect(found.metadata).toEqual(wanted.metadata);
    expect(found.fileType).toBe(fileTypeOf(quant));
  });

  test('the other types: names, order, shapes and types are those of llama-quantize', async () => {
    for (const quant of QUANT_NAMES.filter((candidate) => !isConverterType(candidate))) {
      const plan = await planFromFolder(join(folder, name), { ...OPTIONS, quant });
      const found = plan.plans.map((tensor) => `${tensor.name} ${tensor.dimensions.join('x')} ${tensor.type.name}`);
      const wanted = recorded(name, quant).tensors.map((line) => line.slice(0, line.lastIndexOf(' ')));
      expect([quant, ...found]).toEqual([quant, ...wanted]);
    }
  });
});

test('a GGUF as source gives the types that llama-quantize gives, and keeps the metadata', async () => {
  const source = await convert('llama-3', 'BF16');
  const plan = await planFromGguf(source, { quant: 'Q4_K_M', importance: null });
  const wanted = recorded('llama-3', 'Q4_K_M');
  expect(plan.plans.map(({ name, type }) => `${name} ${type.name}`)).toEqual(
    wanted.tensors.map((line) => line.split(' ')).map(([tensor, , type]) => `${tensor} ${type}`),
  );
  expect(plan.quantisedBefore).toEqual([]);
});

test('a GGUF goes to another plain type and back without a change where the types hold the values', async () => {
  const source = await convert('qwen-3', 'BF16');
  const [wide, back] = [join(folder, 'wide.gguf'), join(folder, 'back.gguf')];
  await writeConverted(await planFromGguf(source, { quant: 'F32', importance: null }), wide, RUN);
  await writeConverted(await planFromGguf(wide, { quant: 'BF16', importance: null }), back, RUN);
  const [first, last] = [await describeGguf(source), await describeGguf(back)];
  expect(last.tensors).toEqual(first.tensors);
  expect([...last.metadata].sort()).toEqual([...first.metadata].sort());
  expect((await describeGguf(wide)).fileType).toBe(0);
});

test('shards without an index are read in the order of their names', async () => {
  const { config, shapes } = TINY_MODELS['llama-3'] as TinyModel;
  const loose = join(folder, 'loose');
  await writeTinyModel(loose, { config, shapes, dtype: 'BF16', shards: 2 });
  await rm(join(loose, 'model.safetensors.index.json'));
  const plan = await planFromFolder(loose, { ...OPTIONS, quant: 'BF16' });
  expect(plan.plans.map(({ name }) => name)).toEqual(
    recorded('llama-3', 'BF16').tensors.map((line) => line.split(' ')[0]),
  );
});
