import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeGguf } from '../../../src/models/gguf/write.ts';
import { packedArguments, packLlamafile } from '../../../src/models/llamafile/pack.ts';
import { readLlamafile } from '../../../src/models/llamafile/read-llamafile.ts';
import { failure, fixturePath, temporaryFolder } from '../fixture.ts';
import { model, text, writeFakeLlamafile } from './fake-llamafile.ts';

const TINY = readFileSync(fixturePath('tiny-llama.gguf'));
const has = (program: string, flag: string): boolean => spawnSync(program, [flag]).status === 0;

describe('packLlamafile', async () => {
  const folder = await temporaryFolder();
  const program = join(folder, 'llamafile');
  const first = join(folder, 'first.gguf');
  const second = join(folder, 'second.gguf');
  const entries = [text('usr/share/zoneinfo/UTC', 'time zone'), text('.symtab', 'symbols '.repeat(50), true)];
  await writeFakeLlamafile(program, { entries });
  await copyFile(fixturePath('tiny-llama.gguf'), first);
  await copyFile(fixturePath('tiny-qwen2.gguf'), second);
  let number = 0;
  const pack = async (ask: Partial<Parameters<typeof packLlamafile>[0]> = {}) => {
    const out = join(folder, `out-${number++}.llamafile`);
    return packLlamafile({ binary: program, models: [first], args: [], out, ...ask });
  };

  it('keeps the program and what it holds, and adds model and arguments', async () => {
    const facts = await pack();
    const [before, after] = [await readFile(program), await readFile(facts.path)];
    expect(after.subarray(0, before.length).equals(before)).toBe(true);
    expect(facts.zip?.entries.map(({ name }) => name)).toEqual([
      'usr/share/zoneinfo/UTC',
      '.symtab',
      'first.gguf',
      '.args',
    ]);
    expect(facts.defaults?.words).toEqual(['-m', 'first.gguf', '...']);
    const { entry, aligned } = facts.models[0]!;
    expect(aligned).toBe(true);
    expect(after.subarray(entry.dataOffset, entry.dataOffset + entry.byteLength).equals(TINY)).toBe(true);
    if (process.platform !== 'win32') expect(statSync(facts.path).mode & 0o777).toBe(0o755);
  });

  it('says the same about the same input', async () => {
    const [a, b] = [await pack(), await pack()];
    expect((await readFile(a.path)).equals(await readFile(b.path))).toBe(true);
  });

  it.runIf(has('python3', '--version'))('is a zip for Python, with every byte', async () => {
    const { path } = await pack({ models: [first, second], args: ['-c', '4096', 'two words'] });
    const script = `
import hashlib, json, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as z:
    assert z.testzip() is None
    print(json.dumps([[i.filename, i.file_size, i.compress_type, i.create_system, i.external_attr >> 16, hashlib.sha1(z.read(i)).hexdigest()] for i in z.infolist()]))`;
    const rows = JSON.parse(execFileSync('python3', ['-c', script, path], { encoding: 'utf8' })) as unknown[][];
    const sha1 = (await import('node:crypto')).createHash;
    const digest = (bytes: Buffer | string): string => sha1('sha1').update(bytes).digest('hex');
    expect(rows.map(([name, , , , , hash]) => [name, hash])).toEqual([
      ['usr/share/zoneinfo/UTC', digest('time zone')],
      ['.symtab', digest('symbols '.repeat(50))],
      ['first.gguf', digest(TINY)],
      ['second.gguf', digest(await readFile(second))],
      ['.args', digest("-m\nfirst.gguf\n-c\n4096\n'two words'\n...\n")],
    ]);
    expect(rows.slice(2).map(([, , ...rest]) => rest.slice(0, 3))).toEqual([0, 1, 2].map(() => [0, 3, 0o100_644]));
  });

  it.runIf(has('unzip', '-v'))('is a zip for unzip', async () => {
    const { path } = await pack();
    // 1 is a warning: bytes before the zip, which is the program.
    const { status, stdout } = spawnSync('unzip', ['-t', path], { encoding: 'utf8' });
    expect([0, 1]).toContain(status);
    expect(stdout).toContain('No errors detected');
  });

  it('has zip64 extras and no 32-bit size in every new entry, as zipalign writes them', async () => {
    const { path, zip } = await pack();
    const bytes = await readFile(path);
    const added = zip!.entries.slice(2);
    expect(
      added.map(({ record: { offset } }) => [20, 24, 42].map((field) => bytes.readUInt32LE(offset + field))),
    ).toEqual([0, 1].map(() => [0xffff_ffff, 0xffff_ffff, 0xffff_ffff]));
    expect(bytes.readUInt32LE(bytes.length - 22 + 16)).toBe(0xffff_ffff);
  });

  it('writes the arguments as the version reads them', async () => {
    const old = join(folder, 'old');
    await writeFakeLlamafile(old, { version: '0.8.13', entries });
    const bytes = await readFile((await pack({ binary: old, args: ['-p', 'two words'] })).path);
    expect(bytes.includes('-m\nfirst.gguf\n-p\ntwo words\n...\n')).toBe(true);
    expect((await failure(pack({ binary: old, args: [''] }))).code).toBe('usage');
  });

  it('refuses a program that holds a model, unless it may replace it', async () => {
    const { path: packed } = await pack();
    const refused = await failure(pack({ binary: packed, models: [second] }));
    expect(`${refused.code}: ${refused.message} ${refused.hint}`.replaceAll(packed, 'FILE')).toBe(
      'usage: FILE holds first.gguf, .args already. Add --replace to leave these out of the copy.',
    );
    const replaced = await pack({ binary: packed, models: [second], replace: true });
    expect(replaced.zip?.entries.map(({ name }) => name)).toEqual([
      'usr/share/zoneinfo/UTC',
      '.symtab',
      'second.gguf',
      '.args',
    ]);
    expect((await readFile(replaced.path)).includes(TINY)).toBe(false);
    // At most one more step of the alignment than without the detour.
    expect(replaced.fileBytes).toBeLessThanOrEqual((await pack({ models: [second] })).fileBytes + 65_536);
  });

  it('keeps what lies behind a model that it replaces', async () => {
    const mixed = join(folder, 'mixed');
    await writeFakeLlamafile(mixed, { entries: [model('first.gguf', TINY), ...entries] });
    const facts = await pack({ binary: mixed, replace: true });
    expect(facts.zip?.entries.map(({ name }) => name)).toEqual([
      'usr/share/zoneinfo/UTC',
      '.symtab',
      'first.gguf',
      '.args',
    ]);
    expect(facts.models[0]?.entry.dataOffset).toBeGreaterThan(statSync(mixed).size);
  });

  it('says what it cannot pack, and leaves nothing', async () => {
    const notModel = join(folder, 'text.gguf');
    await writeFile(notModel, 'some text that is long enough to be a header');
    await writeFile(join(folder, 'model.bin'), TINY);
    await writeFile(join(folder, 'elsewhere'), 'plain text');
    await writeFakeLlamafile(join(folder, 'unnamed'), { version: null, entries });
    await mkdir(join(folder, 'sub'), { recursive: true });
    await copyFile(second, join(folder, 'sub', 'first.gguf'));
    const before = readdirSync(folder);
    const asks: Partial<Parameters<typeof packLlamafile>[0]>[] = [
      { binary: join(folder, 'absent') },
      { binary: join(folder, 'elsewhere') },
      { binary: join(folder, 'unnamed') },
      { binary: first },
      { models: [] },
      { models: [notModel] },
      { models: [join(folder, 'model.bin')] },
      { models: [first, join(folder, 'sub', 'first.gguf')] },
      { models: [join(folder, 'absent.gguf')] },
      { out: program },
      { out: join(folder, 'no-folder', 'out') },
    ];
    const messages = [];
    for (const ask of asks) {
      const { code, message, hint } = await failure(pack(ask));
      messages.push(
        `${code}: ${message} ${hint}`.replaceAll(folder, '').replaceAll(/\.\d+-[0-9a-f]{8}\.partial/g, '.TEMPORARY'),
      );
    }
    expect(messages).toMatchInlineSnapshot(`
      [
        "model-not-found: There is no file /absent. Check the path.",
        "model-invalid: /elsewhere is no llamafile: it starts with "plain te", not with a program. Check the path. A small text file is often a Git LFS pointer or an error page: download the file itself.",
        "usage: /unnamed is no llamafile program: no llamafile version is inside. Give the llamafile program of a release, or another llamafile together with --replace.",
        "model-invalid: /first.gguf is no llamafile: it starts with "GGUF\\u0003\\u0000\\u0000\\u0000", not with a program. Check the path. A small text file is often a Git LFS pointer or an error page: download the file itself.",
        "usage: no model was given runoff models pack --llamafile PROGRAM MODEL.gguf",
        "model-invalid: /text.gguf is not a usable GGUF file: it starts with 0x656d6f73, not with "GGUF". Download or convert the model again.",
        "usage: /model.bin: llamafile finds a model by the ending .gguf. Rename it.",
        "usage: Two models are called first.gguf. Rename one: the name is its key inside.",
        "model-not-found: There is no model /absent.gguf. Check the path.",
        "usage: /llamafile exists already. Remove it, or give another name with -o.",
        "conversion-failed: /no-folder/out could not be written: ENOENT: no such file or directory, open '/no-folder/out.TEMPORARY'. Check the free space and the permissions there.",
      ]
    `);
    expect(readdirSync(folder)).toEqual(before);
  });

  it('refuses a part of a model, which would pass for a whole one', async () => {
    const part = join(folder, 'm-00001-of-00002.gguf');
    await writeGguf(part, { metadata: new Map([['split.count', { type: 'u16', value: 2 }]]), tensors: [] });
    expect(await failure(pack({ models: [part] }))).toMatchObject({
      code: 'usage',
      message: `${part} is one of 2 files of a model; a llamafile holds a model in one.`,
    });
  });

  it('stops when asked to, and leaves nothing', async () => {
    const out = join(folder, 'stopped.llamafile');
    const controller = new AbortController();
    const packing = packLlamafile({
      binary: program,
      models: [first],
      args: [],
      out,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(packing).rejects.toMatchObject({ name: 'AbortError' });
    expect(readdirSync(folder).filter((name) => name.startsWith('stopped'))).toEqual([]);
  });

  it('tells how far it is', async () => {
    const seen: number[] = [];
    await pack({ onProgress: ({ doneBytes, totalBytes }) => seen.push(doneBytes / totalBytes) });
    expect(seen.length).toBeGreaterThan(1);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen.every((share) => share > 0 && share <= 1)).toBe(true);
  });

  it('can be read again as a program for another model', async () => {
    expect((await readLlamafile((await pack()).path)).version).toBe('0.9.3');
    expect(existsSync(program)).toBe(true);
  });
});

describe('packedArguments', () => {
  it('adds the model and the place of the user only where they are missing', () => {
    expect(packedArguments(['-c', '8'], 'm.gguf', '0.9')).toEqual(['-m', 'm.gguf', '-c', '8', '...']);
    expect(packedArguments(['...', '-c', '8'], 'm.gguf', '0.10')).toEqual(['-m', '/zip/m.gguf', '...', '-c', '8']);
    expect(packedArguments(['--model', 'other.gguf'], 'm.gguf', 'unknown')).toEqual(['--model', 'other.gguf', '...']);
  });
});
