import { expect, test } from 'vitest';
import type { AvailableEngine } from '../../src/core/engine.ts';
import { engine } from '../../src/engines/mlx-lm.ts';
import { describeEngine, fakeProcess, hostWith, launchRequest, planOf } from './describe-engine.ts';
import { recordedWorker } from './recorded.ts';

const LINUX = {
  state: 'ready',
  root: '/cache/environments/mlx-lm',
  runtime: '/cache/environments/mlx-lm/bin/python',
  packages: { 'mlx-lm': '0.32.2', mlx: '0.32.4', 'mlx-cpu': '0.32.4' },
} as const;
const MAC = { ...LINUX, packages: { 'mlx-lm': '0.32.2', mlx: '0.32.4' } } as const;
const worker = recordedWorker('mlx-lm');

describeEngine({ engine, ready: LINUX, worker });

test('the CPU package is a reference backend, the Mac one is ranked', async () => {
  expect(await engine.detect(hostWith(LINUX))).toMatchObject({
    device: 'cpu',
    referenceBackend: "MLX's CPU backend: one core, not built for speed",
  });
  expect(await engine.detect(hostWith(MAC))).toMatchObject({ device: 'unknown', referenceBackend: null });
});

test('the launch plan', async () => {
  const { args, ...plan } = planOf(engine, launchRequest((await engine.detect(hostWith(LINUX))) as AvailableEngine));
  expect({ ...plan, args: args.map((argument) => argument.replace(/^.*\/src\//, 'src/')) }).toMatchInlineSnapshot(`
    {
      "args": [
        "-I",
        "src/engines/workers/mlx-lm.py",
      ],
      "channel": "stdout",
      "command": "/cache/environments/mlx-lm/bin/python",
      "env": {
        "MLX_ENABLE_TF32": "0",
      },
    }
  `);
});

test('what a recorded load says, and the timings of a recorded answer', async () => {
  const process = fakeProcess(({ method }) => worker[method]);
  const { info, generate } = await engine.connect(
    process,
    launchRequest((await engine.detect(hostWith(LINUX))) as AvailableEngine),
    1_000,
  );
  expect(info).toMatchInlineSnapshot(`
    {
      "build": {
        "instructionSets": null,
        "library": "mlx 0.32.4",
        "openMp": null,
        "version": "mlx-lm 0.32.2",
      },
      "device": "cpu",
      "engineLoadMs": 2206.635272,
      "modelName": null,
      "numericMode": "float32 scales, norms and activations, 4-bit groups of 32",
      "settings": {
        "batchTokens": 512,
      },
      "vocabularySize": 49152,
    }
  `);
  const generation = await generate({
    promptTokens: [1, 2, 3, 4, 5],
    generateTokens: 4,
    bannedTokens: [],
    topLogprobs: 3,
    timeoutMs: 1,
  });
  expect(generation).toMatchInlineSnapshot(`
    {
      "cachedTokenCount": 0,
      "engineTimings": null,
      "eventMs": [
        688.391445,
        834.060131,
        972.373936,
        1109.383393,
      ],
      "eventTokenCounts": [
        1,
        1,
        1,
        1,
      ],
      "firstTokenLogprobs": [
        {
          "logprob": -1.134927749633789,
          "token": 314,
        },
        {
          "logprob": -1.9544925689697266,
          "token": 28,
        },
        {
          "logprob": -2.105039596557617,
          "token": 284,
        },
      ],
      "promptTokenCount": 5,
      "tokens": [
        314,
        3807,
        281,
        260,
      ],
      "truncated": null,
    }
  `);
});
