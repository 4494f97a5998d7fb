/** The adapter over HTTP: a program that behaves as `ollama serve` does, started as we start it. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { EngineSession } from '../../src/core/engine.ts';
import { promptCacheGate } from '../../src/core/validity/prompt-cache.ts';
import { engine } from '../../src/engines/ollama.ts';
import { sha256Of } from '../../src/engines/shared/ollama-store.ts';
import { freePort } from '../../src/platform/network/free-port.ts';
import { startProcess } from '../../src/platform/process/start-process.ts';
import type { StartedProcess } from '../../src/platform/process/start-process.ts';
import { tinyModel } from '../fixtures/model/tiny-model.ts';
import { ask, BINARY, failure, FIVE, newFolder, textOf } from '../fixtures/ollama/cases.ts';
import { installFakeOllama, seenRequests } from '../fixtures/ollama/fake-ollama.ts';
import type { FakeOllama } from '../fixtures/ollama/fake-ollama.ts';
import { writeSplitModel } from '../models/split-model.ts';
import { launchRequest, planOf, SETTINGS } from './describe-engine.ts';

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

describe('a binary that we start', () => {
  async function connect(behaviour: FakeOllama = {}, timeoutMs = 10_000): Promise<EngineSession> {
    const location = await installFakeOllama(folder, behaviour);
    const request = launchRequest(
      { ...BINARY, location },
      {
        modelPath,
        modelSha256: await sha256Of(modelPath),
        workFolder: folder,
        port: await freePort(),
      },
    );
    started = await startProcess({ ...planOf(engine, request), cwd: folder });
    return engine.connect(started, request, timeoutMs);
  }

  test('a model in several files is refused, with the way to one file', async () => {
    modelPath = await writeSplitModel(modelPath, join(folder, 'm'));
    await expect(connect()).rejects.toMatchObject({
      code: 'engine-launch-failed',
      message: `Ollama takes a model from one file, and ${modelPath} is one of several.`,
      hint: `Make one file of them: runoff models convert ${modelPath} --to gguf`,
    });
  });

  test('it is given the file itself, proves its hash, loads, and tells its settings', async () => {
    const { info } = await connect({ startMs: 200, loadMs: 100 });
    expect(info).toMatchInlineSnapshot(`
      {
        "build": {
          "instructionSets": "SSE3 AVX2 OPENMP REPACK",
          "library": null,
          "openMp": true,
          "version": "ollama 0.33.2",
        },
        "device": "cpu",
        "engineLoadMs": null,
        "modelName": null,
        "numericMode": "int8 activations, f16 KV cache",
        "settings": {
          "batchTokens": 512,
          "contextTokens": 1024,
          "flashAttention": true,
          "kvType": "f16",
          "microBatchTokens": 512,
          "mmap": true,
          "threads": 4,
        },
        "vocabularySize": 881,
      }
    `);
    const seen = (await seenRequests(folder)).filter(({ path }) => path !== '/api/version');
    expect(seen.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'POST /api/show',
      'POST /api/generate',
      'GET /api/ps',
    ]);
  });

  test('a hash that nobody computed yet is computed', async () => {
    const location = await installFakeOllama(folder);
    const request = launchRequest(
      { ...BINARY, location },
      {
        modelPath,
        modelSha256: null,
        workFolder: folder,
        port: await freePort(),
      },
    );
    started = await startProcess({ ...planOf(engine, request), cwd: folder });
    expect((await engine.connect(started, request, 10_000)).info.vocabularySize).toBe(881);
  });

  test('on a GPU, of the kind that Ollama found', async () => {
    expect((await connect({ vramBytes: 900_000 })).info).toMatchObject({ device: 'cuda', numericMode: 'f16 KV cache' });
  });

  test('less context than asked for is reported', async () => {
    expect((await connect({ contextTokens: 512 })).info.settings.contextTokens).toBe(512);
  });

  test('an answer: as many tokens as asked, with times, counts and timings', async () => {
    const session = await connect({ prefillMsPerToken: 2, decodeMsPerToken: 5 });
    const generation = await session.generate(ask(FIVE));
    expect(generation).toMatchObject({
      tokens: [],
      generatedTokenCount: 6,
      promptTokenCount: 5,
      cachedTokenCount: 0,
      truncated: null,
      eventTokenCounts: [1, 1, 1, 1, 1, 1],
    });
    expect(generation.engineTimings).toMatchObject({ prefillMs: 10, prefillTokenCount: 5, decodeIntervalCount: 5 });
    expect(generation.eventMs[0]).toBeGreaterThanOrEqual(14);
    expect((generation.eventMs[5] ?? 0) - (generation.eventMs[0] ?? 0)).toBeGreaterThanOrEqual(20);
  });

  test('log-probabilities come when asked for, and every prompt token changes them', async () => {
    const session = await connect();
    const first = await session.generate(ask(FIVE, { generateTokens: 1, topLogprobs: 5 }));
    const other = await session.generate(ask([9, 11, 12, 13, 14], { generateTokens: 1, topLogprobs: 5 }));
    expect(first.firstTokenLogprobs).toHaveLength(5);
    expect(other.firstTokenLogprobs).not.toEqual(first.firstTokenLogprobs);
    expect((await session.generate(ask(FIVE))).firstTokenLogprobs).toEqual([]);
  });

  test('the model is loaded once: every request asks for the same runner', async () => {
    const session = await connect();
    await session.generate(ask(FIVE));
    await session.generate(ask(FIVE, { generateTokens: 2, topLogprobs: 3 }));
    expect(started?.stderrTail().match(/starting llama-server/g)).toHaveLength(1);
  });

  test('an identical prompt is computed again, because another one lies between', async () => {
    const session = await connect();
    const first = await session.generate(ask(FIVE));
    const again = await session.generate(ask(FIVE));
    expect([first.cachedTokenCount, again.cachedTokenCount]).toEqual([0, 0]);
    expect(again.text).toBe(first.text);
    const prompts = (await seenRequests(folder)).flatMap(({ body }) => (body?.['prompt'] as string | undefined) ?? []);
    expect(prompts.filter((prompt) => prompt !== '')).toEqual(['7', textOf(FIVE), '7', textOf(FIVE)]);
  });

  test('the one token that every prompt has in common, a BOS, is told as it is', async () => {
    const session = await connect({ addsBos: true });
    expect(await session.generate(ask([0, ...FIVE], { promptText: textOf(FIVE) }))).toMatchObject({
      promptTokenCount: 6,
      cachedTokenCount: 1,
    });
  });

  test('a cache that does not tell is seen by its time', async () => {
    const session = await connect({ fault: 'hidden-cache', prefillMsPerToken: 2 });
    const long = Array.from({ length: 60 }, (_, index) => index);
    const times: number[] = [];
    for (let request = 0; request < 2; request++) times.push((await session.generate(ask(long))).eventMs[0] ?? 0);
    const [ttftFirstMs = 0, ttftSecondMs = 0] = times;
    const repeat = { ttftFirstMs, ttftSecondMs, cachedTokenCount: 0 };
    expect(promptCacheGate({ cachedTokenCounts: [0, 0], doubling: null, repeat }).outcome).toBe('failed');
  });

  test('a prompt longer than the context is refused, not cut', async () => {
    const session = await connect();
    const long = Array.from({ length: SETTINGS.contextTokens + 1 }, (_, index) => index);
    expect(await failure(session.generate(ask(long)), modelPath)).toMatchInlineSnapshot(
      `"engine-request-failed: http://PORT/api/generate answered 400: {"error":"the prompt is longer than the context length currently available to the model"}"`,
    );
  });

  test('an early end is told, without the token that ended it', async () => {
    const generation = await (await connect({ fault: 'early-end', stopAfter: 3 })).generate(ask(FIVE));
    expect(generation).toMatchObject({ generatedTokenCount: 3, eventTokenCounts: [1, 1, 1] });
  });

  test('a piece of two tokens', async () => {
    const generation = await (await connect({ fault: 'joined', decodeMsPerToken: 4 })).generate(ask(FIVE));
    expect(generation.generatedTokenCount).toBe(6);
    // Which piece waited longest is the machine's affair here; the first two are left alone.
    expect(generation.eventTokenCounts.slice(0, 2)).toEqual([1, 1]);
    expect(generation.eventTokenCounts.slice(2).toSorted((a, b) => a - b)).toEqual([1, 1, 2]);
  });

  test('a single token that is held back', async () => {
    const session = await connect({ fault: 'held-back' });
    const generation = await session.generate(ask(FIVE, { generateTokens: 1 }));
    expect(generation).toMatchObject({ generatedTokenCount: 1, eventTokenCounts: [1] });
    expect(generation.eventMs[0]).toBeGreaterThan(0);
  });

  const broken = [
    ['stranger', 'port-taken: PORT is answered by another Ollama'],
    [
      'wrong-model',
      `engine-launch-failed: wrong model: Ollama serves weights with SHA-256 ${'f'.repeat(64)}, the file has SHA256`,
    ],
    [
      'load-error',
      'engine-launch-failed: Ollama did not take or load the model: /api/generate answered 500: llama-server process has terminated: error loading model: unknown model architecture',
    ],
    ['not-loaded', 'engine-launch-failed: Ollama says that the model is loaded and lists it not'],
    [
      'exit-at-start',
      'engine-launch-failed: Ollama ended at its start (exit code 1); its last lines:\nError: mkdir /usr/share/ollama: permission denied',
    ],
    [
      'die-loading',
      'engine-launch-failed: Ollama ended while it loaded the model (exit code 1); its last lines:\npanic: runtime error: invalid memory address or nil pointer dereference',
    ],
  ] as const;
  test.each(broken)('a start that ends with %s', async (fault, expected) => {
    expect(await failure(connect({ fault }), modelPath)).toBe(expected);
  });

  test('a load that never ends', async () => {
    expect(await failure(connect({ fault: 'hang-loading' }, 800), modelPath)).toMatch(
      /^engine-timeout: http:\/\/PORT\/api\/generate did not finish its answer within \d+ ms$/,
    );
  });

  test('a start that never ends', async () => {
    expect(await failure(connect({ startMs: 60_000 }, 400), modelPath)).toBe(
      'engine-timeout: Ollama did not answer at http://PORT (last: http://PORT/api/version failed: connect ECONNREFUSED PORT)',
    );
  });

  const faults = [
    [
      'error-500',
      'engine-request-failed: http://PORT/api/generate answered 500: {"error":"model runner has unexpectedly stopped"}',
    ],
    [
      'error-in-stream',
      'engine-request-failed: Ollama answered: an error was encountered while running the model: CUDA error',
    ],
    ['garbage', 'engine-protocol: Ollama sent a line that is not readable: <html>502 Bad Gateway</html>'],
    ['cut-stream', "engine-protocol: Ollama's answer stopped after 2 pieces without its last line"],
    ['more-pieces', 'engine-protocol: Ollama sent 2 pieces of text and counted 1 tokens'],
    ['hang', 'engine-timeout: http://PORT/api/generate did not finish its answer within 400 ms'],
  ] as const;
  test.each(faults)('a request that ends with %s', async (fault, expected) => {
    const session = await connect({ fault });
    expect(await failure(session.generate(ask(FIVE, { timeoutMs: 400 })), modelPath)).toBe(expected);
  });

  test('death in the middle of an answer', async () => {
    expect(await failure((await connect({ fault: 'die', hasRunner: true })).generate(ask(FIVE)), modelPath)).toMatch(
      /^engine-died: Ollama ended during a request \(SIGKILL\); its last lines:/,
    );
  });

  test('it has nothing to give back: its folder goes with it', async () => {
    expect((await connect()).close).toBeUndefined();
    expect(await readdir(join(folder, 'runoff-0123456789abcdef'))).toEqual(['blobs', 'manifests']);
  });
});
