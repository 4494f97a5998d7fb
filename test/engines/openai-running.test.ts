/** The adapter over HTTP against servers that behave as the real ones do, and the conformance suite on each. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { checkEngine, GATE_PROMPTS } from '../../src/app/check-engine.ts';
import { realMachinery } from '../../src/app/machinery.ts';
import type { Detection, EngineSession } from '../../src/core/engine.ts';
import type { EngineFacts, Manifest, RunEvent } from '../../src/core/record.ts';
import { buildPrompts } from '../../src/core/workload/build-prompts.ts';
import { engine } from '../../src/engines/openai.ts';
import { stopAll } from '../../src/platform/process/start-process.ts';
import { KEY_VARIABLE } from '../../src/engines/shared/openai-address.ts';
import { ask, FIVE, foundAt, startFakeOpenAi, startFakeOpenAiProcess, textOf } from '../fixtures/openai/fake-openai.ts';
import type { FakeOpenAi, RunningFake } from '../fixtures/openai/fake-openai.ts';
import { describeRunning } from './conformance.ts';
import { codeOf, fakeProcess, hostWith, launchRequest, SETTINGS } from './describe-engine.ts';

const KEY = 'sk-0123456789abcdef';
const HOST = hostWith({ state: 'absent', what: 'nothing', downloadBytes: 0 });
const running: RunningFake[] = [];

afterEach(async () => {
  vi.unstubAllEnvs();
  for (const fake of running.splice(0)) await fake.stop();
});

async function start(behaviour: FakeOpenAi = {}): Promise<RunningFake> {
  const fake = await startFakeOpenAi(behaviour);
  running.push(fake);
  return fake;
}

function detect(fake: RunningFake, model: string | null = null): Promise<Detection> {
  return engine.detect({ ...HOST, enginePath: model === null ? fake.base : `${fake.base}#${model}` });
}

function connect(fake: RunningFake, model = 'the-model'): Promise<EngineSession> {
  return engine.connect(
    fakeProcess(() => null),
    launchRequest(foundAt(fake.base, model)),
    10_000,
  );
}

async function textOfError(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => new Error('it succeeded'),
    (reason: Error) => reason,
  );
  return error.message.replaceAll(/127\.0\.0\.1:\d+/g, 'HOST');
}

describe('detection', () => {
  test.each([
    ['llama.cpp', 'running server of llamacpp, model the-model, Q4_0'],
    ['vllm', 'running server of vllm, model the-model'],
    ['mlx', 'running server, model the-model'],
    ['lm-studio', 'running server of organization_owner, model the-model'],
    ['tgi', 'running server of the-owner, model the-model'],
  ] as const)('a server like %s', async (kind, version) => {
    const fake = await start({ kind });
    expect(await detect(fake)).toMatchObject({ state: 'available', build: { version }, runningInstance: true });
    // Detection looks and lets nobody work.
    expect((await fake.seen()).map(({ method, url, body }) => [method, url, body])).toEqual([
      ['GET', '/v1/models', null],
      ['POST', '/v1/completions', {}],
    ]);
  });

  test('of several models one must be named', async () => {
    const fake = await start({ kind: 'lm-studio', models: ['small', 'large'] });
    expect(await detect(fake)).toMatchObject({
      state: 'unavailable',
      reason: expect.stringMatching(/serves 2 models: small, large$/) as string,
      nextStep: expect.stringMatching(/openai=http:\/\/127\.0\.0\.1:\d+\/v1#MODEL$/) as string,
    });
    expect(await detect(fake, 'large')).toMatchObject({ state: 'available', servedModel: 'large' });
    expect(await detect(fake, 'huge')).toMatchObject({ state: 'unavailable' });
  });

  test('a list that fails is no reason to give up a model that is named', async () => {
    const fake = await start({ kind: 'mlx', listsModels: false });
    const detection = await detect(fake);
    expect(detection).toMatchObject({ state: 'unavailable' });
    expect(JSON.stringify(detection)).toContain('mlx_lm.server: #default_model');
    expect(await detect(fake, 'default_model')).toMatchObject({ state: 'available', servedModel: 'default_model' });
    expect(await (await connect(fake, 'default_model')).generate(ask(FIVE))).toMatchObject({ generatedTokenCount: 6 });
  });

  test('a wrong path is told, also by a server that answers everything with 200', async () => {
    const fake = await start({ kind: 'lm-studio' });
    const detection = await engine.detect({ ...HOST, enginePath: fake.base.replace('/v1', '/v2') });
    expect(detection).toMatchObject({ state: 'unavailable' });
    expect(JSON.stringify(detection)).toMatch(/did not answer with a list of models.*ends before \/completions/);
  });

  test('a server that still loads its model is there: wait', async () => {
    const loading = createServer((_, response) => {
      response.writeHead(503).end('{"error":{"message":"Loading model","type":"unavailable_error","code":503}}');
    });
    await new Promise<void>((resolve) => loading.listen(0, '127.0.0.1', resolve));
    const { port } = loading.address() as AddressInfo;
    const detection = await engine.detect({ ...HOST, enginePath: `http://127.0.0.1:${port}` });
    loading.close();
    expect(detection).toMatchObject({
      state: 'unavailable',
      nextStep: 'The server runs and is not ready: wait until its model is loaded, and run again.',
    });
  });

  test('nobody there: unavailable, also with a model named', async () => {
    const fake = await start();
    await fake.stop();
    for (const model of [null, 'the-model']) expect(await detect(fake, model)).toMatchObject({ state: 'unavailable' });
  });
});

describe('the key', () => {
  test('reaches the server, and nothing that is told or kept', async () => {
    vi.stubEnv(KEY_VARIABLE, KEY);
    const fake = await start({ key: KEY });
    const detection = await detect(fake);
    const session = await connect(fake);
    const answer = await session.generate(ask(FIVE));
    expect((await fake.seen()).every(({ key }) => key === `Bearer ${KEY}`)).toBe(true);
    expect(JSON.stringify([detection, session.info, answer])).not.toContain(KEY);
  });

  test.each([
    [undefined, `Put its key into ${KEY_VARIABLE}.`],
    ['sk-a-wrong-one-0123456789', `The server does not take the key in ${KEY_VARIABLE}.`],
  ])('%j is refused: what to do is told, the key is not', async (key, nextStep) => {
    vi.stubEnv(KEY_VARIABLE, key);
    const fake = await start({ key: KEY, kind: 'vllm' });
    const detection = await detect(fake);
    expect(detection).toMatchObject({ state: 'unavailable', nextStep });
    expect(JSON.stringify(detection)).not.toContain('sk-a-wr');
    // llama.cpp's server lists its models without a key: the refusal comes later.
    const late = connect(await start({ key: KEY }));
    await expect(late).rejects.toMatchObject({ code: 'engine-unavailable', hint: nextStep });
    expect(await textOfError(late)).not.toContain('sk-a-wr');
  });

  test('a redirect is not followed: neither key nor prompt reach the other host', async () => {
    vi.stubEnv(KEY_VARIABLE, KEY);
    let asked = 0;
    const other = createServer((_, response) => {
      asked += 1;
      response.end('{"data":[{"id":"the-model"}]}');
    });
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const redirectTo = `http://127.0.0.1:${(other.address() as AddressInfo).port}/v1/models`;
    try {
      const fake = await start({ redirectTo });
      expect(await detect(fake)).toMatchObject({
        state: 'unavailable',
        reason: expect.stringContaining('answered 302') as string,
      });
      expect(await codeOf(connect(fake))).toBe('engine-request-failed');
      expect(asked).toBe(0);
    } finally {
      other.close();
    }
  });
});

describe('what servers do differently', () => {
  test.each([
    ['llama.cpp', 'unknown: the server does not tell', { contextTokens: 1_024 }, 881, 'llama.cpp-build-7', 0],
    ['vllm', 'unknown: the server does not tell', { contextTokens: 2_048 }, null, null, 0],
    ['mlx', 'unknown: the server does not tell; it refuses log-probabilities', {}, null, 'mlx-build-7', 0],
    ['lm-studio', 'unknown: the server does not tell', {}, null, 'lm-studio-build-7', null],
    ['tgi', 'unknown: the server does not tell', {}, null, 'tgi-build-7', null],
  ] as const)(
    '%s: one token a time, and only what it tells',
    async (kind, numericMode, settings, vocabularySize, library, cached) => {
      const session = await connect(await start({ kind }));
      expect(session.info).toMatchObject({
        numericMode,
        settings,
        vocabularySize,
        modelName: null,
        build: { library },
      });
      const answer = await session.generate(ask(FIVE, { topLogprobs: 5 }));
      expect(answer).toMatchObject({
        promptTokenCount: 5,
        generatedTokenCount: 6,
        cachedTokenCount: cached,
        eventTokenCounts: [1, 1, 1, 1, 1, 1],
      });
      expect(answer.firstTokenLogprobs).toHaveLength(kind === 'llama.cpp' || kind === 'vllm' ? 5 : 0);
    },
  );

  test.each([
    [['logprobs'], ['logprobs']],
    [['min_tokens'], ['ignore_eos', 'min_tokens', 'cache_prompt']],
    [['logit_bias'], ['logit_bias']],
    [
      ['logit_bias', 'ignore_eos'],
      ['ignore_eos', 'min_tokens', 'cache_prompt', 'logit_bias'],
    ],
  ])('%j refused: nothing else than %j is left out', async (refuses, leftOut) => {
    for (const kind of ['llama.cpp', 'tgi'] as const) {
      const fake = await start({ kind, refuses });
      await (await connect(fake)).generate(ask(FIVE, { topLogprobs: 5 }));
      const all = ['ignore_eos', 'min_tokens', 'cache_prompt', 'logit_bias', 'logprobs'];
      const body = (await fake.seen()).at(-1)?.body ?? {};
      expect(all.filter((name) => !(name in body))).toEqual(leftOut);
    }
  });

  test('a server that refuses what must be sent is not measured', async () => {
    expect(await textOfError(connect(await start({ refuses: ['stream_options'] })))).toBe(
      'http://HOST/v1/completions answered 400: {"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":null,"code":400}}',
    );
  });

  test('several tokens in an event, and text that is held back', async () => {
    const joined = await (await connect(await start({ kind: 'vllm', tokensPerEvent: 3 }))).generate(ask(FIVE));
    expect([joined.eventTokenCounts, joined.generatedTokenCount]).toEqual([[3, 3], 6]);
    const held = await (await connect(await start({ kind: 'vllm', heldBack: 2 }))).generate(ask(FIVE));
    expect(held.eventTokenCounts).toEqual([1, 1, 1, 1, 1, 1]);
    const silent = await (await connect(await start({ kind: 'mlx', heldBack: 2 }))).generate(ask(FIVE));
    expect([silent.eventMs.length, silent.generatedTokenCount]).toEqual([5, 6]);
  });

  test('a model that thinks: it is said, and the thoughts are tokens', async () => {
    const session = await connect(await start({ kind: 'lm-studio', reasoningTokens: 4 }));
    expect(session.info.numericMode).toContain('reasoning tokens are counted as generated ones');
    expect(await session.generate(ask(FIVE))).toMatchObject({
      generatedTokenCount: 6,
      eventTokenCounts: [1, 1, 1, 1, 1, 1],
    });
  });

  test('a stop ends what is under way: the server must not go on with it', async () => {
    const session = await connect(await start({ decodeMsPerToken: 100 }));
    const outcome = codeOf(session.generate(ask(FIVE, { generateTokens: 1_000, timeoutMs: 60_000 })));
    await session.close?.();
    expect(await outcome).toBe('interrupted');
  });

  test('Ctrl-C does not wait for an answer of a server that nobody ends', async () => {
    const fake = await start({ decodeMsPerToken: 100 });
    const prepared = { engine, found: foundAt(fake.base), modelPath: process.execPath, modelSha256: null };
    const measured = await realMachinery.start(prepared, SETTINGS, 10_000);
    const outcome = codeOf(measured.session.generate(ask(FIVE, { generateTokens: 1_000, timeoutMs: 60_000 })));
    await stopAll();
    expect(await outcome).toBe('interrupted');
    await measured.stop();
  });

  test('a server without usage is not measured: equal work could not be shown', async () => {
    const late = connect(await start({ kind: 'lm-studio', tellsUsage: false }));
    await expect(late).rejects.toMatchObject({
      code: 'engine-protocol',
      hint: expect.stringContaining('stream_options.include_usage') as string,
    });
  });

  test.each([
    ['vllm', 'error-in-stream', /^the server answered: Model is unloaded\.$/],
    ['lm-studio', 'error-in-stream', /^the server answered: Model is unloaded\.$/],
    ['mlx', 'error-in-stream', /^the server answered: Model is unloaded\.$/],
    ['tgi', 'cut-stream', /^the answer stopped after 2 pieces/],
    ['llama.cpp', 'garbage', /^the server sent an event that is not readable: <html>502/],
    ['llama.cpp', 'more-pieces', /^the server sent 4 pieces of text and counted 2 tokens$/],
    ['vllm', 'no-stream', /^the server did not stream its answer/],
    ['vllm', 'error-500', /answered 500/],
  ] as const)('%s, %s: an error with a code', async (kind, fault, message) => {
    const fake = await start({ kind, fault });
    const outcome = connect(fake).then((session) => session.generate(ask(FIVE)));
    expect(['engine-protocol', 'engine-request-failed']).toContain(await codeOf(outcome));
    expect(await textOfError(outcome)).toMatch(message);
  });
});

describe('the checks before a run', () => {
  const words = (text: string): number[] => (text.match(/t\d+/g) ?? []).map((word) => Number(word.slice(1)));
  const workload = buildPrompts({
    tokenizerEncode: words,
    tokenizerDecode: textOf,
    bodyText: textOf(Array.from({ length: 700 }, (_, index) => 100 + index)),
    prompts: GATE_PROMPTS,
    seed: 1,
    vocabularySize: 881,
    bannedTokens: [0, 1],
    nonceTokens: Array.from({ length: 90 }, (_, index) => 10 + index),
    addBos: false,
    bosToken: null,
  });

  async function check(
    behaviour: FakeOpenAi,
  ): Promise<{ events: RunEvent[]; gates: Record<string, string>; fake: RunningFake }> {
    const fake = await start({ prefillMsPerToken: 0.1, ...behaviour });
    const events: RunEvent[] = [];
    await checkEngine(realMachinery, {
      prepared: { engine, found: foundAt(fake.base), modelPath: process.execPath, modelSha256: null },
      facts: { id: 'openai' } as EngineFacts,
      manifest: {
        settings: SETTINGS,
        plan: { prompts: [{ name: 'p', tokenCount: 64, source: '-' }], generateTokens: 8 },
      } as unknown as Manifest,
      workload,
      bannedTokens: [0, 1],
      bosToken: null,
      vocabularySize: 881,
      deadlineMs: realMachinery.nowMs() + 60_000,
      append: async (event) => void events.push(event),
      onStep() {},
      signal: new AbortController().signal,
    });
    const gates = Object.fromEntries(
      events.flatMap((event) => (event.type === 'gate' ? [[event.gate, event.outcome]] : [])),
    );
    return { events, gates, fake };
  }

  function factsIn(events: readonly RunEvent[]): EngineFacts | undefined {
    return events.flatMap((event) => (event.type === 'engine-facts' ? [event.facts] : []))[0];
  }

  test.each([
    ['llama.cpp', { 'prompt-cache': 'passed', truncation: 'passed', 'wrong-model': 'passed' }],
    ['vllm', { 'prompt-cache': 'passed', truncation: 'passed', 'wrong-model': 'unknown' }],
    ['mlx', { 'prompt-cache': 'passed', truncation: 'passed', 'wrong-model': 'unknown' }],
    ['lm-studio', { 'prompt-cache': 'unknown', truncation: 'passed', 'wrong-model': 'unknown' }],
    ['tgi', { 'prompt-cache': 'unknown', truncation: 'passed', 'wrong-model': 'unknown' }],
  ] as const)('%s with a cache that cannot be switched off passes them all', async (kind, expected) => {
    const { gates, events } = await check({ kind, keepsPrompts: true });
    expect(gates).toMatchObject({ 'token-count': 'passed', 'early-end': 'passed', ...expected });
    expect(Object.values(gates).filter((outcome) => outcome === 'failed')).toHaveLength(
      gates['settings'] === 'failed' ? 1 : 0,
    );
    expect(factsIn(events)).not.toHaveProperty('addedPromptTokens');
  });

  test('a BOS that the server adds: the texts are one token shorter, and the counts exact', async () => {
    const { gates, events, fake } = await check({ kind: 'vllm', addsBos: true });
    expect(gates).toMatchObject({ 'token-count': 'passed', 'double-bos': 'passed' });
    expect(factsIn(events)).toMatchObject({ addedPromptTokens: 1 });
    const lengths = (await fake.seen()).map(({ body }) => words(JSON.stringify(body)).length);
    // Two probes of the fields, the two that found it out, then everything else.
    expect(lengths.slice(0, 6)).toEqual([0, 0, 32, 64, 31, 31]);
  });

  test.each([
    ['prompt-cache', { fault: 'cache' }],
    ['early-end', { fault: 'early-end' }],
    ['token-count', { fault: 'other-tokenizer' }],
    ['truncation', { fault: 'truncate' }],
  ])('%s: fresh work that was not done is seen', async (gate, behaviour) => {
    expect((await check(behaviour)).gates).toMatchObject({ [gate]: 'failed' });
  });
});

const SLOW = { prefillMsPerToken: 1, decodeMsPerToken: 2 };

// mlx_lm.server and llama.cpp's server themselves: test/real.
for (const kind of ['llama.cpp', 'vllm', 'lm-studio'] as const) {
  const fakes: Pick<RunningFake, 'stop'>[] = [];
  const prepare = async (behaviour: FakeOpenAi = {}) => {
    const fake = await startFakeOpenAiProcess({ kind, ...SLOW, ...behaviour });
    fakes.push(fake);
    return { engine, found: foundAt(fake.base), modelPath: process.execPath, modelSha256: null };
  };
  describeRunning({
    name: `openai, a server like ${kind}`,
    prepare: async () => ({
      settings: SETTINGS,
      promptTokens: (count, iteration) =>
        Array.from({ length: count }, (_, index) => (index < 4 ? 900 + iteration : index)),
      promptText: textOf,
      bannedTokens: [0, 1],
      prepared: await prepare(),
      ...(kind === 'llama.cpp'
        ? {
            faulty: {
              truncation: await prepare({ fault: 'truncate' }),
              'prompt-cache': await prepare({ fault: 'cache' }),
              'early-end': await prepare({ fault: 'early-end' }),
              'token-count': await prepare({ fault: 'double-bos' }),
            },
          }
        : {}),
      cleanup: async () => {
        for (const fake of fakes) await fake.stop();
      },
    }),
  });
}
