import { readdirSync, readFileSync } from 'node:fs';
import { readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { extractGguf } from '../../../src/models/llamafile/extract.ts';
import { embeddedGguf, readLlamafile } from '../../../src/models/llamafile/read-llamafile.ts';
import { splitLlamafileSpec } from '../../../src/models/llamafile/spec.ts';
import { resolveModel } from '../../../src/models/sources/resolve-model.ts';
import { failure, fixturePath, patched, temporaryFolder } from '../fixture.ts';
import { model, writeFakeLlamafile } from './fake-llamafile.ts';

const TINY = readFileSync(fixturePath('tiny-llama.gguf'));
const QWEN = readFileSync(fixturePath('tiny-qwen2.gguf'));

describe('extractGguf', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'x.llamafile');
  const target = join(folder, 'cache', 'deep', 'tiny.gguf');
  const leftovers = (): string[] => readdirSync(join(folder, 'cache', 'deep'));

  it.each([false, true])('writes the same bytes; compressed: %s', async (deflated) => {
    await writeFakeLlamafile(path, { entries: [{ name: 'tiny.gguf', bytes: TINY, deflated }] });
    const { entry } = embeddedGguf(await readLlamafile(path));
    const seen: number[] = [];
    await extractGguf(path, entry, target, { onProgress: ({ doneBytes }) => seen.push(doneBytes) });
    expect((await readFile(target)).equals(TINY)).toBe(true);
    expect(seen.at(-1)).toBe(TINY.length);
    expect(leftovers()).toEqual(['tiny.gguf']);
  });

  it.each([false, true])('refuses damaged bytes and leaves nothing; compressed: %s', async (deflated) => {
    const whole = join(folder, 'whole.llamafile');
    const layout = await writeFakeLlamafile(whole, { entries: [{ name: 'tiny.gguf', bytes: TINY, deflated }] });
    const { data } = layout.entries['tiny.gguf']!;
    await patched(whole, path, (bytes) => void bytes.fill(0xff, layout.directory - 400, layout.directory - 300));
    const { entry } = embeddedGguf(await readLlamafile(path));
    expect(entry.dataOffset).toBe(data);
    const other = join(folder, 'cache', 'deep', 'damaged.gguf');
    const { code, message } = await failure(extractGguf(path, entry, other));
    expect(code).toBe('model-invalid');
    expect(message).toMatch(
      /tiny\.gguf in .*x\.llamafile is damaged: (its checksum is wrong|it cannot be unpacked|it has not the)/,
    );
    expect(leftovers()).not.toContain('damaged.gguf');
    expect(leftovers().filter((name) => name.includes('partial'))).toEqual([]);
  });

  it('does not unpack more than the directory claims', async () => {
    await writeFakeLlamafile(path, { entries: [{ name: 'tiny.gguf', bytes: Buffer.alloc(5 << 20), deflated: true }] });
    const { entry } = embeddedGguf(await readLlamafile(path));
    const written: number[] = [];
    const onProgress = ({ doneBytes }: { doneBytes: number }): number => written.push(doneBytes);
    const { message } = await failure(extractGguf(path, { ...entry, byteLength: 1_000 }, target, { onProgress }));
    expect(message).toContain('it has not the 1000 bytes it claims');
    expect(written).toEqual([]);
  });

  it('stops when asked to', async () => {
    await writeFakeLlamafile(path, { entries: [model('tiny.gguf', TINY)] });
    const { entry } = embeddedGguf(await readLlamafile(path));
    const stopped = join(folder, 'cache', 'deep', 'stopped.gguf');
    await expect(extractGguf(path, entry, stopped, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(leftovers().filter((name) => name.startsWith('stopped'))).toEqual([]);
  });
});

describe('--model X.llamafile', async () => {
  const folder = await temporaryFolder();
  const cacheFolder = join(folder, 'models');
  const one = join(folder, 'one.llamafile');
  const two = join(folder, 'two.llamafile.exe');
  await writeFakeLlamafile(one, { entries: [model('tiny.gguf', TINY)] });
  await writeFakeLlamafile(two, { entries: [model('a.gguf', TINY), model('b.gguf', QWEN)] });

  it('takes the model out once', async () => {
    const progress: string[] = [];
    const resolve = () => resolveModel(one, { cacheFolder, onProgress: (line) => progress.push(line) });
    const resolved = await resolve();
    expect(resolved).toMatchObject({
      fileBytes: TINY.length,
      sha256: null,
      origin: `tiny.gguf in ${one}`,
      derivedBy: 'taken out of one.llamafile by runoff, byte for byte',
    });
    expect((await readFile(resolved.path)).equals(TINY)).toBe(true);
    const { mtimeMs } = await stat(resolved.path);
    expect(await resolve()).toEqual(resolved);
    expect((await stat(resolved.path)).mtimeMs).toBe(mtimeMs);
    expect(progress).toEqual(['Taking tiny.gguf out of one.llamafile (0 of 1 MB)']);
  });

  it('takes it out again when the llamafile was changed, or the copy was cut', async () => {
    const { path } = await resolveModel(one, { cacheFolder });
    await writeFile(path, TINY.subarray(0, 100));
    expect((await readFile((await resolveModel(one, { cacheFolder })).path)).equals(TINY)).toBe(true);
    await utimes(one, new Date(0), new Date(0));
    expect((await resolveModel(one, { cacheFolder })).path).not.toBe(path);
  });

  it('needs a name where there are several', async () => {
    const { code, message, hint } = await failure(resolveModel(two, { cacheFolder }));
    expect(`${code}: ${message} ${hint}`.replaceAll(folder, '')).toBe(
      'usage: /two.llamafile.exe holds several models: a.gguf, b.gguf. Name one of them: /two.llamafile.exe:a.gguf',
    );
    const { path } = await resolveModel(`${two}:b.gguf`, { cacheFolder });
    expect((await readFile(path)).equals(QWEN)).toBe(true);
    expect((await failure(resolveModel(`${two}:c.gguf`, { cacheFolder }))).hint).toBe('It holds: a.gguf, b.gguf.');
  });

  it('tells a name inside a llamafile from a path', () => {
    expect(splitLlamafileSpec(`${two}:b.gguf`)).toEqual({ path: two, modelName: 'b.gguf' });
    for (const spec of [one, String.raw`C:\models\a.gguf`, `${join(folder, 'absent.llamafile')}:a.gguf`])
      expect(splitLlamafileSpec(spec)).toEqual({ path: spec, modelName: null });
  });
});
