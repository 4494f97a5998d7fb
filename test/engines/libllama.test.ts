import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import type { AvailableEngine } from '../../src/core/engine.ts';
import { engine } from '../../src/engines/libllama.ts';
import { engine as binding } from '../../src/engines/llama-cpp-python.ts';
import { describeEngine, fakeProcess, hostWith, launchRequest, planOf } from './describe-engine.ts';
import { recordedWorker } from './recorded.ts';

const READY = {
  state: 'ready',
  root: '/cache/environments/llama-cpp-python',
  runtime: '/cache/environments/llama-cpp-python/bin/python',
  packages: { 'llama-cpp-python': '0.3.36', 'llama.cpp': '0c1e57098', numpy: '2.4.6' },
} as const;
const worker = recordedWorker('libllama');

describeEngine({ engine, ready: READY, worker });

async function found(): Promise<AvailableEngine> {
  return (await engine.detect(hostWith(READY))) as AvailableEngine;
}

test('the launch plan', async () => {
  const { args, ...plan } = planOf(engine, launchRequest(await found()));
  expect({ ...plan, args: args.map((argument) => argument.replace(/^.*\/src\//, 'src/')) }).toMatchInlineSnapshot(`
    {
      "args": [
        "-I",
        "src/engines/workers/libllama.py",
      ],
      "channel": "stdout",
      "command": "/cache/environments/llama-cpp-python/bin/python",
      "env": {},
    }
  `);
});

test('what a recorded load says, and the timings of a recorded answer', async () => {
  const process = fakeProcess(({ method }) => worker[method]);
  const { info, generate } = await engine.connect(process, launchRequest(await found()), 1_000);
  expect(info).toMatchInlineSnapshot(`
    {
      "build": {
        "instructionSets": "SSE3 SSSE3 AVX AVX2 F16C FMA BMI2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16 LLAMAFILE OPENMP REPACK",
        "library": "llama.cpp 0c1e57098",
        "openMp": true,
        "version": "libllama of llama-cpp-python 0.3.36",
      },
      "device": "cpu",
      "engineLoadMs": 199.125697,
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
  const ask = { promptTokens: [1, 2, 3, 4, 5], generateTokens: 4, bannedTokens: [], topLogprobs: 3, timeoutMs: 1 };
  expect(await generate(ask)).toMatchInlineSnapshot(`
    {
      "cachedTokenCount": 0,
      "engineTimings": null,
      "eventMs": [
        2931.716126,
        5911.711409,
        8461.960284,
        8479.693317,
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

test('it is the library of llama-cpp-python: same environment, same Python, same recorded answer', async () => {
  expect(engine.environment).toBe(binding.environment);
  expect((await found()).location).toBe(((await binding.detect(hostWith(READY))) as AvailableEngine).location);
  const other = recordedWorker('llama-cpp-python');
  expect(worker.load['systemInfo']).toBe(other.load['systemInfo']);
  const { tokens, firstTokenLogprobs } = other.generate;
  expect(worker.generate).toMatchObject({ tokens, firstTokenLogprobs });
});

test('its worker runs nothing of the package but the declarations', async () => {
  const source = await readFile(new URL('../../src/engines/workers/libllama.py', import.meta.url), 'utf8');
  const imports = [...source.matchAll(/^\s*(?:import|from)\s+(\S+)/gm)].map(([, name]) => name);
  expect(imports).not.toContain('llama_cpp');
  expect(imports).not.toContain('numpy');
  expect(source.match(/import_module\("[^"]+"\)/g)).toEqual(['import_module("llama_cpp.llama_cpp")']);
});
