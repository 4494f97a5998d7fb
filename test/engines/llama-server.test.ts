import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AvailableEngine, EngineSession, EngineSettings, GenerateRequest } from '../../src/core/engine.ts';
import { AppError } from '../../src/core/errors.ts';
import { describeBinary, engine } from '../../src/engines/llama-server.ts';
import { earlyEndGate } from '../../src/core/validity/gates.ts';
import { readCompletion, requestBody } from '../../src/engines/shared/llama-server-api.ts';
import { freePort } from '../../src/platform/network/free-port.ts';
import { parseSse } from '../../src/platform/network/http.ts';
import { startProcess } from '../../src/platform/process/start-process.ts';
import type { StartedProcess } from '../../src/platform/process/start-process.ts';
import { installFakeServer } from '../fixtures/llama-server/fake-server.ts';
import type { FakeServer } from '../fixtures/llama-server/fake-server.ts';
import { tinyModel } from '../fixtures/model/tiny-model.ts';
import { describeEngine, hostWith, launchRequest, planOf, SETTINGS } from './describe-engine.ts';
import { recordedText } from './recorded.ts';

const READY = {
  state: 'ready',
  root: '/cache/environments/xllamacpp',
  runtime: '/cache/environments/xllamacpp/bin/python',
  packages: { xllamacpp: '2026.10.11549' },
} as const;
const BINARY: AvailableEngine = {
  state: 'available',
  build: { version: 'llama-server 6900 (a1b2c3d4)', library: null, openMp: null, instructionSets: null },
  device: 'unknown',
  location: '/opt/llama.cpp/llama-server',
  variant: 'binary',
  referenceBackend: null,
};
const ASK: GenerateRequest = {
  promptTokens: [0, 5, 6, 7, 8],
  generateTokens: 6,
  bannedTokens: [0, 1],
  topLogprobs: 0,
  timeoutMs: 10_000,
};

describeEngine({ engine, ready: READY, variants: [BINARY], refused: ['kvType'] });

describe('launch plans', () => {
  const commandLine = (found: AvailableEngine, settings: Partial<EngineSettings> = {}): string => {
    const { command, args } = planOf(engine, launchRequest(found, { settings: { ...SETTINGS, ...settings } }));
    return [command, ...args]
      .join(' ')
      .replaceAll(' --', '\n--')
      .replace(/\S*\/src\//, 'src/');
  };

  test('a binary on the CPU', () => {
    expect(commandLine(BINARY)).toMatchInlineSnapshot(`
      "/opt/llama.cpp/llama-server
      --model /models/model.gguf
      --alias runoff-0123456789abcdef
      --host 127.0.0.1
      --port 43210
      --parallel 1
      --ctx-size 1024
      --threads 4
      --threads-batch 4
      --batch-size 512
      --ubatch-size 512
      --flash-attn on
      --cache-type-k f16
      --cache-type-v f16
      --cache-ram 0
      --no-context-shift
      --n-gpu-layers 0
      --device none"
    `);
  });

  test('a binary with GPU, without memory mapping', () => {
    expect(commandLine(BINARY, { gpu: 'auto', mmap: false, flashAttention: false, kvType: 'q8_0' }))
      .toMatchInlineSnapshot(`
      "/opt/llama.cpp/llama-server
      --model /models/model.gguf
      --alias runoff-0123456789abcdef
      --host 127.0.0.1
      --port 43210
      --parallel 1
      --ctx-size 1024
      --threads 4
      --threads-batch 4
      --batch-size 512
      --ubatch-size 512
      --flash-attn off
      --cache-type-k q8_0
      --cache-type-v q8_0
      --cache-ram 0
      --no-context-shift
      --no-mmap"
    `);
  });

  test('the server of the wheel', async () => {
    expect(commandLine((await engine.detect(hostWith(READY))) as AvailableEngine)).toMatchInlineSnapshot(
      `"/cache/environments/xllamacpp/bin/python -I src/engines/workers/xllamacpp-server.py {"modelPath":"/models/model.gguf","settings":{"threads":4,"contextTokens":1024,"batchTokens":512,"microBatchTokens":512,"kvType":"f16","flashAttention":true,"mmap":true,"gpu":"off"},"port":43210,"runId":"runoff-0123456789abcdef"}"`,
    );
  });

  test('the wheel is started on loopback', async () => {
    const launcher = await readFile(new URL('../../src/engines/workers/xllamacpp-server.py', import.meta.url), 'utf8');
    expect(launcher).toContain('params.hostnames = ["127.0.0.1"]');
  });
});

describe('detection of a binary', () => {
  test('its version and its switches decide', () => {
    expect(
      describeBinary('/opt/llama-server', 'version: 6900 (a1b2c3d4)\nbuilt with cc', '--cache-ram N'),
    ).toMatchObject({
      state: 'available',
      variant: 'binary',
      build: { version: 'llama-server 6900 (a1b2c3d4)' },
    });
  });

  test('one that cannot switch its prompt cache off is refused with a next step', () => {
    expect(describeBinary('/opt/llama-server', 'version: 4500 (aaaa)', '--threads N')).toMatchInlineSnapshot(`
      {
        "nextStep": "Use a llama.cpp of November 2025 or newer, or take that one off PATH: runoff then brings its own.",
        "reason": "/opt/llama-server (4500 (aaaa)) has no --cache-ram switch, so its prompt cache cannot be turned off",
        "state": "unavailable",
      }
    `);
  });

  test('a path that was given goes before PATH, and PATH before the managed environment', async () => {
    const first = await installFakeServer(await newFolder(), { version: '1 (given)' });
    const second = await installFakeServer(await newFolder(), { version: '2 (path)' });
    const host = (enginePath: string | null) => hostWith(READY, { enginePath, findOnPath: () => second });
    expect(await engine.detect(host(first))).toMatchObject({
      location: first,
      build: { version: 'llama-server 1 (given)' },
    });
    expect(await engine.detect(host(null))).toMatchObject({
      location: second,
      build: { version: 'llama-server 2 (path)' },
    });
  });

  test('a program that does not run is reported, not replaced', async () => {
    const detection = await engine.detect(hostWith(READY, { enginePath: '/bin/false' }));
    expect(detection).toMatchInlineSnapshot(`
      {
        "nextStep": "Try /bin/false --version yourself; --engine-path llama-server=PATH names another one.",
        "reason": "false does not run: Command failed: /bin/false --version",
        "state": "unavailable",
      }
    `);
  });
});

describe('the recorded answer of a real server', () => {
  const events = parseSse([{ atMs: 30, bytes: Buffer.from(recordedText('llama-server-completion.sse')) }]);
  const completion = () =>
    readCompletion(
      events.map(({ atMs, data }) => ({
        atMs,
        event: JSON.parse(data) as Parameters<typeof readCompletion>[0][number]['event'],
      })),
    );

  test('its tokens, counts and timings', () => {
    expect(completion()).toMatchInlineSnapshot(`
      {
        "cachedTokenCount": 0,
        "engineTimings": {
          "decodeIntervalCount": 3,
          "decodeMs": 65.415,
          "prefillMs": 124.574,
          "prefillTokenCount": 5,
        },
        "eventMs": [
          30,
          30,
          30,
          30,
        ],
        "eventTokenCounts": [
          1,
          1,
          1,
          1,
        ],
        "firstTokenLogprobs": [
          {
            "logprob": -1.1002354621887207,
            "token": 314,
          },
          {
            "logprob": -1.851393222808838,
            "token": 284,
          },
          {
            "logprob": -1.8927063941955566,
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
        "truncated": false,
      }
    `);
  });

  test('the request that it answered', () => {
    const body = requestBody({
      promptTokens: [504, 3_575, 282, 260, 905],
      generateTokens: 4,
      bannedTokens: [0, 2],
      topLogprobs: 3,
      timeoutMs: 1,
    });
    expect(body).toMatchInlineSnapshot(`
      {
        "cache_prompt": false,
        "ignore_eos": true,
        "logit_bias": [
          [
            0,
            false,
          ],
          [
            2,
            false,
          ],
        ],
        "n_predict": 4,
        "n_probs": 3,
        "prompt": [
          504,
          3575,
          282,
          260,
          905,
        ],
        "repeat_penalty": 1,
        "return_tokens": true,
        "samplers": [
          "top_k",
          "temperature",
        ],
        "stream": true,
        "temperature": 0,
        "top_k": 1,
      }
    `);
  });

  test('without its last event it is no answer', () => {
    const cut = events.slice(0, -1).map(({ atMs, data }) => ({
      atMs,
      event: JSON.parse(data) as Parameters<typeof readCompletion>[0][number]['event'],
    }));
    expect(() => readCompletion(cut)).toThrow("llama-server's answer stopped after 4 tokens without its last event");
  });

  describe('tokens inside a character, which come without an event', () => {
    const timings = { prompt_n: 5, prompt_ms: 1, predicted_n: 6, predicted_ms: 1 };
    const read = (times: readonly number[], endMs: number): ReturnType<typeof readCompletion> =>
      readCompletion([
        ...times.map((atMs, index) => ({ atMs, event: { tokens: [100 + index], content: 'é' } })),
        { atMs: endMs, event: { tokens: [], stop: true, timings } },
      ]);

    test('in the middle: their time is in the longest wait, and ids count up to there', () => {
      expect(read([10, 20, 30, 60, 70], 70.1)).toMatchObject({
        tokens: [100, 101, 102],
        eventMs: [10, 20, 30, 60, 70],
        eventTokenCounts: [1, 1, 1, 2, 1],
        generatedTokenCount: 6,
      });
    });

    test('at the end: the last event has it', () => {
      expect(read([10, 20, 30, 40, 50], 60)).toMatchObject({
        tokens: [100, 101, 102, 103, 104],
        eventMs: [10, 20, 30, 40, 50, 60],
        eventTokenCounts: [1, 1, 1, 1, 1, 1],
        generatedTokenCount: 6,
      });
    });

    test('everywhere: each longest wait has one, and nothing but the end', () => {
      expect(read([10, 30, 60, 65], 65.1).eventTokenCounts).toEqual([1, 1, 3, 1]);
      expect(read([10, 20, 40, 60], 60.1).eventTokenCounts).toEqual([1, 1, 2, 2]);
    });

    test('a claim without characters that it could come from is not believed: the answer ended early', () => {
      const told = [10, 20].map((atMs) => ({ atMs, event: { tokens: [1], content: 'plain' } }));
      const claimed = readCompletion([...told, { atMs: 30, event: { stop: true, timings } }]);
      expect(earlyEndGate({ generateTokensAsked: 6, generation: claimed }).outcome).toBe('failed');
      expect(read([], 50)).toMatchObject({ tokens: [], eventMs: [], eventTokenCounts: [] });
    });
  });

  test('an error inside the stream is an error', () => {
    expect(() => readCompletion([{ atMs: 1, event: { error: { message: 'slot unavailable' } } }])).toThrow(
      'llama-server answered: slot unavailable',
    );
  });
});

const folders: string[] = [];

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-llama-server-'));
  folders.push(folder);
  return folder;
}

afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

describe('over HTTP with a program that behaves as the server does', () => {
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
  });

  async function connect(
    behaviour: FakeServer,
    timeoutMs = 10_000,
    changes: { modelPath?: string; settings?: EngineSettings } = {},
  ): Promise<EngineSession> {
    const location = await installFakeServer(folder, behaviour);
    const request = launchRequest({ ...BINARY, location }, { modelPath, port: await freePort(), ...changes });
    started = await startProcess(planOf(engine, request));
    return engine.connect(started, request, timeoutMs);
  }

  async function failure(promise: Promise<unknown>): Promise<string> {
    try {
      await promise;
    } catch (error) {
      if (error instanceof AppError)
        return `${error.code}: ${error.message}`
          .replaceAll(/127\.0\.0\.1:\d+|port \d+/g, 'PORT')
          .replaceAll(modelPath, 'MODEL');
      throw error;
    }
    throw new TypeError('it succeeded');
  }

  test('it waits while the model loads, then knows what was loaded', async () => {
    const { info } = await connect({ loadMs: 300 });
    expect({ ...info, modelName: info.modelName === modelPath }).toMatchInlineSnapshot(`
      {
        "build": {
          "instructionSets": "SSE3 AVX2 FMA OPENMP REPACK",
          "library": "llama.cpp b6900-a1b2c3d4",
          "openMp": true,
          "version": "llama-server 6900 (a1b2c3d4)",
        },
        "device": "cpu",
        "engineLoadMs": null,
        "modelName": true,
        "numericMode": "int8 activations, f16 KV cache",
        "settings": {
          "contextTokens": 1024,
          "threads": 4,
        },
        "vocabularySize": 881,
      }
    `);
  });

  test('a model path with spaces and quotes reaches the server whole', async () => {
    const odd = join(await newFolder(), `it's "my" $model; é.gguf`);
    await copyFile(modelPath, odd);
    expect((await connect({}, 10_000, { modelPath: odd })).info.modelName).toBe(odd);
  });

  test('an answer: as many tokens as asked, none of the banned ones, with counts and timings', async () => {
    const generation = await (await connect({ prefillMsPerToken: 2, decodeMsPerToken: 5 })).generate(ASK);
    expect(generation).toMatchObject({
      promptTokenCount: 5,
      cachedTokenCount: 0,
      truncated: false,
      eventTokenCounts: [1, 1, 1, 1, 1, 1],
    });
    expect(generation.tokens.filter((token) => token < 2)).toEqual([]);
    expect(generation.engineTimings).toMatchObject({ prefillMs: 10, prefillTokenCount: 5, decodeIntervalCount: 5 });
    expect(generation.eventMs[0]).toBeGreaterThanOrEqual(14);
    expect((generation.eventMs[5] ?? 0) - (generation.eventMs[0] ?? 0)).toBeGreaterThanOrEqual(20);
  });

  test('log-probabilities come when asked for, and every prompt token changes them', async () => {
    const session = await connect({});
    const first = await session.generate({ ...ASK, generateTokens: 1, topLogprobs: 5 });
    const other = await session.generate({ ...ASK, promptTokens: [0, 9, 6, 7, 8], generateTokens: 1, topLogprobs: 5 });
    expect(first.firstTokenLogprobs).toHaveLength(5);
    expect(other.firstTokenLogprobs).not.toEqual(first.firstTokenLogprobs);
    expect((await session.generate(ASK)).firstTokenLogprobs).toEqual([]);
  });

  test('another server on the port is not measured', async () => {
    expect(await failure(connect({ alias: 'gpt-oss-20b' }))).toMatchInlineSnapshot(
      `"port-taken: PORT is answered by another server (model gpt-oss-20b)"`,
    );
  });

  test('a model that the build does not know: the server says so', async () => {
    expect(await failure(connect({ fault: 'exit-at-start' }))).toMatchInlineSnapshot(`
      "engine-launch-failed: llama-server ended while loading (exit code 1):
      system_info: n_threads = 4 (n_threads_batch = 4) / 8 | CPU : SSE3 = 1 | AVX2 = 1 | FMA = 1 | OPENMP = 1 | REPACK = 1 | 
      srv  load_model: loading model 'MODEL'
      llama_model_load: error loading model: error loading model architecture: unknown model architecture: 'qwen9'
      llama_model_load_from_file_impl: failed to load model
      srv  load_model: failed to load model"
    `);
  });

  test('a file that is no model', async () => {
    const message = await failure(connect({}, 10_000, { modelPath: new URL(import.meta.url).pathname }));
    expect(message).toContain('invalid magic characters');
  });

  test('death while loading', async () => {
    expect(await failure(connect({ fault: 'die-loading' }))).toContain(
      'engine-launch-failed: llama-server ended while loading (exit code 1):',
    );
  });

  // Windows has no signals: its exit code is tested with the words.
  test.skipIf(process.platform === 'win32')('a build for another processor is named, with what to do', async () => {
    await expect(connect({ fault: 'wrong-build' })).rejects.toMatchObject({
      message: expect.stringContaining('(SIGILL: this build uses an instruction that the processor refuses)'),
      hint: expect.stringMatching(/^Take another build of it/),
    });
  });

  test('a load that never ends', async () => {
    expect(await failure(connect({ fault: 'hang-loading' }, 700))).toMatchInlineSnapshot(
      `"engine-timeout: llama-server did not load the model in 1 s (last: http://PORT/health answered 503: {"error":{"message":"Loading model","type":"unavailable_error","code":503}})"`,
    );
  });

  const faults = [
    [
      'error-500',
      'engine-request-failed: http://PORT/completion answered 500: {"error":{"code":500,"message":"context checkpoint failed: std::bad_alloc","type":"server_error"}}',
    ],
    ['garbage', 'engine-protocol: llama-server sent an event that is not readable: <html>502 Bad Gateway</html>'],
    ['cut-stream', "engine-protocol: llama-server's answer stopped after 2 tokens without its last event"],
    ['hang', 'engine-timeout: http://PORT/completion did not finish its answer within 400 ms'],
  ] as const;
  test.each(faults)('a request that ends with %s', async (fault, expected) => {
    const session = await connect({ fault });
    expect(await failure(session.generate({ ...ASK, timeoutMs: 400 }))).toBe(expected);
  });

  test('a server that dies while it answers: its death is told, with its last words', async () => {
    const session = await connect({ fault: 'die' });
    const message = await failure(session.generate(ASK));
    expect(message).toMatchInlineSnapshot(`
      "engine-died: llama-server died (SIGKILL) during a request; its last lines:
      system_info: n_threads = 4 (n_threads_batch = 4) / 8 | CPU : SSE3 = 1 | AVX2 = 1 | FMA = 1 | OPENMP = 1 | REPACK = 1 | 
      srv  load_model: loading model 'MODEL'"
    `);
  });

  test('the next request after an error is answered', async () => {
    const session = await connect({ fault: 'error-500', faultFromRequest: 2 });
    expect((await session.generate(ASK)).tokens).toHaveLength(6);
    expect(await failure(session.generate(ASK))).toContain('answered 500');
  });

  test('a prompt that does not fit is refused, not cut', async () => {
    const session = await connect({ contextTokens: 4 });
    expect(session.info.settings.contextTokens).toBe(4);
    expect(await failure(session.generate(ASK))).toContain('the request exceeds the available context size');
  });

  test('what the validity gates have to see: a cache, an early end, one token too many', async () => {
    const cache = await connect({ fault: 'cache' });
    await cache.generate(ASK);
    expect(await cache.generate(ASK)).toMatchObject({ cachedTokenCount: 4, promptTokenCount: 5 });
    await started?.stop(0);
    expect((await (await connect({ fault: 'early-end' })).generate(ASK)).tokens).toHaveLength(4);
    await started?.stop(0);
    expect((await (await connect({ fault: 'double-bos' })).generate(ASK)).promptTokenCount).toBe(6);
  });

  test('one that ignores SIGTERM is killed', async () => {
    await connect({ ignoreSigterm: true });
    expect(await started?.stop(200)).toMatchObject({ signal: 'SIGKILL', forced: true });
  });

  const nonsense = [
    [
      'no JSON at all',
      'hello',
      'engine-request-failed: http://PORT/v1/models answered with something that is not JSON: hello',
    ],
    [
      'another shape',
      '{"object":"list"}',
      "engine-protocol: the answer to /v1/models is not llama-server's: data: Invalid input: expected array, received undefined",
    ],
  ] as const;
  test.each(nonsense)('a stranger whose model list is %s is no llama-server', async (_, body, expected) => {
    const server = createServer((request, response) =>
      response.end(request.url === '/health' ? '{"status":"ok"}' : body),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const process = {
      pid: 1,
      request: () => Promise.reject(new TypeError()),
      stderrTail: () => '',
      exited: new Promise<never>(() => {}),
    };
    expect(await failure(engine.connect(process, launchRequest(BINARY, { port }), 2_000))).toBe(expected);
    server.close();
  });
});
