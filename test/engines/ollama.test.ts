import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { AvailableEngine, EngineSettings } from '../../src/core/engine.ts';
import { describeMissing, describeVersion, engine, isThisMachine } from '../../src/engines/ollama.ts';
import { generateBody } from '../../src/engines/shared/ollama-answer.ts';
import { displacing } from '../../src/engines/shared/ollama-session.ts';
import { isTooOld, parseVersion, rewritesFiles } from '../../src/engines/shared/ollama-version.ts';
import { BINARY } from '../fixtures/ollama/cases.ts';
import { installFakeOllama } from '../fixtures/ollama/fake-ollama.ts';
import { describeEngine, hostWith, launchRequest, planOf, SETTINGS } from './describe-engine.ts';

const RUNNING: AvailableEngine = {
  ...BINARY,
  location: 'http://127.0.0.1:11434',
  variant: 'running',
  runningInstance: true,
};
const NO_ENVIRONMENT = { state: 'absent', what: 'nothing', downloadBytes: 0 } as const;
const ASK = { model: 'runoff-1', prompt: 'The mill', settings: SETTINGS, generateTokens: 8, topLogprobs: 0 };

const folders: string[] = [];

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-ollama-'));
  folders.push(folder);
  return folder;
}

afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

describeEngine({
  engine,
  variants: [BINARY],
  sent: async (found, settings) => [
    planOf(engine, launchRequest(found, { settings })),
    generateBody({ ...ASK, prompt: '', settings }),
  ],
});

describe('the launch', () => {
  const environment = (settings: Partial<EngineSettings> = {}): string => {
    const { command, args, env } = planOf(engine, launchRequest(BINARY, { settings: { ...SETTINGS, ...settings } }));
    return [[command, ...args].join(' '), ...Object.entries(env).map(([name, value]) => `${name}=${value}`)].join('\n');
  };

  test('a binary on the CPU', () => {
    expect(environment()).toMatchInlineSnapshot(`
      "/usr/local/bin/ollama serve
      OLLAMA_HOST=127.0.0.1:43210
      OLLAMA_MODELS=/tmp/runoff-engine-test/runoff-0123456789abcdef
      OLLAMA_NUM_PARALLEL=1
      OLLAMA_MAX_LOADED_MODELS=1
      OLLAMA_KEEP_ALIVE=-1
      OLLAMA_FLASH_ATTENTION=1
      OLLAMA_KV_CACHE_TYPE=f16
      OLLAMA_NO_CLOUD=1
      OLLAMA_NOHISTORY=1
      OLLAMA_NOPRUNE=1
      LLAMA_ARG_CACHE_RAM=0
      CUDA_VISIBLE_DEVICES=-1
      HIP_VISIBLE_DEVICES=-1
      ROCR_VISIBLE_DEVICES=-1
      GGML_VK_VISIBLE_DEVICES=-1
      LLAMA_ARG_DEVICE=none
      HOME=/tmp/runoff-engine-test
      USERPROFILE=/tmp/runoff-engine-test"
    `);
  });

  test('a binary with GPU', () => {
    expect(environment({ gpu: 'auto', kvType: 'q8_0', flashAttention: false })).toMatchInlineSnapshot(`
      "/usr/local/bin/ollama serve
      OLLAMA_HOST=127.0.0.1:43210
      OLLAMA_MODELS=/tmp/runoff-engine-test/runoff-0123456789abcdef
      OLLAMA_NUM_PARALLEL=1
      OLLAMA_MAX_LOADED_MODELS=1
      OLLAMA_KEEP_ALIVE=-1
      OLLAMA_FLASH_ATTENTION=0
      OLLAMA_KV_CACHE_TYPE=q8_0
      OLLAMA_NO_CLOUD=1
      OLLAMA_NOHISTORY=1
      OLLAMA_NOPRUNE=1
      LLAMA_ARG_CACHE_RAM=0"
    `);
  });

  test('a server that runs is not started', () => {
    expect(engine.launchPlan(launchRequest(RUNNING))).toBeNull();
  });
});

describe('what --version prints', () => {
  test.each([
    ['Warning: could not connect to a running Ollama instance\nWarning: client version is 0.33.2\n', '0.33.2'],
    ['ollama version is 0.33.2\n', '0.33.2'],
    ['ollama version is 0.30.1\nWarning: client version is 0.12.11\n', '0.12.11'],
    ['Warning: client version is v0.12.11-rc0', '0.12.11-rc0'],
    ['ollama version 0.1.20', '0.1.20'],
    ['command not found', null],
    ['', null],
  ])('%j', (output, version) => {
    expect(parseVersion(output)).toBe(version);
  });

  test.each([
    ['0.12.10', true, false],
    ['0.12.11', false, false],
    ['0.12.11-rc0', false, false],
    ['v0.9.6', true, false],
    ['0.29.9', false, false],
    ['0.30.0', false, true],
    ['0.33.2', false, true],
    ['1.0.0', false, true],
    ['0.0.0', false, true],
    ['main-2026', false, true],
  ])('%s: too old %s, rewrites files %s', (version, tooOld, rewrites) => {
    expect([isTooOld(version), rewritesFiles(version)]).toEqual([tooOld, rewrites]);
  });
});

describe('detection', () => {
  const host = (enginePath: string | null, onPath: string | null = null) =>
    hostWith(NO_ENVIRONMENT, { enginePath, findOnPath: () => onPath });

  test('a given path goes before PATH; both are asked for their own version, not for that of a server that runs', async () => {
    const given = await installFakeOllama(await newFolder(), { version: '0.31.0', serverVersion: '0.30.2' });
    const onPath = await installFakeOllama(await newFolder(), { version: '0.32.0' });
    expect(await engine.detect(host(given, onPath))).toMatchObject({
      state: 'available',
      variant: 'binary',
      location: given,
      build: { version: 'ollama 0.31.0' },
    });
    expect(await engine.detect(host(null, onPath))).toMatchObject({
      location: onPath,
      build: { version: 'ollama 0.32.0' },
    });
  });

  test('a program that is no Ollama, and one that does not run', async () => {
    expect(await engine.detect(host('/bin/false'))).toMatchInlineSnapshot(`
      {
        "nextStep": "Try /bin/false --version yourself; --engine-path ollama=PATH names another one.",
        "reason": "false --version names no version (exit code 1)",
        "state": "unavailable",
      }
    `);
    expect(await engine.detect(host('/nowhere/ollama'))).toMatchInlineSnapshot(`
      {
        "nextStep": "Try /nowhere/ollama --version yourself; --engine-path ollama=PATH names another one.",
        "reason": "ollama does not run: spawn /nowhere/ollama ENOENT",
        "state": "unavailable",
      }
    `);
  });

  test('an old one is refused, with the reason', () => {
    expect(describeVersion('/usr/bin/ollama', '0.6.2', 'binary')).toMatchInlineSnapshot(`
      {
        "nextStep": "Use Ollama 0.12.11 or newer: https://ollama.com/download",
        "reason": "/usr/bin/ollama is Ollama 0.6.2: before 0.12.11 it cuts a long prompt without a word and gives no log-probabilities, so nothing shows what it read",
        "state": "unavailable",
      }
    `);
  });

  test('no binary: install it, or name the server that runs', () => {
    expect(describeMissing(null)).toMatchInlineSnapshot(`
      {
        "nextStep": "Install it from https://ollama.com/download, or name a binary with --engine-path ollama=PATH.",
        "reason": "ollama is not on PATH",
        "state": "unavailable",
      }
    `);
    expect(describeMissing('0.33.2')).toMatchObject({
      state: 'unavailable',
      nextStep:
        'Ollama 0.33.2 answers at http://127.0.0.1:11434: --engine ollama=http://127.0.0.1:11434 measures it as it runs.',
    });
  });

  test('neither given nor on PATH', async () => {
    expect(await engine.detect(host(null))).toMatchObject({ state: 'unavailable', reason: 'ollama is not on PATH' });
  });

  test('a server that runs, by its address', async () => {
    const server = createServer((_request, response) => response.end('{"version":"0.33.2"}'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      expect(await engine.detect(host(`http://127.0.0.1:${port}/`))).toMatchObject({
        state: 'available',
        variant: 'running',
        runningInstance: true,
        location: `http://127.0.0.1:${port}`,
        build: { version: 'ollama 0.33.2' },
      });
    } finally {
      server.close();
    }
  });

  test('an address where nobody answers, and another program', async () => {
    expect(await engine.detect(host('http://127.0.0.1:1'))).toMatchObject({
      state: 'unavailable',
      reason: expect.stringMatching(/^no Ollama answers there: .*ECONNREFUSED/) as string,
    });
    const server = createServer((_request, response) => response.end('{"status":"ok"}'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      expect(await engine.detect(host(`http://127.0.0.1:${port}`))).toMatchObject({
        reason: expect.stringContaining("the answer to /api/version is not Ollama's") as string,
      });
    } finally {
      server.close();
    }
  });

  test.each(['https://127.0.0.1:11434', 'http://', 'http://user:secret@127.0.0.1', 'http://127.0.0.1/?a=1'])(
    '%s is refused',
    async (address) => {
      expect(await engine.detect(host(address))).toMatchObject({ state: 'unavailable' });
    },
  );

  test('a server elsewhere is refused before it is asked', async () => {
    expect(await engine.detect(host('http://ollama.example.org:11434'))).toMatchInlineSnapshot(`
      {
        "nextStep": "Run runoff on the machine that serves: speed, memory and load are read there.",
        "reason": "http://ollama.example.org:11434 is not this machine",
        "state": "unavailable",
      }
    `);
  });

  test.each([
    ['localhost', true],
    ['127.0.0.1', true],
    ['127.1.2.3', true],
    ['[::1]', true],
    ['10.0.0.5', true],
    ['my-laptop', true],
    ['10.0.0.6', false],
    ['127.0.0.1.example.org', false],
  ])('%s: this machine %s', (name, expected) => {
    expect(isThisMachine(name, ['my-laptop', '10.0.0.5'])).toBe(expected);
  });
});

describe('the request', () => {
  test('greedy, raw, nothing shifted, nothing cut', () => {
    expect(generateBody({ ...ASK, topLogprobs: 40 })).toMatchInlineSnapshot(`
      {
        "keep_alive": -1,
        "logprobs": true,
        "model": "runoff-1",
        "options": {
          "draft_num_predict": 0,
          "frequency_penalty": 0,
          "min_p": 0,
          "num_batch": 512,
          "num_ctx": 1024,
          "num_gpu": 0,
          "num_keep": 0,
          "num_predict": 8,
          "num_thread": 4,
          "presence_penalty": 0,
          "repeat_last_n": 0,
          "repeat_penalty": 1,
          "seed": 0,
          "stop": [],
          "temperature": 0,
          "top_k": 1,
          "top_p": 1,
          "typical_p": 1,
          "use_mmap": true,
        },
        "prompt": "The mill",
        "raw": true,
        "shift": false,
        "stream": true,
        "top_logprobs": 20,
        "truncate": false,
      }
    `);
  });

  test('without a prompt it only loads, and asks for the same runner', () => {
    const load = generateBody({ ...ASK, prompt: '', generateTokens: 1 });
    const request = generateBody({ ...ASK, settings: { ...SETTINGS } });
    expect(load).toMatchObject({ prompt: '', stream: false, keep_alive: -1 });
    const runner = ({ options, truncate, shift }: Record<string, unknown>) => {
      const { num_predict: _, ...rest } = options as Record<string, unknown>;
      return [rest, truncate, shift];
    };
    expect(runner(load)).toEqual(runner(request));
  });

  test('the prompt that displaces another does not start as it does', () => {
    for (const text of ['7 sacks', ' 7', '77', '3 sacks', 'The mill', ''])
      expect(text.trimStart()[0]).not.toBe(displacing(text)[0]);
  });
});
