import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { installedSize, libraryFolders } from '../../src/app/engine-size.ts';
import type { AvailableEngine, EnvironmentLocator } from '../../src/core/engine.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runoff-size-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const NO_ENVIRONMENTS: EnvironmentLocator = {
  inspect: async () => ({ state: 'absent', what: 'nothing', downloadBytes: 0 }),
};
const environmentsAt = (root: string): EnvironmentLocator => ({
  inspect: async () => ({ state: 'ready', root, runtime: '/usr/bin/node', packages: {} }),
});

const FOUND: AvailableEngine = {
  state: 'available',
  build: { version: 'llama-server 6700', library: null, openMp: null, instructionSets: null },
  device: 'unknown',
  location: '/opt/llama.cpp/bin/llama-server',
  variant: 'binary',
  referenceBackend: null,
};

describe('size on disk', () => {
  test.each([
    ['/opt/llama.cpp/build/llama-server', ['/opt/llama.cpp/build']],
    ['/opt/llama.cpp/bin/llama-server', ['/opt/llama.cpp/bin', '/opt/llama.cpp/lib']],
    [
      '/opt/homebrew/Cellar/llama.cpp/1/bin/llama-server',
      ['/opt/homebrew/Cellar/llama.cpp/1/bin', '/opt/homebrew/Cellar/llama.cpp/1/lib'],
    ],
    ['/usr/bin/llama-server', []],
    ['/usr/local/bin/llama-server', []],
    ['/opt/homebrew/bin/llama-server', []],
  ])('libraries of %s', (binary, folders) => {
    expect(libraryFolders(binary)).toEqual(folders);
  });

  test('a program with the libraries beside it, and nothing else of the folder', async () => {
    const root = join(folder, 'program');
    await mkdir(root);
    const files = {
      'llama-server': 8_192,
      'libggml.so.0': 16_384,
      'libllama.dylib': 4_096,
      'notes.txt': 65_536,
      'model.gguf': 65_536,
    };
    for (const [name, size] of Object.entries(files)) await writeFile(join(root, name), Buffer.alloc(size, 1));
    const size = await installedSize({ ...FOUND, location: join(root, 'llama-server') }, null, NO_ENVIRONMENTS);
    expect(size).toEqual({ bytes: 28_672, what: 'its program file and 2 files of libraries beside it' });
  });

  test('a managed environment is counted whole', async () => {
    const root = join(folder, 'environment');
    await mkdir(join(root, 'node_modules'), { recursive: true });
    await writeFile(join(root, 'node_modules', 'binary.node'), Buffer.alloc(40_960, 1));
    const size = await installedSize(FOUND, 'node-llama-cpp', environmentsAt(root));
    expect(size?.bytes).toBeGreaterThanOrEqual(40_960);
    expect(size?.what).toBe('the whole managed environment node-llama-cpp');
  });

  test('a running server and a program that is gone have none', async () => {
    const environments = NO_ENVIRONMENTS;
    expect(await installedSize({ ...FOUND, location: 'http://127.0.0.1:11434' }, null, environments)).toBeNull();
    expect(await installedSize({ ...FOUND, runningInstance: true }, null, environments)).toBeNull();
    expect(await installedSize({ ...FOUND, location: join(folder, 'gone') }, null, environments)).toBeNull();
  });
});
