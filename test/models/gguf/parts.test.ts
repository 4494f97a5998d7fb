import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fingerprintModel } from '../../../src/models/fingerprint/fingerprint.ts';
import { storedFingerprint } from '../../../src/models/fingerprint/stored.ts';
import { modelFacts } from '../../../src/models/gguf/model-facts.ts';
import { filesOfModel, parsePartName, readGgufModel } from '../../../src/models/gguf/parts.ts';
import { summarizeGguf } from '../../../src/models/gguf/summary.ts';
import { repackToMlx } from '../../../src/models/mlx/repack.ts';
import { failure, fixturePath, temporaryFolder } from '../fixture.ts';
import { writeSplitModel, type PartsChange } from '../split-model.ts';

const TINY = fixturePath('tiny-llama.gguf');

const writeParts = (stem: string, change: PartsChange = {}): Promise<string> => writeSplitModel(TINY, stem, change);

describe('names of parts', () => {
  it('are what gguf-split writes, from 1, with five digits', () => {
    expect(parsePartName('my-model-00002-of-00003.gguf')).toEqual({ stem: 'my-model', part: 2, count: 3 });
    for (const name of [
      'm.gguf',
      'm-00000-of-00003.gguf',
      'm-00004-of-00003.gguf',
      'm-1-of-3.gguf',
      '-00001-of-00002.gguf',
    ])
      expect([name, parsePartName(name)]).toEqual([name, null]);
  });

  it('lead from the first to all, and from any other file only to itself', () => {
    expect(filesOfModel(join('a', 'm-00001-of-00002.gguf'))).toEqual([
      join('a', 'm-00001-of-00002.gguf'),
      join('a', 'm-00002-of-00002.gguf'),
    ]);
    for (const name of ['m-00002-of-00002.gguf', 'm.gguf']) expect(filesOfModel(name)).toEqual([name]);
  });
});

describe('a model in three files', async () => {
  const folder = await temporaryFolder();

  it('is read as one: tensors, bytes, types, fingerprint', async () => {
    const path = await writeParts(join(folder, 'm'));
    const [whole, joined] = [await readGgufModel(TINY), await readGgufModel(path)];
    expect(joined.tensors.map(({ name }) => name)).toEqual(whole.tensors.map(({ name }) => name));
    expect([...new Set(joined.tensors.map((tensor) => tensor.path))]).toEqual(filesOfModel(path));
    const sizes = await Promise.all(filesOfModel(path).map(async (file) => (await readFile(file)).length));
    expect(joined.fileBytes).toBe(sizes.reduce((sum, size) => sum + size, 0));
    expect((await fingerprintModel(path)).fingerprint).toBe((await fingerprintModel(TINY)).fingerprint);
    const [facts, factsOfWhole] = [await modelFacts(path), await modelFacts(TINY)];
    expect(facts).toEqual({ ...factsOfWhole, path, fileBytes: joined.fileBytes });
    const summary = await summarizeGguf(path);
    expect(summary).toEqual({ ...(await summarizeGguf(TINY)), path, fileBytes: joined.fileBytes });
  });

  it('becomes MLX from all of them', async () => {
    const path = await writeParts(join(folder, 'mlx'));
    await repackToMlx(path, join(folder, 'out'), { scales: 'f16' });
    expect((await fingerprintModel(join(folder, 'out'))).fingerprint).toBe((await fingerprintModel(TINY)).fingerprint);
  });

  it('has the hash of its files one after the other, made again when one changes', async () => {
    const path = await writeParts(join(folder, 'hash'));
    const bytes = await Promise.all(filesOfModel(path).map((file) => readFile(file)));
    const cache = join(folder, 'cache');
    const first = await storedFingerprint(path, cache);
    expect(first.sha256).toBe(createHash('sha256').update(Buffer.concat(bytes)).digest('hex'));
    const last = bytes[2]!;
    last[last.length - 1]! ^= 1;
    await writeFile(filesOfModel(path)[2]!, last);
    expect((await storedFingerprint(path, cache)).sha256).not.toBe(first.sha256);
  });

  it('is refused where a part is missing, renamed, of another model, or repeated', async () => {
    const scrub = (text: string): string => text.replaceAll(folder, '');
    const messages: string[] = [];
    const refuse = async (path: string): Promise<void> => {
      const { code, message } = await failure(readGgufModel(path));
      messages.push(scrub(`${code}: ${message}`));
    };
    const path = await writeParts(join(folder, 'bad'));
    await refuse(filesOfModel(path)[1]!);
    await writeFile(join(folder, 'renamed.gguf'), await readFile(path));
    await refuse(join(folder, 'renamed.gguf'));
    await rm(filesOfModel(path)[2]!);
    await refuse(path);
    await refuse(await writeParts(join(folder, 'bad'), { number: 2 }));
    await refuse(await writeParts(join(folder, 'bad'), { repeats: true }));
    await refuse(await writeParts(join(folder, 'bad'), { tensorCount: 12 }));
    expect(messages).toMatchInlineSnapshot(`
      [
        "model-invalid: /bad-00002-of-00003.gguf is a part of a model of 3 files, but not named as the first of them.",
        "model-invalid: /renamed.gguf is a part of a model of 3 files, but not named as the first of them.",
        "model-invalid: The model has 3 parts, and /bad-00003-of-00003.gguf is missing.",
        "model-invalid: /bad-00002-of-00003.gguf says that it is part 3 of 3; by its name it is 2 of 3.",
        "model-invalid: /bad-00001-of-00003.gguf: the tensor token_embd.weight is in two parts of the model.",
        "model-invalid: /bad-00001-of-00003.gguf announces 12 tensors; the parts of the model have 11.",
      ]
    `);
  });
});
