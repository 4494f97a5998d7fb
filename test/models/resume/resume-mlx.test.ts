import { createHash } from 'node:crypto';
import { copyFile, readdir, readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { convertToMlx, type ConvertToMlxAsk } from '../../../src/app/convert/to-mlx.ts';
import { TINY_MODELS, writeTinyModel, type TinyModel } from '../convert/tiny-models.ts';
import { failure, fixturePath, temporaryFolder } from '../fixture.ts';
import { mlxAsk } from '../mlx/mlx-ask.ts';

const root = await temporaryFolder();

interface Case {
  readonly source: string;
  readonly more: Partial<ConvertToMlxAsk>;
}

const folderModel = join(root, 'model');
await writeTinyModel(folderModel, TINY_MODELS['qwen-2'] as TinyModel);
const ggufModel = join(root, 'tiny.gguf');
await copyFile(fixturePath('tiny-qwen3.gguf'), ggufModel);

const CASES: readonly [string, Case][] = [
  ['4 bits from a folder', { source: folderModel, more: { bits: 4, groupSize: 32 } }],
  ['4 bits on two threads', { source: folderModel, more: { bits: 4, groupSize: 32, threads: 2 } }],
  ['dense from a folder', { source: folderModel, more: {} }],
  ['lossless from a GGUF', { source: ggufModel, more: { dtype: 'f32' } }],
];

/** @returns lines for the user; aborts at the n-th report of progress */
async function convert(
  { source, more }: Case,
  out: string,
  { resume = false, abortAt = 0, ...other }: Partial<ConvertToMlxAsk> & { abortAt?: number } = {},
): Promise<string[]> {
  const controller = new AbortController();
  const lines: string[] = [];
  let reports = 0;
  const ui: ConvertToMlxAsk['ui'] = {
    line: (text) => void lines.push(text),
    status(text) {
      if (!/^(?:Converting|Repacking)/.test(text)) return;
      reports += 1;
      if (reports === abortAt) controller.abort();
    },
    done() {},
  };
  await convertToMlx(mlxAsk(source, out, { resume, signal: controller.signal, ui, ...more, ...other }));
  return lines;
}

async function contents(folder: string): Promise<Record<string, string>> {
  const hashes: Record<string, string> = {};
  for (const name of (await readdir(folder)).toSorted())
    hashes[name] = createHash('sha256')
      .update(await readFile(join(folder, name)))
      .digest('hex');
  return hashes;
}

const beside = async (name: string): Promise<string[]> =>
  (await readdir(root)).filter((entry) => entry.startsWith(name)).toSorted();

describe.each(CASES)('%s', (title, what) => {
  const name = `out-${title.replaceAll(' ', '-')}`;
  const out = join(root, name);

  test('stopped in the middle and resumed it is the same folder', async () => {
    const whole = join(root, `whole-${name}`);
    await convert(what, whole);
    const error = await failure(convert(what, out, { abortAt: 6 }));
    expect(error.code).toBe('interrupted');
    expect(error.message).toMatch(/^stopped; \d+ of \d+ tensors are kept in .*\.partial\.$/);
    expect(await beside(name)).toEqual([`${name}.partial`, `${name}.partial.journal`]);
    expect(await readdir(`${out}.partial`)).toEqual(['model.safetensors']);
    const [line] = await convert(what, out, { resume: true });
    expect(line).toMatch(/^Going on with .*\.partial: [1-9]\d* of \d+ tensors are there\.$/);
    expect(await contents(out)).toEqual(await contents(whole));
    expect(await beside(name)).toEqual([name]);
  });
});

test('other bits, and a source that has changed, are refused', async () => {
  const what = CASES[0]?.[1] as Case;
  const out = join(root, 'refused');
  await failure(convert(what, out, { abortAt: 6 }));
  expect(await failure(convert(what, out, { resume: true, bits: 8 }))).toMatchObject({
    code: 'usage',
    message: `${out}.partial cannot be resumed: --bits was 4 and is 8 now.`,
  });
  await utimes(join(folderModel, 'model.safetensors'), 5, 5);
  expect(await failure(convert(what, out, { resume: true }))).toMatchObject({
    code: 'usage',
    message: `${out}.partial cannot be resumed: model.safetensors has changed since.`,
  });
});

test('a lossless conversion that began is no dense one', async () => {
  const what = CASES[3]?.[1] as Case;
  const out = join(root, 'other-kind');
  await failure(convert(what, out, { abortAt: 6 }));
  expect(await failure(convert(what, out, { resume: true, bits: 4, groupSize: 32 }))).toMatchObject({
    code: 'usage',
    message: expect.stringContaining('it was begun by another version of the converter'),
  });
});
