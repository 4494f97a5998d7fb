/** What a run does with a llamafile: the ladder's last rung, the model that it brings, and what stands in for it. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { carriedModelSpec, ggufFor } from '../../src/app/carried-model.ts';
import { enginesOf, foundIn } from '../../src/app/ladder.ts';
import { inspectModel } from '../../src/app/models.ts';
import { describeInspection } from '../../src/app/models-text.ts';
import { previewRun } from '../../src/app/preview.ts';
import { prepareEngines } from '../../src/app/prepare-engines.ts';
import { prepareModel } from '../../src/app/prepare-model.ts';
import { createEnvironments } from '../../src/platform/environments/environments.ts';
import { installFakeLlamafile } from '../fixtures/llamafile/fake-llamafile-server.ts';
import { model, text, writeFakeLlamafile } from '../models/llamafile/fake-llamafile.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runoff-llamafile-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const ui = { line: () => {}, status: () => {}, done: () => {} };
const places = (path: string | null) => ({
  enginePaths: new Map(path === null ? [] : [['llamafile', path]]),
  environments: createEnvironments({ cacheFolder: join(folder, 'cache'), onProgress() {} }),
});

async function prepared(path: string) {
  return prepareEngines({
    ...places(path),
    engines: ['llamafile'],
    mayInstall: async () => false,
    signal: new AbortController().signal,
    ui,
  });
}

/** With a model whose bytes nobody reads. */
async function selfContained(literal: string): Promise<string> {
  const path = join(folder, 'x.llamafile');
  const tiny = new URL('../models/fixtures/tiny-llama.gguf', import.meta.url);
  const bytes = await readFile(tiny);
  await writeFakeLlamafile(path, {
    literal,
    zip64: true,
    entries: [model('tiny.gguf', bytes), text('.args', '-m\ntiny.gguf\n...\n')],
  });
  return path;
}

test('the ladder has it on top where there is one', async () => {
  const path = await installFakeLlamafile(folder);
  expect((await enginesOf({ ladder: true }, foundIn(places(path)))).at(-1)).toBe('llamafile');
});

test('what stands in for it is recorded under a name of its own', async () => {
  const { found, facts } = await prepared(await selfContained('llamafile v0.9.3 (conformance stand-in)'));
  expect(found.map(({ engine }) => engine.id)).toEqual(['llamafile-stand-in']);
  expect(facts).toMatchObject([
    {
      id: 'llamafile-stand-in',
      referenceBackend: "a conformance stand-in: another engine answers in llamafile's dialect, at its own speed",
    },
  ]);
});

test('a genuine one keeps its name, and its model is the one of the run', async () => {
  const path = await selfContained('llamafile v0.9.3');
  const { found } = await prepared(path);
  expect(found.map(({ engine }) => engine.id)).toEqual(['llamafile']);
  expect(carriedModelSpec(found)).toBe(`${path}:tiny.gguf`);
  const lines = await previewRun({ asked: { engines: ['llamafile'] }, enginePaths: new Map([['llamafile', path]]) });
  expect(lines[1]).toBe(`Model     ${path}:tiny.gguf`);
});

test('it is measured with its own model in place, and refused for any other, of the same size, too', async () => {
  const path = await selfContained('llamafile v0.9.3');
  const [carrying] = (await prepared(path)).found;
  const ask = (spec: string) => ({
    spec,
    cacheFolder: join(folder, 'cache'),
    python: null,
    offlineBecause: null,
    signal: new AbortController().signal,
    ui,
  });
  const own = ask(`${path}:tiny.gguf`);
  expect(await ggufFor(carrying!, await prepareModel(own), own)).toBe(path);
  const bytes = await readFile(new URL('../models/fixtures/tiny-llama.gguf', import.meta.url));
  bytes[bytes.length - 1]! ^= 1;
  const other = ask(join(folder, 'other.gguf'));
  await writeFile(other.spec, bytes);
  await expect(ggufFor(carrying!, await prepareModel(other), other)).rejects.toMatchObject({
    code: 'model-unsupported',
    message: expect.stringContaining('x.llamafile holds tiny.gguf, which is not') as string,
  });
});

test('looking into one tells what it calls itself', async () => {
  const path = await selfContained('llamafiler v0.9.3 (my build)');
  expect(describeInspection(await inspectModel(path, null), 100)).toMatch(/^llamafiler 0\.9\.3 \(my build\)\n/);
});
