/** What a card says about a model comes from its files. */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { modelCard } from '../../src/app/publish-cards.ts';
import { describeModel, type ModelAnswers } from '../../src/app/publish-model.ts';
import { writeConverted } from '../../src/models/convert/convert-to-gguf.ts';
import { planFromGguf } from '../../src/models/convert/plan-from-gguf.ts';
import { fingerprintModel } from '../../src/models/fingerprint/fingerprint.ts';
import { writeGguf } from '../../src/models/gguf/write.ts';
import { repackToMlx } from '../../src/models/mlx/repack.ts';
import { failure, fixturePath, temporaryFolder } from '../models/fixture.ts';

const folder = await temporaryFolder();
const GGUF = fixturePath('tiny-llama.gguf');
const ANSWERS: ModelAnswers = {
  licence: 'mit',
  source: null,
  command: null,
  measured: null,
  ui: { line() {}, status() {}, done() {} },
  signal: new AbortController().signal,
};

beforeEach(() => vi.stubEnv('RUNOFF_CACHE', join(folder, 'cache')));
afterEach(() => vi.unstubAllEnvs());

describe('a folder for MLX', () => {
  it('is described by its configuration, its receipt and its weights; what else lies there stays', async () => {
    const mlx = join(folder, 'tiny-mlx');
    await repackToMlx(GGUF, mlx, { scales: 'f16' });
    await writeFile(join(mlx, 'LICENSE'), 'the text');
    await writeFile(join(mlx, 'private-notes.txt'), 'mine');
    await writeFile(join(mlx, 'tokenizer.json.swp'), '');
    const model = await describeModel(mlx, ANSWERS);
    expect(model).toMatchObject({
      format: 'mlx',
      architecture: 'llama',
      derivedBy: 'lossless repack by runoff, f16 scales',
      fingerprint: (await fingerprintModel(GGUF)).fingerprint,
    });
    expect(model.source).toMatch(/^tiny-llama\.gguf/);
    const paths = model.files.map(({ path }) => path);
    expect(paths).toEqual(expect.arrayContaining(['config.json', 'model.safetensors', 'LICENSE']));
    expect(paths.filter((path) => /notes|swp|runoff/.test(path))).toEqual([]);
    const card = modelCard({ ...model, repo: 'me/tiny', runoffVersion: '0.1.0', speed: null });
    expect(card).toContain('library_name: mlx');
    expect(card).not.toContain(folder);
  });

  it('without a configuration is no model', async () => {
    const empty = join(folder, 'empty');
    await mkdir(empty);
    expect((await failure(describeModel(empty, ANSWERS))).message).toContain('is neither a model nor a run');
    await writeFile(join(empty, 'config.json'), '[');
    await writeFile(join(empty, 'model.safetensors'), '');
    expect((await failure(describeModel(empty, ANSWERS))).code).toBe('model-invalid');
  });
});

describe('a GGUF', () => {
  it('in the hub cache says where it came from, unchanged', async () => {
    const commit = 'a'.repeat(40);
    const snapshot = join(folder, 'hub', 'models--owner--tiny', 'snapshots', commit, 'sub');
    await mkdir(snapshot, { recursive: true });
    await copyFile(GGUF, join(snapshot, 'm.gguf'));
    const model = await describeModel(join(snapshot, 'm.gguf'), ANSWERS);
    expect(model).toMatchObject({
      source: `hf:owner/tiny@${commit}:sub/m.gguf`,
      derivedBy: 'none: the file as its source has it',
    });
    expect(modelCard({ ...model, repo: 'me/tiny', runoffVersion: '0.1.0', speed: null })).toContain(
      'base_model: owner/tiny',
    );
  });

  it('in several files is published with all of them, under one name', async () => {
    const plan = await planFromGguf(GGUF, { quant: null, importance: null, partBytesMax: 20_000 });
    const run = { libraryPath: null, importancePath: null, onProgress: () => {} };
    const [first = '', ...rest] = await writeConverted(plan, join(folder, 'split.gguf'), run);
    const model = await describeModel(first, ANSWERS);
    expect(model).toMatchObject({ name: 'split', fingerprint: (await fingerprintModel(GGUF)).fingerprint });
    const hashes = await Promise.all(
      [first, ...rest].map(async (path) =>
        createHash('sha256')
          .update(await readFile(path))
          .digest('hex'),
      ),
    );
    expect(rest.length).toBeGreaterThan(0);
    expect(model.files.filter(({ sha256 }) => sha256 !== null).map(({ sha256 }) => sha256)).toEqual(hashes);
    expect(model.files.map(({ path }) => path)).toContain(`split-00002-of-0000${rest.length + 1}.gguf`);
    expect((await failure(describeModel(rest[0] ?? '', ANSWERS))).message).toContain('not named as the first of them');
  });

  it('with random weights, a twin, is not published', async () => {
    const path = join(folder, 'twin.gguf');
    await writeGguf(path, {
      metadata: new Map([
        ['general.architecture', { type: 'string', value: 'llama' }],
        ['runoff.twin.of', { type: 'string', value: 'Llama 3.2 1B' }],
      ]),
      tensors: [],
    });
    expect(await failure(describeModel(path, ANSWERS))).toMatchObject({
      code: 'publish-refused',
      message: 'it is a twin of Llama 3.2 1B: its weights are random',
    });
  });

  it('as a folder with random weights is not published either', async () => {
    const path = join(folder, 'twin-mlx');
    await mkdir(path);
    await writeFile(join(path, 'model.safetensors'), '');
    await writeFile(join(path, 'config.json'), JSON.stringify({ runoff_twin: { of: 'Qwen3 4B' } }));
    expect(await failure(describeModel(path, ANSWERS))).toMatchObject({
      code: 'publish-refused',
      message: 'it is a twin of Qwen3 4B: its weights are random',
    });
  });

  it('cannot put markup or metadata of its own into the card', async () => {
    const path = join(folder, 'x.gguf');
    await writeFile(path, await readFile(GGUF));
    const model = {
      ...(await describeModel(path, ANSWERS)),
      name: 'x](http://evil) <img>\n---\nlicense: mit',
      command: 'a | b ` c\n## d',
    };
    const card = modelCard({ ...model, repo: 'me/x', runoffVersion: '0.1.0', speed: null });
    expect(card).toContain(String.raw`# x\](http://evil) \<img\> --- license: mit`);
    expect(card).toContain("| Command | `a ¦ b ' c ## d` |");
    expect(card.split('\n---\n')).toHaveLength(2);
  });
});
