import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { outputPaths, writeConverted } from '../../../src/models/convert/convert-to-gguf.ts';
import { planFromFolder } from '../../../src/models/convert/plan.ts';
import { planFromGguf } from '../../../src/models/convert/plan-from-gguf.ts';
import { numberOf } from '../../../src/models/gguf/metadata.ts';
import { PARTS_MAX } from '../../../src/models/gguf/parts.ts';
import { readGgufHeader } from '../../../src/models/gguf/read-header.ts';
import { tensorTypeNamed } from '../../../src/models/gguf/tensor-types.ts';
import { writeGguf } from '../../../src/models/gguf/write.ts';
import { compareWeights } from '../../../src/models/verify/compare-weights.ts';
import { failure, fixturePath, temporaryFolder } from '../fixture.ts';
import { TINY_MODELS, writeTinyModel } from './tiny-models.ts';

const RUN = { libraryPath: null, importancePath: null, onProgress: () => {} } as const;
const COPY = { quant: null, importance: null } as const;

async function bytesOf(paths: readonly string[]): Promise<Buffer[]> {
  return Promise.all(paths.map((path) => readFile(path)));
}

describe('a GGUF in several files', async () => {
  const folder = await temporaryFolder();
  const source = join(folder, 'llama-3');
  await writeTinyModel(source, TINY_MODELS['llama-3']!);
  const whole = join(folder, 'whole.gguf');
  const OPTIONS = { quant: 'BF16', tokenizer: new Map(), importance: null } as const;
  await writeConverted(await planFromFolder(source, OPTIONS), whole, RUN);

  it('has the bytes that gguf-split --split-max-size gives it', async () => {
    const plan = await planFromGguf(whole, { ...COPY, partBytesMax: 2e6 });
    const paths = await writeConverted(plan, join(folder, 'split.gguf'), RUN);
    const hashes = (await bytesOf(paths)).map((bytes) => createHash('sha256').update(bytes).digest('hex'));
    expect(paths.map((path) => path.slice(folder.length + 1))).toEqual(REFERENCE.map(({ name }) => name));
    expect(hashes).toEqual(REFERENCE.map(({ sha256 }) => sha256));
  });

  it('becomes the one file again', async () => {
    const plan = await planFromGguf(whole, { ...COPY, partBytesMax: 3e6 });
    const [first] = await writeConverted(plan, join(folder, 'again.gguf'), RUN);
    await writeConverted(await planFromGguf(first!, COPY), join(folder, 'joined.gguf'), RUN);
    expect((await readFile(join(folder, 'joined.gguf'))).equals(await readFile(whole))).toBe(true);
  });

  it('comes from a folder in one pass, and into another type', async () => {
    const plan = await planFromFolder(source, { ...OPTIONS, quant: 'Q8_0', partBytesMax: 1e6 });
    const paths = await writeConverted(plan, join(folder, 'folder.gguf'), RUN);
    expect(paths.length).toBeGreaterThan(2);
    await writeConverted(await planFromFolder(source, { ...OPTIONS, quant: 'Q8_0' }), join(folder, 'q8.gguf'), RUN);
    const { verdict } = await compareWeights(paths[0]!, join(folder, 'q8.gguf'), { relativeRmseMax: 0 });
    expect(verdict).toBe('identical');
    const again = await planFromGguf(paths[0]!, { quant: 'F16', importance: null, partBytesMax: 2e6 });
    const halves = await writeConverted(again, join(folder, 'halves.gguf'), RUN);
    const header = await readGgufHeader(halves[0]!);
    expect(numberOf(header.metadata, 'split.count')).toBe(halves.length);
    expect(numberOf(header.metadata, 'general.file_type')).toBe(1);
  });

  it('holds no more than the limit in a file, and a larger tensor alone', async () => {
    const plan = await planFromGguf(whole, { ...COPY, partBytesMax: 100_000 });
    const sizes = plan.parts.map(({ layout }) => layout.totalBytes - layout.header.byteLength);
    for (const [part, { plans }] of plan.parts.entries())
      if (sizes[part]! > 100_000) expect([part, plans.length]).toEqual([part, 1]);
    expect(plan.parts.flatMap(({ plans }) => plans)).toEqual(plan.plans);
  });

  it('stays one file, without keys of a split, where all fits', async () => {
    const plan = await planFromGguf(whole, { ...COPY, partBytesMax: 1e9 });
    const paths = await writeConverted(plan, join(folder, 'fits.gguf'), RUN);
    expect(paths).toEqual([join(folder, 'fits.gguf')]);
    expect((await readFile(paths[0]!)).equals(await readFile(whole))).toBe(true);
  });

  it('is named after the output, whether that has a number or not', () => {
    const parts = [{}, {}] as unknown as Parameters<typeof outputPaths>[0]['parts'];
    for (const out of ['m.gguf', 'm-00001-of-00009.gguf'])
      expect(outputPaths({ parts }, join(folder, out))).toEqual([
        join(folder, 'm-00001-of-00002.gguf'),
        join(folder, 'm-00002-of-00002.gguf'),
      ]);
  });

  it('leaves nothing behind when it is refused or stopped', async () => {
    const many = join(folder, 'many.gguf');
    const tensors = Array.from({ length: PARTS_MAX + 1 }, (_, i) => ({
      name: `t${i}.weight`,
      type: tensorTypeNamed('F32'),
      dimensions: [1],
      bytes: new Uint8Array(4),
    }));
    await writeGguf(many, { metadata: new Map(), tensors });
    expect(await failure(planFromGguf(many, { ...COPY, partBytesMax: 1 }))).toMatchObject({
      code: 'usage',
      hint: 'Choose a larger --split-max-size.',
    });
    const controller = new AbortController();
    const before = readdirSync(folder);
    const plan = await planFromGguf(whole, { ...COPY, partBytesMax: 1e6 });
    const stopped = writeConverted(plan, join(folder, 'stopped.gguf'), {
      ...RUN,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
    expect(readdirSync(folder)).toEqual(before);
  });

  it('copies what it does not understand: other architectures too', async () => {
    const plan = await planFromGguf(fixturePath('tiny-qwen2.gguf'), { ...COPY, partBytesMax: 4_000 });
    const paths = await writeConverted(plan, join(folder, 'any.gguf'), RUN);
    expect(paths.every((path) => existsSync(path))).toBe(true);
  });
});

/** What llama.cpp's gguf-split (b11434) makes of the same file: gguf-split --split-max-size 2M whole.gguf split */
const REFERENCE = [
  '9295b3a3dfa9b107c43ab930c91fd30dbee6546df4d1281de63d360eb9cda82b',
  '6b5bc35beefd28517f78d8b50964ed98c22030699cde06788a2f4d73ede84743',
  '96a7f3e6b642149c92606cb1e805ddac3ae6a9e764dabdf5bb2ce9e3fb77fd1a',
  '6849a8a07f60da47d7f2a6bf60bfd591efab3c67304886cb48a8e380a0516e28',
].map((sha256, index) => ({ name: `split-0000${index + 1}-of-00004.gguf`, sha256 }));
