import { existsSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { monotonicMs, sleep } from '../../../src/platform/clock.ts';
import { atomicWrite } from '../../../src/platform/files/atomic-write.ts';
import { openJsonl, readJsonl } from '../../../src/platform/files/jsonl.ts';
import { warmPageCache } from '../../../src/platform/files/warm-page-cache.ts';
import { cacheFolder, folderBytes, freeBytes } from '../../../src/platform/folders.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runoff-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('atomicWrite', () => {
  test('makes folders, replaces, and leaves nothing else', async () => {
    const path = join(folder, 'a', 'b.json');
    await atomicWrite(path, 'one');
    await atomicWrite(path, 'two');
    expect(await readFile(path, 'utf8')).toBe('two');
    expect(await readdir(join(folder, 'a'))).toEqual(['b.json']);
  });

  test('a failure says the path, the room and the next step, and keeps the old text', async () => {
    const path = join(folder, 'taken');
    await mkdir(join(path, 'sub'), { recursive: true });
    await expect(atomicWrite(path, 'text')).rejects.toMatchObject({
      code: 'record-write-failed',
      message: expect.stringMatching(/^cannot write .*taken \(\d+ MB free there\): /),
      context: { freeBytes: expect.any(Number) },
    });
    expect(await readdir(folder)).toEqual(['taken']);
  });
});

describe('jsonl', () => {
  test('appends in order', async () => {
    const path = join(folder, 'samples.jsonl');
    const log = await openJsonl(path);
    await Promise.all([1, 2, 3].map((value) => log.append({ value })));
    await log.close();
    expect(await readJsonl(path, 1_000)).toEqual({ lines: [{ value: 1 }, { value: 2 }, { value: 3 }], torn: false });
  });

  test('a torn last line is left out, and cut off before the next append', async () => {
    const path = join(folder, 'samples.jsonl');
    await writeFile(path, `{"value":1}\n{"text":"${'x'.repeat(200_000)}`);
    expect(await readJsonl(path, 1_000_000)).toEqual({ lines: [{ value: 1 }], torn: true });
    const log = await openJsonl(path);
    await log.append({ value: 2 });
    await log.close();
    expect(await readFile(path, 'utf8')).toBe('{"value":1}\n{"value":2}\n');
  });

  test('a file of one torn line becomes empty', async () => {
    const path = join(folder, 'samples.jsonl');
    await writeFile(path, '{"val');
    await (await openJsonl(path)).close();
    expect(await readFile(path, 'utf8')).toBe('');
  });

  test('damage before the last line is no accident', async () => {
    const path = join(folder, 'samples.jsonl');
    await writeFile(path, '{"value":1}\n{oops\n{"value":3}\n');
    await expect(readJsonl(path, 1_000)).rejects.toMatchObject({
      code: 'record-invalid',
      message: `${path} is damaged in line 2: {oops`,
    });
  });

  test('the size limit is exact', async () => {
    const path = join(folder, 'samples.jsonl');
    await writeFile(path, '{"a":1}\n');
    expect(await readJsonl(path, 8)).toEqual({ lines: [{ a: 1 }], torn: false });
    await expect(readJsonl(path, 7)).rejects.toMatchObject({ code: 'record-invalid' });
  });

  test.skipIf(!existsSync('/dev/full'))('a full disk', async () => {
    const log = await openJsonl('/dev/full');
    await expect(log.append({ value: 1 })).rejects.toMatchObject({
      code: 'record-write-failed',
      message: expect.stringContaining('ENOSPC'),
      hint: expect.stringContaining('Free some disk space'),
    });
    await log.close();
  });
});

test('warmPageCache reads files, folders and links', async () => {
  await writeFile(join(folder, 'model.safetensors'), Buffer.alloc(9 * 1024 * 1024));
  await mkdir(join(folder, 'sub'));
  await symlink(join(folder, 'model.safetensors'), join(folder, 'link'));
  await warmPageCache(folder);
  await warmPageCache(join(folder, 'model.safetensors'));
  await expect(warmPageCache(join(folder, 'missing'))).rejects.toMatchObject({ code: 'ENOENT' });
});

describe('folders', () => {
  test('RUNOFF_CACHE names the cache', () => {
    const before = process.env['RUNOFF_CACHE'];
    process.env['RUNOFF_CACHE'] = folder;
    expect(cacheFolder()).toBe(folder);
    delete process.env['RUNOFF_CACHE'];
    expect(cacheFolder()).toMatch(/runoff/);
    if (before !== undefined) process.env['RUNOFF_CACHE'] = before;
  });

  test('bytes of a folder; links are not followed, what is missing counts nothing', async () => {
    const before = await folderBytes(folder);
    await appendFile(join(folder, 'file'), Buffer.alloc(100_000, 1));
    await symlink('/', join(folder, 'root'));
    const bytes = (await folderBytes(folder)) - before;
    expect(bytes).toBeGreaterThanOrEqual(100_000);
    expect(bytes).toBeLessThan(200_000);
    expect(await folderBytes(join(folder, 'missing'))).toBe(0);
  });

  test('free bytes of a path that is not there yet', async () => {
    expect(await freeBytes(join(folder, 'not', 'yet'))).toBeGreaterThan(0);
  });
});

describe('clock', () => {
  test('sleeps at least the time', async () => {
    const startedMs = monotonicMs();
    await sleep(30);
    expect(monotonicMs() - startedMs).toBeGreaterThan(28);
  });

  test('the signal ends it', async () => {
    await expect(sleep(10_000, AbortSignal.timeout(10))).rejects.toMatchObject({ code: 'interrupted' });
    await expect(sleep(10_000, AbortSignal.abort())).rejects.toMatchObject({ code: 'interrupted' });
  });
});
