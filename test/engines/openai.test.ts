/** Detection's words, the address, the key, the request and the reading of answers; nothing runs here. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { AppError } from '../../src/core/errors.ts';
import { toSample } from '../../src/core/sample.ts';
import { describeServer, engine } from '../../src/engines/openai.ts';
import { createTextNumbers } from '../../src/engines/shared/ollama-answer.ts';
import {
  keyHeaders,
  KEY_VARIABLE,
  loopbackPort,
  parseAddress,
  redacted,
  withoutKey,
} from '../../src/engines/shared/openai-address.ts';
import { readAnswer, rejectUnstreamed, spreadTokens } from '../../src/engines/shared/openai-answer.ts';
import { chooseModel, requestBody, shortened } from '../../src/engines/shared/openai-session.ts';
import { ask, FIVE, foundAt } from '../fixtures/openai/fake-openai.ts';
import { describeEngine, hostWith, launchRequest } from './describe-engine.ts';

describeEngine({ engine, variants: [foundAt('http://127.0.0.1:1234/v1')] });

afterEach(() => vi.unstubAllEnvs());

function messageOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof AppError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'no error';
}

describe('the address', () => {
  test.each([
    ['http://127.0.0.1:1234/v1', 'http://127.0.0.1:1234/v1', null],
    ['http://127.0.0.1:1234/v1/', 'http://127.0.0.1:1234/v1', null],
    ['http://127.0.0.1:1234', 'http://127.0.0.1:1234/v1', null],
    ['https://host/llm/v1#org/model#2', 'https://host/llm/v1', 'org/model#2'],
    ['http://127.0.0.1:8080/v1#/models/m.gguf', 'http://127.0.0.1:8080/v1', '/models/m.gguf'],
    ['http://127.0.0.1:8080/v1#', 'http://127.0.0.1:8080/v1', null],
  ])('%s', (text, base, model) => {
    expect(parseAddress(text)).toEqual({ base, model });
  });

  test.each(['ftp://host/v1', 'file:///etc/passwd', 'http://user:word@host/v1', 'http://host/v1?key=1', 'host:80', ''])(
    '%j is none',
    (text) => {
      expect(parseAddress(text)).toBeNull();
    },
  );

  test.each([
    ['http://127.0.0.1:1234/v1', 1_234],
    ['http://localhost/v1', 80],
    ['https://[::1]/v1', 443],
    ['http://127.8.9.1:5/v1', 5],
    ['http://127.example.org:5/v1', null],
    ['http://192.168.1.4:5/v1', null],
  ])('%s: the port on this machine is %j', (base, port) => {
    expect(loopbackPort(base)).toBe(port);
  });

  test('without an address there is nothing to find, and the syntax is told', async () => {
    const host = hostWith({ state: 'absent', what: 'nothing', downloadBytes: 0 });
    expect(await engine.detect(host)).toMatchInlineSnapshot(`
      {
        "nextStep": "Give it: --engine openai=http://127.0.0.1:1234/v1, or openai=URL#MODEL for one of several models.",
        "reason": "it needs the address of a server",
        "state": "unavailable",
      }
    `);
    const withPassword = await engine.detect({ ...host, enginePath: 'http://me:secret-word@127.0.0.1/v1' });
    expect(JSON.stringify(withPassword)).not.toContain('secret-word');
  });

  test('nothing is launched', () => {
    expect(engine.launchPlan(launchRequest(foundAt('http://127.0.0.1:1/v1')))).toBeNull();
  });
});

describe('the key', () => {
  const KEY = 'sk-0123456789abcdef';

  test('goes to loopback and over https, never in clear over a network', () => {
    expect(keyHeaders('http://127.0.0.1:1/v1', KEY)).toEqual({ authorization: `Bearer ${KEY}` });
    expect(keyHeaders('https://host/v1', KEY)).toEqual({ authorization: `Bearer ${KEY}` });
    expect(keyHeaders('http://host/v1', undefined)).toEqual({});
    expect(messageOf(() => keyHeaders('http://192.168.1.4:8000/v1', KEY))).toBe(
      `engine-unavailable: ${KEY_VARIABLE} is not sent to http://192.168.1.4:8000/v1: it would cross the network in clear`,
    );
  });

  test.each(['two words', `${KEY}\n`, 'ключ'])('%j is no key, and is not shown', (key) => {
    const message = messageOf(() => keyHeaders('http://127.0.0.1:1/v1', key));
    expect(message).toContain('holds characters that no key has');
    expect(message).not.toContain(key.trim());
  });

  test('detection refuses to send it to another host in clear, before any connection', async () => {
    vi.stubEnv(KEY_VARIABLE, KEY);
    const host = hostWith({ state: 'absent', what: 'nothing', downloadBytes: 0 });
    // A documentation address: nobody answers there, and a connection would take its whole timeout.
    const startedMs = performance.now();
    const detection = await engine.detect({ ...host, enginePath: 'http://192.0.2.1:8000/v1' });
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    expect(detection).toMatchObject({
      state: 'unavailable',
      nextStep: `Use an https address, or unset ${KEY_VARIABLE}.`,
    });
    expect(JSON.stringify(detection)).not.toContain(KEY);
  });

  test('a refusal that repeats it, whole or cut, is shown without it', async () => {
    expect(redacted(`wrong key ${KEY}, again ${KEY.slice(0, 12)}`, KEY)).toBe('wrong key (key), again (key)');
    expect(redacted('sk is no part of a key', 'sk-a')).toBe('sk is no part of a key');
    const refusal = new AppError('engine-request-failed', `answered 401: ${KEY}`, {
      context: { status: 401 },
      hint: 'h',
    });
    const failing = withoutKey(KEY, async () => {
      throw refusal;
    });
    await expect(failing).rejects.toMatchObject({
      message: 'answered 401: (key)',
      context: { status: 401 },
      hint: 'h',
    });
    await expect(withoutKey(undefined, () => Promise.reject(refusal))).rejects.toBe(refusal);
  });
});

describe('the model', () => {
  const base = 'http://127.0.0.1:1/v1';
  test('the only one, or the one that is named', () => {
    expect(chooseModel([{ id: 'a' }], { wanted: null, base })).toEqual({ id: 'a' });
    expect(chooseModel([{ id: 'a' }, { id: 'b' }], { wanted: 'b', base })).toEqual({ id: 'b' });
  });

  test.each([
    [[], null, 'engine-unavailable: http://127.0.0.1:1/v1 serves 0 models: none'],
    [['a', 'b'], null, 'engine-unavailable: http://127.0.0.1:1/v1 serves 2 models: a, b'],
    [['a', 'b'], 'c', 'engine-unavailable: http://127.0.0.1:1/v1 does not serve c: a, b'],
  ])('of %j, %j: %s', (ids, wanted, message) => {
    expect(
      messageOf(() =>
        chooseModel(
          ids.map((id) => ({ id })),
          { wanted, base },
        ),
      ),
    ).toBe(message);
  });

  test('what a server tells of itself is in its version, on one line', () => {
    const model = { id: '/m/x.gguf', owned_by: 'llamacpp', meta: { ftype: 'Q4_0' } };
    expect(describeServer(base, model)).toMatchObject({
      build: { version: 'running server of llamacpp, model x.gguf, Q4_0' },
      location: `${base}#/m/x.gguf`,
      runningInstance: true,
      servedModel: 'x.gguf',
    });
    expect(describeServer(base, { id: 'org/model' })).toMatchObject({ servedModel: 'org/model' });
    expect(shortened(`a\u001b[2Jb\n${'c'.repeat(100)}`)).toBe(`a?[2Jb?${'c'.repeat(73)}…`);
  });
});

describe('the request', () => {
  test('greedy, exact, streamed, nothing cached, every end of generation masked', () => {
    expect(requestBody({ model: 'm', refused: new Set() }, ask(FIVE, { topLogprobs: 20 }))).toEqual({
      model: 'm',
      prompt: 't10 t11 t12 t13 t14',
      max_tokens: 6,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      ignore_eos: true,
      min_tokens: 6,
      cache_prompt: false,
      logit_bias: { 0: -100, 1: -100 },
      logprobs: 5,
    });
  });

  test('what a server refuses is left out', () => {
    const refused = new Set(['logprobs', 'extensions', 'masks'] as const);
    expect(Object.keys(requestBody({ model: 'm', refused }, ask(FIVE, { topLogprobs: 20 })))).toEqual([
      'model',
      'prompt',
      'max_tokens',
      'temperature',
      'stream',
      'stream_options',
    ]);
  });
});

describe('the answer', () => {
  const numberOf = createTextNumbers();
  const read = (...items: readonly (readonly [number, unknown])[]) =>
    readAnswer(
      items.map(([atMs, item]) => ({ atMs, data: typeof item === 'string' ? item : JSON.stringify(item) })),
      numberOf,
    );
  const piece = (text: string, more: Record<string, unknown> = {}) => ({
    choices: [{ index: 0, text, finish_reason: null, ...more }],
  });
  const end = (text = '') => ({ choices: [{ index: 0, text, finish_reason: 'length' }] });
  const usage = (generated: number, more: Record<string, unknown> = {}) => ({
    choices: [],
    usage: { prompt_tokens: 5, completion_tokens: generated, total_tokens: 5 + generated, ...more },
  });

  test('a piece a token: its times, the counts of the server, and what it calls itself', () => {
    const first = { ...piece('a'), system_fingerprint: 'b1' };
    const { generation, fingerprint } = read(
      [10, first],
      [12, piece('b')],
      [14, end()],
      [14, usage(2)],
      [14, '[DONE]'],
    );
    expect(generation).toMatchObject({
      text: 'ab',
      eventMs: [10, 12],
      eventTokenCounts: [1, 1],
      generatedTokenCount: 2,
      promptTokenCount: 5,
      cachedTokenCount: null,
    });
    expect(fingerprint).toBe('b1');
  });

  test.each([
    ['usage', usage(1, { prompt_tokens_details: { cached_tokens: 3 } })],
    ['timings', { ...usage(1), timings: { cache_n: 3 } }],
  ])('cached tokens are in %s', (_, last) => {
    expect(read([1, piece('a')], [2, end()], [2, last]).generation.cachedTokenCount).toBe(3);
  });

  test('an empty event before the first text is no first token', () => {
    const { generation } = read([1, piece('')], [50, piece('a')], [60, piece('b')], [61, end()], [61, usage(3)]);
    expect(generation.eventMs).toEqual([50, 60]);
  });

  test('an empty event later is a token whose text is held back', () => {
    const { generation } = read([1, piece('a')], [5, piece('')], [9, piece('bc')], [9, end()], [9, usage(3)]);
    expect(generation.eventMs).toEqual([1, 5, 9]);
    expect(generation.eventTokenCounts).toEqual([1, 1, 1]);
  });

  test('pieces of several tokens: the sum is the server’s, and the sample says chunk-level', () => {
    const { generation } = read([1, piece('abcd')], [5, piece('efgh')], [9, piece('ijkl')], [9, end()], [9, usage(12)]);
    expect(generation.eventTokenCounts).toEqual([4, 4, 4]);
    const place = { engine: 'openai', block: 0, attempt: 0, kind: 'measured', prompt: 'p', iteration: 0 } as const;
    expect(toSample(place, generation).eventsPerToken).toBe(0.25);
  });

  test('thinking counts: its first token is the first token', () => {
    const { generation, reasoningTokenCount } = read(
      [10, piece('', { reasoning_content: 'hm' })],
      [20, piece('', { reasoning: 'so' })],
      [30, piece('a')],
      [30, end()],
      [30, usage(3, { completion_tokens_details: { reasoning_tokens: 2 } })],
    );
    expect(generation).toMatchObject({ eventMs: [10, 20, 30], text: 'hmsoa', generatedTokenCount: 3 });
    expect(reasoningTokenCount).toBe(2);
  });

  test('only empty text: all tokens were there at the end', () => {
    expect(read([5, piece('')], [9, end()], [9, usage(4)]).generation).toMatchObject({
      eventMs: [9],
      eventTokenCounts: [4],
      text: '',
    });
  });

  test.each([
    ['new form', { content: [{ top_logprobs: [{ token: 'x', logprob: -1 }] }] }],
    ['old form', { top_logprobs: [{ x: -1 }] }],
  ])('log-probabilities in the %s', (_, logprobs) => {
    const { generation } = read([1, piece('a', { logprobs })], [2, end()], [2, usage(1)]);
    expect(generation.firstTokenLogprobs).toEqual([{ token: numberOf('x'), logprob: -1 }]);
  });

  test('log-probabilities that cannot be read only weaken a gate', () => {
    const { generation } = read([1, piece('a', { logprobs: { odd: true } })], [2, end()], [2, usage(1)]);
    expect(generation.firstTokenLogprobs).toEqual([]);
  });

  test.each([
    [
      'no last event',
      [
        [1, piece('a')],
        [2, usage(1)],
      ],
      /^engine-protocol: the answer stopped after 1 pieces/,
    ],
    [
      'no usage',
      [
        [1, piece('a')],
        [2, end()],
      ],
      /^engine-protocol: the server does not tell how many tokens/,
    ],
    [
      'more pieces than tokens',
      [
        [1, piece('a')],
        [1, piece('b')],
        [2, end()],
        [2, usage(1)],
      ],
      /^engine-protocol: the server sent 2 pieces of text and counted 1 tokens$/,
    ],
    [
      'an error as an object',
      [[1, { error: { message: 'out of memory' } }]],
      /^engine-request-failed: the server answered: out of memory$/,
    ],
    [
      'an error as a text',
      [[1, { error: 'out of memory', error_type: 'generation' }]],
      /^engine-request-failed: the server answered: out of memory$/,
    ],
    [
      'an error in the old form',
      [[1, { object: 'error', message: 'out of memory' }]],
      /^engine-request-failed: the server answered: out of memory$/,
    ],
    ['no JSON', [[1, '<html>']], /^engine-protocol: the server sent an event that is not readable: <html>$/],
    [
      'two answers',
      [[1, { choices: [{ text: 'a' }, { text: 'b' }] }]],
      /^engine-protocol: the server sent an event that is not readable/,
    ],
    ['a negative count', [[1, usage(-1)]], /^engine-protocol: the server sent an event that is not readable/],
  ] as const)('%s is an error', (_, items, message) => {
    expect(messageOf(() => read(...(items as readonly (readonly [number, unknown])[])))).toMatch(message);
  });

  test.each([
    [
      '{"error":"Unexpected endpoint or method."}',
      'engine-request-failed: the server answered: Unexpected endpoint or method.',
    ],
    ['{"error":{"message":"m"}}', 'engine-request-failed: the server answered: m'],
    ['{"choices":[]}', 'engine-protocol: the server did not stream its answer: {"choices":[]}'],
    ['', 'engine-protocol: the server did not stream its answer: (empty)'],
  ])('an answer that is no stream: %s', (body, message) => {
    expect(messageOf(() => rejectUnstreamed(body))).toBe(message);
  });
});

test.each([
  [[1, 1, 1], 3, [1, 1, 1]],
  [[4, 4], 6, [3, 3]],
  [[9, 1], 12, [10, 2]],
  [[0, 0], 5, [3, 2]],
  [[7], 1, [1]],
])('tokens of pieces of %j bytes, %i in all: %j', (bytes, generated, expected) => {
  expect(spreadTokens(bytes, generated)).toEqual(expected);
});
