/** What llamafile's servers answer: recorded answers of real ones, and 2,000 that no server would send. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GenerateRequest } from '../../src/core/engine.ts';
import { AppError } from '../../src/core/errors.ts';
import { tokenCountGate } from '../../src/core/validity/gates.ts';
import { parseTimings, readCompletion, requestBody } from '../../src/engines/shared/llamafile-v1.ts';
import { cachedInLog, readCompletion as readV2, requestBody as v2Body } from '../../src/engines/shared/llamafile-v2.ts';
import { createTextNumbers } from '../../src/engines/shared/ollama-answer.ts';
import { parseSse } from '../../src/platform/network/http.ts';
import { recordedAnswer } from '../fixtures/llamafile/fake-llamafile-server.ts';

const RECORDED_ALIAS = '/models/SmolLM2-135M-Instruct.Q4_1.gguf';
const READER = { port: 8_080, runId: RECORDED_ALIAS, numberOf: createTextNumbers() };
const ASK: GenerateRequest = {
  promptTokens: [504, 3_575, 282],
  promptText: 'The capital of France is',
  generateTokens: 8,
  bannedTokens: [0, 2],
  topLogprobs: 3,
  timeoutMs: 1_000,
};

async function bodyOf(name: string): Promise<string> {
  return (await recordedAnswer(name)).replace(/^[\s\S]*?\r?\n\r?\n(?=\{|data)/, '');
}

async function eventsOf(name: string): Promise<{ atMs: number; data: string }[]> {
  return parseSse([{ atMs: 30, bytes: Buffer.from(`${await bodyOf(name)}\n`) }]);
}

/** An answer that came in one piece, as its last event. */
async function lastEvent(name: string): Promise<{ atMs: number; data: string }> {
  return { atMs: 30, data: JSON.stringify({ ...(JSON.parse(await bodyOf(name)) as object), content: '' }) };
}

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return error instanceof AppError ? error.code : String(error);
  }
  return 'it succeeded';
};

describe('v1: what is asked', () => {
  test('token ids in, greedy, nothing cached, no penalty, every end masked by id as pairs', () => {
    expect(requestBody(ASK)).toMatchInlineSnapshot(`
      {
        "cache_prompt": false,
        "frequency_penalty": 0,
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
        "min_p": 0,
        "mirostat": 0,
        "n_predict": 8,
        "n_probs": 3,
        "presence_penalty": 0,
        "prompt": [
          504,
          3575,
          282,
        ],
        "repeat_penalty": 1,
        "seed": 0,
        "stream": true,
        "temperature": 0,
        "tfs_z": 1,
        "top_k": 0,
        "top_p": 1,
        "typical_p": 1,
      }
    `);
  });

  test('never nothing: for 0 tokens it would generate one', () => {
    expect(() => requestBody({ ...ASK, generateTokens: 0 })).toThrow('v1 cannot generate nothing');
  });
});

describe('v1: recorded answers', () => {
  test.each(['0.8.13', '0.9.3'])('a stream of %s: no [DONE], no usage, and complete', async (version) => {
    const generation = readCompletion(await eventsOf(`${version}-v1-completion-stream.http`), READER);
    expect(generation).toMatchObject({
      generatedTokenCount: 8,
      text: ' Paris.\n\nThe United States has',
      eventTokenCounts: [1, 1, 1, 1, 1, 1, 1, 1],
      promptTokenCount: 5,
      cachedTokenCount: 0,
      truncated: false,
      tokens: [],
    });
  });

  test('n tokens have n - 1 intervals: 8 in 1,447 ms', async () => {
    const { engineTimings } = readCompletion(await eventsOf('0.9.3-v1-completion-stream.http'), READER);
    expect(engineTimings).toEqual({
      prefillMs: 168.858,
      prefillTokenCount: 5,
      decodeMs: 1_447.442,
      decodeIntervalCount: 7,
    });
  });

  test.each(['n0', 'n1'])('one token has no interval, whatever "250000 tokens per second" says (%s)', async (name) => {
    const { timings } = JSON.parse(await bodyOf(`0.9.3-v1-completion-${name}.http`)) as Parameters<
      typeof parseTimings
    >[0];
    expect(parseTimings({ timings })).toMatchObject({ decodeIntervalCount: 0 });
  });

  test('a prompt that was cut: 11,890 tokens were sent, 7,794 were read, and the answer says 200', async () => {
    const last = await lastEvent('0.9.3-v1-completion-overflow.json');
    const generation = readCompletion([last], READER);
    expect(generation).toMatchObject({ promptTokenCount: 7_794, truncated: true });
    expect(tokenCountGate({ promptTokensAsked: 11_890, generation }).outcome).toBe('failed');
  });

  test('a context that was shifted while it answered says so with a right count', async () => {
    const last = await lastEvent('0.9.3-v1-completion-contextshift.json');
    expect(readCompletion([last], { ...READER, runId: 'my-alias' })).toMatchObject({
      promptTokenCount: 4,
      generatedTokenCount: 300,
      truncated: true,
    });
  });

  test('prompt_n of 0 for 5 tokens: all of them came from the cache', async () => {
    for (const name of ['cache1', 'cache2'])
      expect(readCompletion([await lastEvent(`0.9.3-v1-completion-${name}.http`)], READER)).toMatchObject({
        promptTokenCount: 5,
        cachedTokenCount: 5,
      });
  });

  test('ids are counted as they were sent', async () => {
    expect(readCompletion([await lastEvent('0.9.3-v1-completion-tokens.http')], READER).promptTokenCount).toBe(4);
  });

  test('probabilities become log-probabilities of the first token, named by text', async () => {
    const numberOf = createTextNumbers();
    const { firstTokenLogprobs } = readCompletion([await lastEvent('0.9.3-v1-completion-nprobs.http')], {
      ...READER,
      numberOf,
    });
    expect(firstTokenLogprobs.map(({ token }) => token)).toEqual(['-', ',', ' and'].map(numberOf));
    expect(firstTokenLogprobs.map(({ logprob }) => Number(logprob.toFixed(4)))).toEqual([-0.9839, -2.0806, -3.417]);
  });
});

describe('v1: answers that are none', () => {
  const piece = (content: string, atMs = 1) => ({ atMs, data: JSON.stringify({ content, stop: false }) });

  test('of another server on the port', async () => {
    const events = await eventsOf('0.9.3-v1-completion-stream.http');
    expect(codeOf(() => readCompletion(events, { ...READER, runId: 'runoff-1' }))).toBe('port-taken');
  });

  test('cut off', async () => {
    const events = (await eventsOf('0.9.3-v1-completion-stream.http')).slice(0, -1);
    expect(() => readCompletion(events, READER)).toThrow(
      "llamafile's answer stopped after 8 tokens without its last event",
    );
  });

  test('an error under 200, on a line of another name', () => {
    const raw = 'data: {"content":" a","stop":false}\n\nerror: {"content":"slot unavailable"}\n\n';
    expect(() => readCompletion([piece(' a')], READER, () => raw)).toThrow(
      'llamafile answered: {"content":"slot unavailable"}',
    );
  });

  test('more pieces than tokens', async () => {
    const events = [
      ...Array.from({ length: 9 }, () => piece(' a')),
      await lastEvent('0.9.3-v1-completion-cache1.http'),
    ];
    expect(codeOf(() => readCompletion(events, READER))).toBe('engine-protocol');
  });

  test('tokens that were held back for a whole character are counted where they came', async () => {
    const last = await lastEvent('0.9.3-v1-completion-cache1.http');
    const events = [piece(' a', 10), piece(' b', 20), piece(' c', 30), piece(' 語', 70), piece(' d', 80), last];
    expect(readCompletion(events, READER).eventTokenCounts).toEqual([1, 1, 1, 4, 1]);
  });
});

describe('v2', () => {
  test('what is asked', () => {
    expect(v2Body(ASK, 'runoff-1')).toMatchInlineSnapshot(`
      {
        "frequency_penalty": 0,
        "max_tokens": 8,
        "model": "runoff-1",
        "presence_penalty": 0,
        "prompt": "The capital of France is",
        "seed": 0,
        "stream": true,
        "stream_options": {
          "include_usage": true,
        },
        "temperature": 0,
        "top_p": 1,
      }
    `);
  });

  test('a recorded stream: a role without text first, usage at the end, then [DONE]', async () => {
    expect(readV2(await eventsOf('0.9.3-v2-v1_completions-stream.http'))).toMatchObject({
      generatedTokenCount: 8,
      text: ' Paris.\n\nThe United States has',
      promptTokenCount: 5,
      engineTimings: null,
      truncated: null,
    });
  });

  test('without [DONE] or usage it is no answer', async () => {
    const events = await eventsOf('0.9.3-v2-v1_completions-stream.http');
    expect(() => readV2(events.slice(0, -1))).toThrow('without [DONE]');
    expect(() => readV2(events.filter(({ data }) => !data.includes('"usage":{')))).toThrow('ended without its usage');
  });

  test('the token that ends a text is none of the answer', async () => {
    const events = await eventsOf('0.9.3-v2-v1_completions-stream.http');
    const ended = events.map(({ atMs, data }) => ({
      atMs,
      data: data
        .replace('"finish_reason":"length"', '"finish_reason":"stop"')
        .replace('"completion_tokens":8', '"completion_tokens":9'),
    }));
    expect(readV2(ended).generatedTokenCount).toBe(8);
  });

  test('its log tells what came from the cache', async () => {
    const log = await recordedAnswer('0.9.3-v2-stderr.log');
    expect(cachedInLog(log, 11)).toBe(3);
    expect(cachedInLog(log, 12)).toBeNull();
    expect(cachedInLog('', 11)).toBeNull();
    expect(cachedInLog('prefilled 9 tokens (after keeping 2, discarding 0, relocating 3, and evaluating 4)', 9)).toBe(
      5,
    );
  });
});

describe('generated answers end in a typed error or a sound generation', () => {
  const data = fc.oneof(
    fc.json(),
    fc.string({ maxLength: 200 }),
    fc
      .record(
        {
          content: fc.oneof(fc.string(), fc.integer()),
          stop: fc.oneof(fc.boolean(), fc.string()),
          model: fc.constantFrom(RECORDED_ALIAS, 'x'),
          tokens_evaluated: fc.oneof(fc.integer(), fc.double(), fc.string()),
          tokens_predicted: fc.oneof(fc.integer(), fc.constant(null)),
          truncated: fc.anything(),
          timings: fc.anything(),
          completion_probabilities: fc.anything(),
          choices: fc.anything(),
          usage: fc.anything(),
        },
        { requiredKeys: [] },
      )
      .map((value) => JSON.stringify(value)),
    fc.constantFrom(
      '[DONE]',
      '{"choices":[{"text":"a","finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":0}}',
    ),
  );
  const answers = fc.array(fc.record({ atMs: fc.nat(10_000), data }), { maxLength: 8 });

  test.each([
    ['v1', (events: { atMs: number; data: string }[]) => readCompletion(events, READER)],
    ['v2', (events: { atMs: number; data: string }[]) => readV2(events)],
  ] as const)('%s', (_, read) => {
    fc.assert(
      fc.property(answers, (events) => {
        try {
          const { generatedTokenCount = 0, eventMs, eventTokenCounts } = read(events);
          expect(eventTokenCounts).toHaveLength(eventMs.length);
          expect(eventTokenCounts.reduce((sum, count) => sum + count, 0)).toBe(generatedTokenCount);
        } catch (error) {
          expect(error).toBeInstanceOf(AppError);
        }
      }),
      { numRuns: 1_000, seed: 42 },
    );
  });
});
