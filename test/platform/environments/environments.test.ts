import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createEnvironments } from '../../../src/platform/environments/environments.ts';
import type { Environments } from '../../../src/platform/environments/environments.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures', import.meta.url));
const TITLE = 'Demo engine';

describe.skipIf(process.platform === 'win32')('managed environments', () => {
  const path = process.env['PATH'];
  let cacheFolder = '';
  let progress: string[] = [];
  let environments: Environments;

  beforeEach(async () => {
    cacheFolder = await mkdtemp(join(tmpdir(), 'runoff-test-'));
    progress = [];
    environments = make();
    process.env['PATH'] = [join(FIXTURES, 'bin'), dirname(process.execPath)].join(delimiter);
    process.env['FAKE_PYTHON_LOG'] = join(cacheFolder, 'calls.log');
  });

  afterEach(async () => {
    process.env['PATH'] = path;
    delete process.env['FAKE_PYTHON'];
    delete process.env['FAKE_PYTHON_LOG'];
    await rm(cacheFolder, { recursive: true, force: true });
  });

  function make(): Environments {
    return createEnvironments({
      cacheFolder,
      onProgress: (text) => progress.push(text),
      definitionsFolder: join(FIXTURES, 'environments'),
    });
  }

  async function calls(): Promise<string[]> {
    return (await readFile(join(cacheFolder, 'calls.log'), 'utf8')).split('\n').filter((line) => line !== '' && !line.startsWith('-c'));
  }

  test('absent, made, ready, removed', async () => {
    expect(await environments.inspect('demo')).toEqual({ state: 'absent', what: TITLE, downloadBytes: 1000 });
    const root = join(cacheFolder, 'environments', 'demo');
    const ready = { state: 'ready', root, runtime: join(root, 'bin', 'python'), packages: { demo: '1.0' } };
    expect(await environments.ensure('demo')).toEqual(ready);
    expect(await environments.inspect('demo')).toEqual(ready);
    expect(progress).toEqual([`${TITLE}: making a Python environment`, `${TITLE}: collecting demo`, `${TITLE}: checking`]);
    await environments.remove('demo');
    expect(existsSync(root)).toBe(false);
    expect(await environments.inspect('demo')).toMatchObject({ state: 'absent' });
  });

  test('made once', async () => {
    await environments.ensure('demo');
    await environments.ensure('demo');
    expect(await calls()).toEqual([`-m venv ${join(cacheFolder, 'environments', 'demo')}`, '-m pip install']);
  });

  test('two at once make it once', async () => {
    await Promise.all([environments.ensure('demo'), make().ensure('demo')]);
    expect(await calls()).toHaveLength(2);
    expect(progress).toContain(`waiting for another runoff (process ${process.pid}) that works on demo`);
  });

  test('a lock of a dead process is taken over', async () => {
    await mkdir(join(cacheFolder, 'environments'), { recursive: true });
    await writeFile(join(cacheFolder, 'environments', 'demo.lock'), `${2 ** 30} gone`);
    expect(await environments.ensure('demo')).toMatchObject({ state: 'ready' });
  });

  test.each([
    ['without its marker', '.complete'],
    ['without its runtime', 'bin/python'],
  ])('%s it is broken, and repaired', async (_name, file) => {
    await environments.ensure('demo');
    await unlink(join(cacheFolder, 'environments', 'demo', file));
    expect(await environments.inspect('demo')).toEqual({ state: 'broken', what: TITLE, downloadBytes: 1000 });
    expect(await environments.ensure('demo')).toMatchObject({ state: 'ready' });
    expect(progress).toContain(`${TITLE}: repairing`);
  });

  test('another definition is another environment', async () => {
    const { root } = await environments.ensure('demo');
    const marker = join(root, '.complete');
    await writeFile(marker, (await readFile(marker, 'utf8')).replace(/"hash": "[0-9a-f]{4}/, '"hash": "0000'));
    expect(await environments.inspect('demo')).toMatchObject({ state: 'broken' });
  });

  test('offline: the reason in words, the whole output in a file, nothing that passes for ready', async () => {
    process.env['FAKE_PYTHON'] = 'offline';
    const log = join(cacheFolder, 'environments', 'demo.log');
    await expect(environments.ensure('demo')).rejects.toMatchObject({
      code: 'environment-failed',
      message: 'cannot install Demo engine: pip install failed: the package registry cannot be reached',
      hint: `Connect to the internet and run again (behind a proxy: set HTTPS_PROXY), or run with --no-install. The whole output: ${log}`,
    });
    expect(await readFile(log, 'utf8')).toContain('Temporary failure in name resolution');
    expect(await environments.inspect('demo')).toMatchObject({ state: 'broken' });
    delete process.env['FAKE_PYTHON'];
    expect(await environments.ensure('demo')).toMatchObject({ state: 'ready' });
    expect(existsSync(log)).toBe(false);
  });

  test('a package that does not load', async () => {
    process.env['FAKE_PYTHON'] = 'check-fails';
    await expect(environments.ensure('demo')).rejects.toMatchObject({
      message:
        'cannot install Demo engine: the check failed: ImportError: libdemo.so.1: cannot open shared object file',
    });
  });

  test('Ctrl-C in the middle', async () => {
    process.env['FAKE_PYTHON'] = 'hang';
    const signal = AbortSignal.timeout(1_500);
    await expect(environments.ensure('demo', { signal })).rejects.toMatchObject({ code: 'interrupted' });
    expect(existsSync(join(cacheFolder, 'environments', 'demo.lock'))).toBe(false);
    expect(await environments.inspect('demo')).toMatchObject({ state: 'broken' });
  });

  test('a Python that does not fit makes it impossible', async () => {
    process.env['FAKE_PYTHON'] = 'old';
    const python = join(FIXTURES, 'bin', 'python3');
    const reason = `Demo engine needs Python 3.10 or newer (below 3.15); found only 3.9.2 for ${process.arch} (${python})`;
    expect(await environments.inspect('demo')).toMatchObject({ state: 'impossible', reason });
    await expect(environments.ensure('demo')).rejects.toMatchObject({ code: 'environment-failed', message: reason });
    process.env['FAKE_PYTHON'] = 'no-venv';
    expect(await environments.inspect('demo')).toMatchObject({ state: 'impossible', reason: expect.stringContaining('ensurepip') });
  });

  test('a system without a build', async () => {
    expect(await environments.inspect('elsewhere')).toMatchObject({ state: 'impossible', reason: 'no build' });
  });

  test('an unknown id', async () => {
    await expect(environments.inspect('../demo')).rejects.toMatchObject({
      code: 'environment-failed',
      message: 'there is no managed environment "../demo"',
      hint: 'There are: demo, elsewhere.',
    });
  });

  test('list', async () => {
    await environments.ensure('demo');
    const root = join(cacheFolder, 'environments');
    expect(await environments.list()).toEqual([
      { id: 'demo', title: TITLE, state: 'ready', root: join(root, 'demo'), bytes: expect.any(Number) },
      { id: 'elsewhere', title: TITLE, state: 'impossible', root: join(root, 'elsewhere'), bytes: 0 },
    ]);
  });
});
