import { describe, expect, test } from 'vitest';
import type { AvailableEngine } from '../../src/core/engine.ts';
import { engine } from '../../src/engines/llama-cpp-python.ts';
import { codeOf, describeEngine, fakeProcess, hostWith, launchRequest, planOf, SETTINGS } from './describe-engine.ts';
import { recordedWorker } from './recorded.ts';

const READY = {
  state: 'ready',
  root: '/cache/environments/llama-cpp-python',
  runtime: '/cache/environments/llama-cpp-python/bin/python',
  packages: { 'llama-cpp-python': '0.3.36', 'llama.cpp': '0c1e57098', numpy: '2.4.6' },
} as const;
const worker = recordedWorker('llama-cpp-python');
const loadSettings = worker.load['settings'] as Record<string, unknown>;

describeEngine({ engine, ready: READY, worker });

async function found(): Promise<AvailableEngine> {
  return (await engine.detect(hostWith(READY))) as AvailableEngine;
}

async function connect(load: Record<string, unknown>, settings = { ...SETTINGS, threads: 2 }) {
  const process = fakeProcess(({ method }) => (method === 'load' ? load : worker.generate));
  return engine.connect(process, launchRequest(await found(), { settings }), 1_000);
}

test('before it is there, it says that it is compiled, and how long that takes', async () => {
  const what = 'llama-cpp-python 0.3.36 (compiled here, about 10 minutes)';
  const absent = { state: 'absent', what, downloadBytes: 130_000_000, compileMinutes: 10 } as const;
  expect(await engine.detect(hostWith(absent))).toEqual({ ...absent, state: 'installable' });
});

test('the launch plan', async () => {
  const { args, ...plan } = planOf(engine, launchRequest(await found()));
  expect({ ...plan, args: args.map((argument) => argument.replace(/^.*\/src\//, 'src/')) }).toMatchInlineSnapshot(`
    {
      "args": [
        "-I",
        "src/engines/workers/llama-cpp-python.py",
      ],
      "channel": "stdout",
      "command": "/cache/environments/llama-cpp-python/bin/python",
      "env": {},
    }
  `);
});

test('what a recorded load says', async () => {
  expect((await connect(worker.load)).info).toMatchInlineSnapshot(`
    {
      "build": {
        "instructionSets": "SSE3 SSSE3 AVX AVX2 F16C FMA BMI2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16 LLAMAFILE OPENMP REPACK",
        "library": "llama.cpp 0c1e57098",
        "openMp": true,
        "version": "llama-cpp-python 0.3.36",
      },
      "device": "cpu",
      "engineLoadMs": 326.531842,
      "modelName": null,
      "numericMode": "int8 activations, f16 KV cache",
      "settings": {
        "batchTokens": 512,
        "contextTokens": 1024,
        "flashAttention": true,
        "gpu": "off",
        "kvType": "f16",
        "microBatchTokens": 512,
        "mmap": true,
        "threads": 2,
      },
      "vocabularySize": 49152,
    }
  `);
});

test('the timings of a recorded answer: one event per token', async () => {
  const { generate } = await connect(worker.load);
  const ask = { promptTokens: [1, 2, 3, 4, 5], generateTokens: 4, bannedTokens: [], topLogprobs: 3, timeoutMs: 1 };
  expect(await generate(ask)).toMatchInlineSnapshot(`
    {
      "cachedTokenCount": 0,
      "engineTimings": null,
      "eventMs": [
        3047.991391,
        4467.699791,
        4499.431577,
        4566.373799,
      ],
      "eventTokenCounts": [
        1,
        1,
        1,
        1,
      ],
      "firstTokenLogprobs": [
        {
          "logprob": -1.1024404693455194,
          "token": 314,
        },
        {
          "logprob": -1.8193956542820429,
          "token": 284,
        },
        {
          "logprob": -1.9479204345554804,
          "token": 28,
        },
      ],
      "promptTokenCount": 5,
      "tokens": [
        314,
        4723,
        216,
        33,
      ],
      "truncated": null,
    }
  `);
});

test('threads for the prompt that are not as asked are shown', async () => {
  const load = { ...worker.load, settings: { ...loadSettings, batchThreads: 16 } };
  expect((await connect(load)).info.settings.threads).toBe(16);
});

test('offloaded layers are no CPU', async () => {
  const { info } = await connect({ ...worker.load, gpuLayers: true }, { ...SETTINGS, gpu: 'auto' });
  expect(info.device).toBe(process.platform === 'darwin' ? 'metal' : 'unknown');
  expect(info.numericMode).toBe('f16 KV cache');
});

test('an environment without the commit in its marker has an unknown library', async () => {
  const { 'llama.cpp': _, ...packages } = READY.packages;
  expect(await engine.detect(hostWith({ ...READY, packages }))).toMatchObject({ build: { library: null } });
});

describe('an answer to load that no worker of ours gives', () => {
  test.each<[string, Record<string, unknown>]>([
    ['no thread', { settings: { ...loadSettings, threads: 0 } }],
    ['half a token', { settings: { ...loadSettings, contextTokens: 10.5 } }],
    ['no vocabulary', { vocabularySize: 0 }],
    ['a text without end', { systemInfo: 'x'.repeat(10_001) }],
    ['settings of another kind', { settings: [] }],
  ])('%s', async (_, change) => {
    expect(await codeOf(connect({ ...worker.load, ...change }))).toBe('engine-protocol');
  });
});
