import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { needsGgml, writeConverted } from '../../../src/models/convert/convert-to-gguf.ts';
import { planFromFolder, type ConversionPlan } from '../../../src/models/convert/plan.ts';
import { findGgmlLibrary, isGgmlBase } from '../../../src/models/convert/run-with-ggml.ts';
import { TINY_MODELS, writeTinyModel, type TinyModel } from './tiny-models.ts';

let folder = '';
let plan: ConversionPlan;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runoff-ggml-'));
  await writeTinyModel(join(folder, 'model'), TINY_MODELS['llama-2'] as TinyModel);
  plan = await planFromFolder(join(folder, 'model'), { quant: 'Q4_K_M', tokenizer: new Map(), importance: null });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const OPTIONS = { importancePath: null, onProgress: () => {} } as const;

async function leftovers(): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.includes('out.gguf'));
}

test('a mixture needs ggml, a plain type does not', async () => {
  expect(needsGgml(plan)).toBe(true);
  const plain = await planFromFolder(join(folder, 'model'), { quant: 'Q8_0', tokenizer: new Map(), importance: null });
  expect(needsGgml(plain)).toBe(false);
});

test('without ggml it says what to install', async () => {
  const converted = writeConverted(plan, join(folder, 'out.gguf'), { ...OPTIONS, libraryPath: null });
  await expect(converted).rejects.toMatchObject({
    code: 'environment-failed',
    hint: expect.stringContaining('runoff engines install llama-cpp'),
  });
  expect(await leftovers()).toEqual([]);
});

test('a library that cannot be loaded is an error of the environment, from the process that loads it', async () => {
  const libraryPath = join(folder, 'libggml-base.so');
  await writeFile(libraryPath, 'no library');
  const converted = writeConverted(plan, join(folder, 'out.gguf'), { ...OPTIONS, libraryPath });
  await expect(converted).rejects.toMatchObject({ code: 'environment-failed' });
  expect(await leftovers()).toEqual([]);
});

test('aborted before the process has started, nothing is left', async () => {
  const controller = new AbortController();
  controller.abort();
  const converted = writeConverted(plan, join(folder, 'out.gguf'), {
    ...OPTIONS,
    libraryPath: '/none',
    signal: controller.signal,
  });
  await expect(converted).rejects.toThrow('aborted');
  expect(await leftovers()).toEqual([]);
});

test('aborted in the middle of a plain conversion, nothing is left', async () => {
  const plain = await planFromFolder(join(folder, 'model'), { quant: 'F32', tokenizer: new Map(), importance: null });
  const controller = new AbortController();
  let calls = 0;
  const converted = writeConverted(plain, join(folder, 'out.gguf'), {
    libraryPath: null,
    importancePath: null,
    signal: controller.signal,
    onProgress: () => {
      calls += 1;
      if (calls === 3) controller.abort();
    },
  });
  await expect(converted).rejects.toThrow('aborted');
  expect(calls).toBeLessThan(plain.jobs.length);
  expect(await leftovers()).toEqual([]);
});

test.each([
  ['libggml-base.so', true],
  ['libggml-base.v0.4.0.so', true],
  ['libggml-base.dylib', true],
  ['ggml-base.dll', true],
  ['libggml-cpu-haswell.so', false],
  ['libggml.so', false],
  ['libggml-base.txt', false],
])('%s holds the quantisers: %s', (name, holds) => {
  expect(isGgmlBase(name)).toBe(holds);
});

test('the library is found below the environment, the same one every time', async () => {
  const bins = (name: string): string =>
    join(folder, 'environment', 'node_modules', '@node-llama-cpp', name, 'bins', name);
  for (const name of ['linux-x64', 'linux-x64-cuda']) {
    await mkdir(bins(name), { recursive: true });
    await writeFile(join(bins(name), 'libggml-base.so'), '');
  }
  expect(await findGgmlLibrary(join(folder, 'environment'))).toBe(join(bins('linux-x64'), 'libggml-base.so'));
  await expect(findGgmlLibrary(folder)).rejects.toMatchObject({ code: 'environment-failed' });
});
