/** The adapter over HTTP: a server that runs already, and the conformance suite. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { realMachinery } from '../../src/app/machinery.ts';
import type { PreparedEngine } from '../../src/app/machinery.ts';
import type { AvailableEngine, EngineSession } from '../../src/core/engine.ts';
import { engine } from '../../src/engines/ollama.ts';
import { sha256Of } from '../../src/engines/shared/ollama-store.ts';
import { freePort } from '../../src/platform/network/free-port.ts';
import { startProcess } from '../../src/platform/process/start-process.ts';
import type { StartedProcess } from '../../src/platform/process/start-process.ts';
import { tinyModel } from '../fixtures/model/tiny-model.ts';
import { ask, BINARY, failure, FIVE, newFolder, textOf } from '../fixtures/ollama/cases.ts';
import { installFakeOllama, seenRequests } from '../fixtures/ollama/fake-ollama.ts';
import type { FakeOllama } from '../fixtures/ollama/fake-ollama.ts';
import { describeRunning } from './conformance.ts';
import { fakeProcess, hostWith, launchRequest, SETTINGS } from './describe-engine.ts';

const NO_ENVIRONMENT = { state: 'absent', what: 'nothing', downloadBytes: 0 } as const;

let started: StartedProcess | null = null;
let folder = '';
let modelPath = '';

beforeEach(async () => {
  folder = await newFolder();
  modelPath = await tinyModel();
});
afterEach(async () => {
  await started?.stop(0);
  started = null;
  await rm(folder, { recursive: true, force: true });
});

describe('a server that runs', () => {
  const serverFolder = (): string => join(folder, 'server');

  async function serve(behaviour: FakeOllama = {}, env: Record<string, string> = {}): Promise<AvailableEngine> {
    const port = await freePort();
    const command = await installFakeOllama(folder, behaviour);
    started = await startProcess({
      command,
      args: ['serve'],
      env: { OLLAMA_HOST: `127.0.0.1:${port}`, OLLAMA_MODELS: serverFolder(), ...env },
      channel: 'http',
    });
    return { ...BINARY, location: `http://127.0.0.1:${port}`, variant: 'running', runningInstance: true };
  }

  async function connect(found: AvailableEngine): Promise<EngineSession> {
    const request = launchRequest(found, { modelPath, modelSha256: await sha256Of(modelPath) });
    return engine.connect(
      fakeProcess(() => null),
      request,
      10_000,
    );
  }

  async function blobs(): Promise<string[]> {
    return readdir(join(serverFolder(), 'blobs')).catch(() => []);
  }

  test('the file is uploaded, the model made, measured and removed again', async () => {
    const session = await connect(await serve({ version: '0.29.0' }, { LLAMA_ARG_CACHE_RAM: '0' }));
    expect(session.info).toMatchInlineSnapshot(`
      {
        "build": {
          "instructionSets": null,
          "library": null,
          "openMp": null,
          "version": "ollama 0.29.0",
        },
        "device": "cpu",
        "engineLoadMs": null,
        "modelName": null,
        "numericMode": "int8 activations, KV cache type not told",
        "settings": {
          "contextTokens": 1024,
        },
        "vocabularySize": 881,
      }
    `);
    expect(await blobs()).toEqual([`sha256-${await sha256Of(modelPath)}`]);
    expect(await session.generate(ask(FIVE))).toMatchObject({ generatedTokenCount: 6, promptTokenCount: 5 });
    await session.close?.();
    expect(await blobs()).toEqual([]);
    const seen = (await seenRequests(folder)).filter(({ path }) => path !== '/api/version');
    expect(seen.slice(0, 4).map(({ method, path }) => `${method} ${path.replace(/:.*/, ':…')}`)).toEqual([
      'HEAD /api/blobs/sha256:…',
      'POST /api/blobs/sha256:…',
      'POST /api/create',
      'POST /api/show',
    ]);
    expect(seen.slice(-2)).toEqual([
      { method: 'POST', path: '/api/generate', body: { model: 'runoff-0123456789abcdef', keep_alive: 0 } },
      { method: 'DELETE', path: '/api/delete', body: { model: 'runoff-0123456789abcdef' } },
    ]);
  });

  test('a file that the server has is not uploaded again', async () => {
    const found = await serve({ version: '0.33.2' });
    await (await connect(found)).close?.();
    await connect(found);
    const uploads = (await seenRequests(folder)).filter(
      ({ method, path }) => method === 'POST' && path.startsWith('/api/blobs/'),
    );
    expect(uploads).toHaveLength(1);
  });

  test('from 0.30 on it measures a rewritten copy, and says so', async () => {
    expect((await connect(await serve({ version: '0.33.2' }))).info.numericMode).toBe(
      'int8 activations, KV cache type not told, a copy of the file that Ollama rewrote',
    );
  });

  test.each([
    [
      '0.29.0',
      'wrong-model',
      /^engine-launch-failed: wrong model: Ollama serves weights with SHA-256 f{64}, the file has SHA256$/,
    ],
    [
      '0.33.2',
      'corrupt-upload',
      /^engine-launch-failed: Ollama did not take or load the model: \/api\/blobs\/sha256:SHA256 answered 400: digest mismatch, expected "sha256:SHA256"/,
    ],
    [
      '0.33.2',
      'create-error',
      /^engine-launch-failed: Ollama did not take or load the model: Ollama cannot make the model: supplied file was not in GGUF format$/,
    ],
    ['0.33.2', 'load-error', /^engine-launch-failed: .*\/api\/generate answered 500/],
  ] as const)('%s, %s: an error, and nothing is left there', async (version, fault, expected) => {
    expect(await failure(connect(await serve({ version, fault })), modelPath)).toMatch(expected);
    expect((await seenRequests(folder)).at(-1)).toMatchObject({ method: 'DELETE', path: '/api/delete' });
  });

  test('its second cache, which only its owner can switch off, is seen', async () => {
    const session = await connect(await serve({ prefillMsPerToken: 2 }));
    const long = Array.from({ length: 60 }, (_, index) => index);
    const first = await session.generate(ask(long));
    const again = await session.generate(ask(long));
    expect(first.cachedTokenCount).toBe(0);
    expect(again.cachedTokenCount).toBe(59);
  });

  test('the stop of a measurement gives back, and leaves the server running', async () => {
    const found = await serve({}, { LLAMA_ARG_CACHE_RAM: '0' });
    const modelSha256 = await sha256Of(modelPath);
    const running = await realMachinery.start({ engine, found, modelPath, modelSha256 }, SETTINGS, 10_000);
    expect(running.command).toEqual([]);
    await running.stop();
    expect((await seenRequests(folder)).at(-1)).toMatchObject({ method: 'DELETE', path: '/api/delete' });
    expect(await engine.detect(hostWith(NO_ENVIRONMENT, { enginePath: found.location }))).toMatchObject({
      state: 'available',
    });
  });

  test('a server that is gone has nothing of ours: giving back does not fail', async () => {
    const session = await connect(await serve());
    await started?.stop(0);
    await expect(session.close?.()).resolves.toBeUndefined();
    expect(await failure(session.generate(ask(FIVE)), modelPath)).toContain('engine-request-failed');
  });
});

const SLOW = { hasRunner: true, prefillMsPerToken: 1, decodeMsPerToken: 2 };
const CASE = {
  settings: SETTINGS,
  promptTokens: (count: number, iteration: number): number[] =>
    Array.from({ length: count }, (_, index) => (index < 4 ? 900 + iteration : index)),
  promptText: textOf,
  bannedTokens: [0, 1],
};
const folders: string[] = [];

async function removeFolders(): Promise<void> {
  for (const path of folders.splice(0)) await rm(path, { recursive: true, force: true });
}

async function prepared(behaviour: FakeOllama): Promise<PreparedEngine> {
  const programFolder = await newFolder();
  folders.push(programFolder);
  const location = await installFakeOllama(programFolder, behaviour);
  const path = await tinyModel();
  return { engine, found: { ...BINARY, location }, modelPath: path, modelSha256: await sha256Of(path) };
}

describeRunning({
  name: 'ollama, a binary that behaves as it does',
  prepare: async () => ({
    ...CASE,
    prepared: await prepared(SLOW),
    faulty: {
      truncation: await prepared({ ...SLOW, fault: 'truncate' }),
      'prompt-cache': await prepared({ ...SLOW, fault: 'cache' }),
      'early-end': await prepared({ ...SLOW, fault: 'early-end' }),
      'token-count': await prepared({ ...SLOW, fault: 'double-bos' }),
    },
    cleanup: removeFolders,
  }),
});

describeRunning({
  name: 'ollama, a running server that behaves as it does',
  prepare: async () => {
    const { found, ...rest } = await prepared(SLOW);
    const port = await freePort();
    const server = await startProcess({
      command: found.location,
      args: ['serve'],
      env: {
        OLLAMA_HOST: `127.0.0.1:${port}`,
        OLLAMA_MODELS: join(folders.at(-1) ?? '', 'models'),
        LLAMA_ARG_CACHE_RAM: '0',
      },
      channel: 'http',
    });
    const running = { ...found, location: `http://127.0.0.1:${port}`, variant: 'running', runningInstance: true };
    return {
      ...CASE,
      prepared: { ...rest, found: running },
      cleanup: async () => {
        await server.stop(0);
        await removeFolders();
      },
    };
  },
});
