/**
 * The hub's cache is shared with its Python library: what one has fetched, the other finds. Both talk to the local hub
 * server. Uses the library of the mlx-lm environment, or installs it into a temporary one; skipped with the reason.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NETWORK_LIMITS } from '../../src/models/hub/limits.ts';
import { hubSettings } from '../../src/models/hub/settings.ts';
import { pullFromHub } from '../../src/models/sources/hub.ts';
import { createEnvironments } from '../../src/platform/environments/environments.ts';
import { findPython } from '../../src/platform/environments/python.ts';
import { cacheFolder } from '../../src/platform/folders.ts';
import { HubServer } from '../fixtures/hub/hub-server.ts';
import { bytes } from '../models/hub/hub-fixture.ts';

const run = promisify(execFile);
const scratch = mkdtempSync(join(tmpdir(), 'runoff-python-hub-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const python = (await managedPython()) ?? (await temporaryPython());

async function managedPython(): Promise<string | null> {
  const mlx = await createEnvironments({ cacheFolder: cacheFolder(), onProgress() {} }).inspect('mlx-lm');
  if (mlx.state !== 'ready' || !hasLibrary(mlx.runtime)) return null;
  return mlx.runtime;
}

async function temporaryPython(): Promise<string | null> {
  const base = await findPython();
  if (base === null) {
    console.warn('skipped: no Python is found, so the hub library cannot be installed');
    return null;
  }
  try {
    execFileSync(base.path, ['-m', 'venv', join(scratch, 'venv')], { stdio: 'pipe' });
    const path = join(scratch, 'venv', process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
    execFileSync(path, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', 'huggingface_hub'], {
      stdio: 'pipe',
      timeout: 300_000,
    });
    return hasLibrary(path) ? path : null;
  } catch (error) {
    console.warn(`skipped: huggingface_hub cannot be installed: ${String(error).split('\n')[0]}`);
    return null;
  }
}

function hasLibrary(path: string): boolean {
  try {
    execFileSync(path, ['-c', 'import huggingface_hub'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const MODEL = bytes(300_000);
const SHARD = bytes(50_000, 7);

describe.skipIf(python === null)('the cache shared with the Python library', () => {
  let server: HubServer;
  let home: string;
  beforeEach(async () => {
    server = await HubServer.start();
    home = await mkdtemp(join(tmpdir(), 'runoff-hub-home-'));
    server.add('owner/tiny', { 'tiny.gguf': MODEL, 'README.md': '# A card', 'sub/part.Q8_0.gguf': SHARD });
  });
  afterEach(async () => {
    await server.stop();
    await rm(home, { recursive: true, force: true });
  });

  const environment = (): Record<string, string> => ({
    PATH: process.env['PATH'] ?? '',
    HOME: home,
    HF_HOME: join(home, 'hf'),
    HF_ENDPOINT: server.endpoint,
    HF_HUB_DISABLE_TELEMETRY: '1',
    HF_HUB_DISABLE_PROGRESS_BARS: '1',
  });
  const ask = async (code: string): Promise<string> =>
    (await run(python ?? '', ['-c', `from huggingface_hub import *\n${code}`], { env: environment() })).stdout.trim();
  const pull = async (spec: string) =>
    pullFromHub(spec, { hub: { settings: await hubSettings(environment()), limits: NETWORK_LIMITS } });

  it('finds without a network what runoff has pulled, by branch and by commit', async () => {
    const { path: pulled, pinned } = await pull('hf:owner/tiny:tiny.gguf');
    await pull('hf:owner/tiny:sub/part.Q8_0.gguf');
    server.seen.length = 0;
    const commit = pinned.slice('hf:owner/tiny@'.length).split(':')[0] ?? '';
    expect(await ask("print(hf_hub_download('owner/tiny', 'tiny.gguf', local_files_only=True))")).toBe(pulled);
    expect(
      await ask(`print(hf_hub_download('owner/tiny', 'README.md', revision='${commit}', local_files_only=True))`),
    ).toMatch(/README\.md$/);
    expect(await ask("print(try_to_load_from_cache('owner/tiny', 'sub/part.Q8_0.gguf'))")).toMatch(/part\.Q8_0\.gguf$/);
    const scan = await ask(
      'r = list(scan_cache_dir().repos)[0]; print(r.repo_id, r.size_on_disk, len(scan_cache_dir().warnings))',
    );
    expect(scan).toBe(`owner/tiny ${MODEL.length + SHARD.length + '# A card'.length} 0`);
    expect(server.seen.filter(({ path }) => path.includes('owner/tiny'))).toEqual([]);
  });

  it('downloads nothing again that runoff has pulled', async () => {
    await pull('hf:owner/tiny:tiny.gguf');
    server.seen.length = 0;
    await ask("hf_hub_download('owner/tiny', 'tiny.gguf')");
    expect(server.requests('cdn')).toEqual([]);
    expect(server.seen.filter(({ method, path }) => method === 'GET' && path.includes('/resolve/'))).toEqual([]);
  });

  it('what it has fetched is found by runoff, and not fetched again', async () => {
    const found = await ask("print(hf_hub_download('owner/tiny', 'tiny.gguf'))");
    server.seen.length = 0;
    const { path, downloadedBytes } = await pull('hf:owner/tiny:tiny.gguf');
    expect(path).toBe(found);
    expect(readFileSync(path).equals(MODEL)).toBe(true);
    // The card alone was missing.
    expect(downloadedBytes).toBe('# A card'.length);
    expect(server.requests('cdn')).toEqual([]);
    server.seen.length = 0;
    const settings = { ...(await hubSettings(environment())), offlineBecause: 'HF_HUB_OFFLINE' };
    expect((await pullFromHub('hf:owner/tiny:tiny.gguf', { hub: { settings, limits: NETWORK_LIMITS } })).path).toBe(
      found,
    );
    expect(server.seen).toEqual([]);
  });

  it('links alike', async () => {
    const theirs = readlinkSync(await ask("print(hf_hub_download('owner/tiny', 'tiny.gguf'))"));
    await rm(join(home, 'hf'), { recursive: true });
    expect(readlinkSync((await pull('hf:owner/tiny:tiny.gguf')).path)).toBe(theirs);
  });

  it('reads the same token', async () => {
    await ask(
      "import os, pathlib; p = pathlib.Path(os.environ['HF_HOME']); p.mkdir(parents=True); (p / 'token').write_text('hf_shared\\n')",
    );
    expect(await ask('print(get_token())')).toBe('hf_shared');
    expect((await hubSettings(environment())).token).toBe('hf_shared');
  });
});
