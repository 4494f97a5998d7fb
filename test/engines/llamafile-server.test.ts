/** The ways of llamafile's servers over HTTP, on programs that behave as recorded: what each guard is there for. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { realMachinery } from '../../src/app/machinery.ts';
import type { EngineSession, EngineSettings, GenerateRequest } from '../../src/core/engine.ts';
import { AppError } from '../../src/core/errors.ts';
import { engine } from '../../src/engines/llamafile.ts';
import { freePort } from '../../src/platform/network/free-port.ts';
import { startProcess } from '../../src/platform/process/start-process.ts';
import type { StartedProcess } from '../../src/platform/process/start-process.ts';
import {
  askedOf,
  detectFake,
  GENERATIONS,
  installFakeLlamafile,
  launchesOf,
  textOf,
} from '../fixtures/llamafile/fake-llamafile-server.ts';
import type { FakeLlamafileServer } from '../fixtures/llamafile/fake-llamafile-server.ts';
import { tinyModel } from '../fixtures/model/tiny-model.ts';
import { launchRequest, planOf, SETTINGS } from './describe-engine.ts';

const V2 = GENERATIONS['llamafiler 0.9.3'];
const PROMPT = [20, 21, 22, 23, 24];

let folder = '';
let started: StartedProcess[] = [];
let strangers: Server[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runoff-llamafile-'));
});
afterEach(async () => {
  await Promise.all(started.map((running) => running.stop(0)));
  for (const server of strangers) server.close();
  started = [];
  strangers = [];
  await rm(folder, { recursive: true, force: true });
});

interface Started {
  readonly session: EngineSession;
  readonly path: string;
}

async function connect(
  behaviour: FakeLlamafileServer,
  changes: { port?: number; runId?: string; settings?: Partial<EngineSettings>; timeoutMs?: number } = {},
): Promise<Started> {
  const { settings, timeoutMs = 10_000, ...rest } = changes;
  const path = await installFakeLlamafile(await mkdtemp(join(folder, 'engine-')), behaviour);
  const request = launchRequest(await detectFake(path), {
    modelPath: await tinyModel(),
    port: await freePort(),
    settings: { ...SETTINGS, ...settings },
    ...rest,
  });
  const running = await startProcess({ ...planOf(engine, request), cwd: folder });
  started.push(running);
  return { path, session: await engine.connect(running, request, timeoutMs) };
}

function ask(changes: Partial<GenerateRequest> = {}): GenerateRequest {
  const promptTokens = changes.promptTokens ?? PROMPT;
  return {
    promptTokens,
    promptText: textOf(promptTokens),
    generateTokens: 6,
    bannedTokens: [0, 1],
    topLogprobs: 0,
    timeoutMs: 10_000,
    ...changes,
  };
}

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const text = `${error.code}: ${error.message}${error.hint === undefined ? '' : ` [${error.hint}]`}`;
    return text.replaceAll(/127\.0\.0\.1:\d+|port \d+/g, 'PORT').replaceAll(/runoff-[0-9a-f]+/g, 'RUN');
  }
  throw new TypeError('it succeeded');
}

describe('readiness', () => {
  test('0.6.2 says "listening" before the model is loaded: only /health counts', async () => {
    const startedMs = performance.now();
    const { session } = await connect({ version: '0.6.2', loadMs: 600 });
    expect(performance.now() - startedMs).toBeGreaterThan(590);
    expect((await session.generate(ask())).generatedTokenCount).toBe(6);
  });

  test('a load that never ends', async () => {
    expect(await failure(connect({ fault: 'hang-loading' }, { timeoutMs: 1_500 }))).toMatch(
      /^engine-timeout: llamafile did not load the model in 2 s \(last: http:\/\/PORT\/health /,
    );
  });

  test('a model that is too new for it: its words, and what to do', async () => {
    expect(await failure(connect({ version: '0.6.2', fault: 'exit-at-start' }))).toMatchInlineSnapshot(`
      "engine-launch-failed: llamafile ended while loading (exit code 1):
      llama_model_load: error loading model: done_getting_tensors: tensor 'output.weight' not found [This llamafile knows no tied embeddings: use a newer one.]"
    `);
  });

  test('arguments of its own that end it', async () => {
    expect(await failure(connect({ fault: 'other-argument' }))).toMatchInlineSnapshot(`
      "engine-launch-failed: llamafile ended while loading (exit code 1):
      error: unknown argument: -p [Arguments inside the file (.args) may be the cause: runoff models inspect shows them.]"
    `);
  });

  test('a death while loading, with its recorded last words', async () => {
    expect(await failure(connect({ fault: 'die-loading' }))).toContain(
      "llama_init_from_gpt_params: error: failed to load model 'nosuch.gguf'",
    );
  });
});

describe('whose server answers', () => {
  test('two of them share one port (SO_REUSEPORT): the other one is never measured as ours', async () => {
    const port = await freePort();
    await connect({}, { port, runId: 'runoff-aaaa' });
    // Either it is told at once, or by the first answer that the other one gives.
    const outcomes = new Set<string>();
    for (let attempt = 0; attempt < 6; attempt++) {
      const second = await connect({}, { port, runId: `runoff-bbb${attempt}` }).catch((error: unknown) => error);
      if (second instanceof Error) outcomes.add((second as AppError).code);
      else
        for (let request = 0; request < 12; request++)
          await (second as Started).session
            .generate(ask())
            .catch((error: unknown) => outcomes.add((error as AppError).code));
    }
    expect([...outcomes]).toEqual(['port-taken']);
  }, 60_000);

  test('an answer that names another model is not ours', async () => {
    const { session } = await connect({ fault: 'stranger', faultFromRequest: 2 });
    await session.generate(ask());
    expect(await failure(session.generate(ask()))).toMatchInlineSnapshot(
      `"port-taken: PORT is answered by another server (model gpt-oss-20b) [Stop the other server, or run again: a new port is chosen every time.]"`,
    );
  });

  test('another llamafile on the port', async () => {
    expect(await failure(connect({ alias: 'gpt-oss-20b' }))).toMatchInlineSnapshot(
      `"port-taken: PORT is answered by another server (model gpt-oss-20b) [Stop the other server, or run again: a new port is chosen every time.]"`,
    );
  });

  test('on a taken port it moves to the next one, which is told at once', async () => {
    const stranger = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'));
    strangers.push(stranger);
    await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve));
    const { port } = stranger.address() as AddressInfo;
    const startedMs = performance.now();
    expect(await failure(connect({}, { port }))).toMatch(
      /^port-taken: PORT is answered by another server \(model unknown; llamafile moved to PORT\)/,
    );
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });

  test.each(['/somebody', ''])(
    'llamafiler has no names: a stranger does not know the path that carries the run id; it has %j',
    async (alias) => {
      expect(await failure(connect({ ...V2, alias }, { timeoutMs: 600 }))).toContain('answered 404: Not Found');
    },
  );
});

describe('equal work on v1', () => {
  test.each(['0.6.2', '0.8.13', '0.9.3'])(
    '%s: every end is masked, repetition is not penalised, nothing is cached',
    async (version) => {
      const { session, path } = await connect({ version });
      const first = await session.generate(ask());
      const again = await session.generate(ask());
      expect(first).toMatchObject({ generatedTokenCount: 6, promptTokenCount: 5, cachedTokenCount: 0 });
      expect(again).toMatchObject({ text: first.text, cachedTokenCount: 0 });
      const [body] = await askedOf(path);
      expect(body).toMatchObject({
        prompt: PROMPT,
        cache_prompt: false,
        repeat_penalty: 1,
        logit_bias: [
          [0, false],
          [1, false],
        ],
      });
    },
  );

  test('ignore_eos alone would end at another end-of-generation token', async () => {
    const { session } = await connect({});
    expect((await session.generate(ask({ bannedTokens: [] }))).generatedTokenCount).toBe(5);
  });

  test('a prompt that does not fit is cut under 200: the count and the flag tell', async () => {
    const { session } = await connect({}, { settings: { contextTokens: 256 } });
    const promptTokens = Array.from({ length: 400 }, (_, index) => 20 + index);
    expect(await session.generate(ask({ promptTokens }))).toMatchObject({ promptTokenCount: 144, truncated: true });
  });

  test('what came from a cache is what was not computed', async () => {
    const { session } = await connect({ fault: 'cache' });
    await session.generate(ask());
    expect(await session.generate(ask())).toMatchObject({ promptTokenCount: 5, cachedTokenCount: 4 });
  });

  test('the settings that it really has are reported, and the prompt of one slot is the whole context', async () => {
    const { session } = await connect({}, { settings: { batchTokens: 2_048 } });
    expect(session.info).toMatchInlineSnapshot(`
      {
        "build": {
          "instructionSets": "AVX AVX2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16 FMA F16C SSE3 SSSE3 LLAMAFILE",
          "library": "llama.cpp of llamafile, a30b324",
          "openMp": null,
          "version": "llamafile 0.9.3",
        },
        "device": "cpu",
        "engineLoadMs": null,
        "modelName": null,
        "numericMode": "llamafile's own CPU kernels, f16 KV cache",
        "settings": {
          "batchTokens": 512,
          "contextTokens": 1024,
          "flashAttention": true,
          "kvType": "f16",
          "microBatchTokens": 512,
          "threads": 4,
        },
        "vocabularySize": 881,
      }
    `);
  });

  test('0.6.2 has no flash attention: the report shows it', async () => {
    const { session } = await connect({ version: '0.6.2' });
    expect(session.info.settings).toMatchObject({ flashAttention: false, contextTokens: 1_024 });
  });

  test('a GPU that was asked for and not found is told', async () => {
    const { session } = await connect({ fault: 'fallback' }, { settings: { gpu: 'auto' } });
    expect(session.info).toMatchObject({
      device: 'cpu',
      numericMode: "llamafile's own CPU kernels, f16 KV cache, asked for a GPU, found none and fell back to the CPU",
    });
  });

  test('half a character is held back: its tokens are counted all the same', async () => {
    const { session } = await connect({ fault: 'held-back' });
    const generation = await session.generate(ask());
    expect(generation).toMatchObject({ generatedTokenCount: 6 });
    expect(generation.eventTokenCounts.toSorted((left, right) => left - right)).toEqual([1, 1, 1, 1, 2]);
  });
});

describe('llamafiler', () => {
  test('its cache cannot be switched off: another prompt in between leaves nothing of a repeated one', async () => {
    const { session, path } = await connect(V2);
    await session.generate(ask());
    expect(await session.generate(ask())).toMatchObject({ promptTokenCount: 5, cachedTokenCount: 0 });
    const prompts = (await askedOf(path)).map(({ prompt }) => prompt);
    expect(prompts).toEqual(['Zebra', textOf(PROMPT), 'Zebra', textOf(PROMPT)]);
  });

  test('a prompt that starts like the one in between gets another one', async () => {
    const { session, path } = await connect(V2);
    await session.generate(ask({ promptText: ' Zebra crossing' }));
    expect((await askedOf(path))[0]).toMatchObject({ prompt: '7', max_tokens: 1 });
  });

  test('a prompt that does not fit is refused', async () => {
    const { session } = await connect(V2, { settings: { contextTokens: 4 } });
    expect(await failure(session.generate(ask()))).toMatch(/answered 500: out_of_context/);
  });

  test('more threads than it takes are reported as what it takes', async () => {
    const { session } = await connect(V2, { settings: { threads: 32 } });
    expect(session.info.settings.threads).toBe(20);
  });
});

describe('requests that fail', () => {
  test.each([
    [
      'v1',
      { fault: 'error-500' },
      'engine-request-failed: http://PORT/completion answered 500: 500 Internal Server Error\nstd::bad_alloc',
    ],
    [
      'v1',
      { fault: 'error-in-stream' },
      'engine-request-failed: llamafile answered: {"content":"slot unavailable","multimodal":false,"slot_id":-1,"stop":false}',
    ],
    [
      'v1',
      { fault: 'garbage' },
      'engine-protocol: llamafile sent an event that is not readable: <html>502 Bad Gateway</html>',
    ],
    [
      'v1',
      { fault: 'cut-stream' },
      "engine-protocol: llamafile's answer stopped after 2 tokens without its last event",
    ],
    ['v1', { fault: 'hang' }, 'engine-timeout: http://PORT/completion did not finish its answer within 600 ms'],
    [
      'v2',
      { ...V2, fault: 'cut-stream', faultFromRequest: 2 },
      "engine-protocol: llamafiler's answer stopped after 2 tokens without [DONE]",
    ],
    [
      'v2',
      { ...V2, fault: 'garbage', faultFromRequest: 2 },
      'engine-protocol: llamafiler sent an event that is not readable: <html>502 Bad Gateway</html>',
    ],
    ['v2', { ...V2, fault: 'no-usage' }, "engine-protocol: llamafiler's answer of 6 tokens ended without its usage"],
    [
      'v2',
      { ...V2, fault: 'hang' },
      'engine-timeout: http://PORT/RUN/v1/completions did not finish its answer within 600 ms',
    ],
  ] as [string, FakeLlamafileServer, string][])('%s: %j', async (_, behaviour, expected) => {
    const { session } = await connect(behaviour);
    expect(await failure(session.generate(ask({ timeoutMs: 600 })))).toBe(expected);
  });

  test.each([{}, V2])('a death during a request: %j', async (generation) => {
    const { session } = await connect({ ...generation, fault: 'die', faultFromRequest: 2 });
    await session.generate(ask()).catch(() => {});
    expect(await failure(session.generate(ask()))).toMatch(
      /^engine-died: llamafiler? died \(SIGKILL\) during a request/,
    );
  });
});

describe('a llamafile with the model inside', () => {
  test('it is named as its entry and found there, from an empty folder that is removed with what it wrote', async () => {
    const path = await installFakeLlamafile(folder, { inside: ['tiny.gguf'] });
    const carrying = { ...(await detectFake(path)), carries: { name: 'tiny.gguf', offset: 65_536, byteLength: 1 } };
    const running = await realMachinery.start(
      { engine, found: carrying, modelPath: path, modelSha256: null },
      SETTINGS,
      10_000,
    );
    const [launch] = await launchesOf(path);
    expect(launch?.args.slice(launch.args.indexOf('-m'), launch.args.indexOf('-m') + 2)).toEqual(['-m', 'tiny.gguf']);
    expect(launch?.folder).toContain('runoff-engine-');
    expect(await readdir(launch?.folder ?? '')).toEqual([]);
    await running.stop();
    await expect(readdir(launch?.folder ?? '')).rejects.toThrow('ENOENT');
  });
});
