import { expect, test } from 'vitest';
import type { AvailableEngine } from '../../src/core/engine.ts';
import { engine } from '../../src/engines/llama-cpp.ts';
import { codeOf, describeEngine, fakeProcess, hostWith, launchRequest, planOf, SETTINGS } from './describe-engine.ts';
import { recordedWorker } from './recorded.ts';

const READY = {
  state: 'ready',
  root: '/cache/environments/node-llama-cpp',
  runtime: '/usr/bin/node',
  packages: { 'node-llama-cpp': '3.21.1' },
} as const;
const worker = recordedWorker('llama-cpp');

describeEngine({ engine, ready: READY, worker });

async function found(): Promise<AvailableEngine> {
  return (await engine.detect(hostWith(READY))) as AvailableEngine;
}

async function connect(load: Record<string, unknown>, settings = SETTINGS) {
  return engine.connect(
    fakeProcess(({ method }) => (method === 'load' ? load : worker.generate)),
    launchRequest(await found(), { settings }),
    1_000,
  );
}

test('the launch plan', async () => {
  const { command, args, ...plan } = planOf(engine, launchRequest(await found()));
  expect(command).toBe(process.execPath);
  expect({ ...plan, args: args.map((argument) => argument.replace(/^.*\/src\//, 'src/')) }).toMatchInlineSnapshot(`
    {
      "args": [
        "src/engines/workers/llama-cpp.ts",
        "/cache/environments/node-llama-cpp",
      ],
      "channel": "fd3",
      "env": {
        "UV_THREADPOOL_SIZE": "1",
      },
    }
  `);
});

test('what a recorded load says', async () => {
  expect((await connect(worker.load)).info).toMatchInlineSnapshot(`
    {
      "build": {
        "disposableThreads": true,
        "instructionSets": "SSE3 SSSE3 AVX AVX2 F16C FMA BMI2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16 LLAMAFILE REPACK",
        "library": "llama.cpp v0.4.0",
        "openMp": false,
        "version": "node-llama-cpp 3.21.1",
      },
      "device": "cpu",
      "engineLoadMs": 1978.39224,
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

test('the timings of a recorded answer: one event per token, no clock of its own', async () => {
  const session = await connect(worker.load);
  expect(
    await session.generate({
      promptTokens: [1, 2, 3, 4, 5],
      generateTokens: 4,
      bannedTokens: [],
      topLogprobs: 3,
      timeoutMs: 1,
    }),
  ).toMatchInlineSnapshot(`
    {
      "cachedTokenCount": 0,
      "engineTimings": null,
      "eventMs": [
        3117.2972150000005,
        3159.634822,
        6208.007073000001,
        9267.232158,
      ],
      "eventTokenCounts": [
        1,
        1,
        1,
        1,
      ],
      "firstTokenLogprobs": [
        {
          "logprob": -1.1014422348068074,
          "token": 314,
        },
        {
          "logprob": -1.8712786648018729,
          "token": 284,
        },
        {
          "logprob": -1.8994997083391165,
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

test('a GPU build that was asked to stay on the CPU is refused', async () => {
  expect(await codeOf(connect({ ...worker.load, gpu: 'cuda' }))).toBe('engine-launch-failed');
});

test.each([
  ['cuda', 'cuda'],
  ['metal', 'metal'],
  ['vulkan', 'vulkan'],
  ['sycl', 'unknown'],
  [false, 'cpu'],
])('with GPU auto, %s computes on %s', async (gpu, device) => {
  expect((await connect({ ...worker.load, gpu }, { ...SETTINGS, gpu: 'auto' })).info.device).toBe(device);
});

test("Apple's Metal build counts as CPU when nothing is offloaded", async () => {
  expect((await connect({ ...worker.load, gpu: 'metal' })).info.device).toBe('cpu');
});
