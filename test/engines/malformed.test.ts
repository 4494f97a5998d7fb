/** 10,000 malformed answers over the five dialects of HTTP, and 1,000 of the workers of the other engines. */
import type { AvailableEngine, Engine, EngineSession, Generation } from '../../src/core/engine.ts';
import { AppError } from '../../src/core/errors.ts';
import { engine as llamaServer } from '../../src/engines/llama-server.ts';
import { engine as llamafile } from '../../src/engines/llamafile.ts';
import { engine as ollama } from '../../src/engines/ollama.ts';
import { engine as openai } from '../../src/engines/openai.ts';
import { readCompletion, readEvent } from '../../src/engines/shared/llama-server-api.ts';
import { readCompletion as readV1 } from '../../src/engines/shared/llamafile-v1.ts';
import { readCompletion as readV2 } from '../../src/engines/shared/llamafile-v2.ts';
import { createTextNumbers, readGeneration } from '../../src/engines/shared/ollama-answer.ts';
import { readAnswer } from '../../src/engines/shared/openai-answer.ts';
import { generateInWorker } from '../../src/engines/shared/worker-session.ts';
import { parseSse } from '../../src/platform/network/http.ts';
import { parseNdjson } from '../../src/platform/network/ndjson.ts';
import { RequestChannel } from '../../src/platform/process/request-channel.ts';
import { tinyModel } from '../fixtures/model/tiny-model.ts';
import { ask, FIVE, foundAt } from '../fixtures/openai/fake-openai.ts';
import { fakeProcess, launchRequest } from './describe-engine.ts';
import { describeMalformed } from './malformed.ts';

const sse = (item: unknown): string => `data: ${typeof item === 'string' ? item : JSON.stringify(item)}\n\n`;
const ndjson = (item: unknown): string => `${JSON.stringify(item)}\n`;
const SHA256 = 'a'.repeat(64);
const RUN_ID = 'runoff-0123456789abcdef';

async function connectTo(engine: Engine, found: AvailableEngine, timeoutMs: number): Promise<EngineSession> {
  const port = Number(new URL(found.location).port);
  const request = launchRequest(found, { modelPath: await tinyModel(), modelSha256: SHA256, port });
  return engine.connect(
    fakeProcess(() => null),
    request,
    timeoutMs,
  );
}

const top = [{ id: 29, token: 'é', bytes: [195, 169], logprob: -0.5 }];
const completion = (text: string, finish: string | null): object => ({
  object: 'text_completion',
  model: 'the-model',
  system_fingerprint: 'b1',
  choices: [{ index: 0, text, finish_reason: finish, logprobs: { content: [{ ...top[0], top_logprobs: top }] } }],
});

describeMalformed({
  name: 'a server with the OpenAI API',
  count: 3_000,
  stream: [
    completion(' The', null),
    completion(' 🙂', null),
    completion(' sky', null),
    completion('', 'length'),
    {
      choices: [],
      usage: { prompt_tokens: 5, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 0 } },
      timings: { cache_n: 0 },
    },
    '[DONE]',
  ],
  write: sse,
  failure: { error: { message: 'CUDA error', code: 500 } },
  read: (chunks) => readAnswer(parseSse(chunks), createTextNumbers()).generation,
  http: {
    path: '/v1/completions',
    ask: ask(FIVE),
    answers: { '/v1/models': '{"data":[{"id":"the-model","owned_by":"llamacpp","meta":{"n_vocab":881}}]}' },
    connect: (base, timeoutMs) => connectTo(openai, foundAt(`${base}/v1`), timeoutMs),
  },
});

const piece = { model: 'm', response: ' The', done: false };

describeMalformed({
  name: 'Ollama',
  count: 3_000,
  stream: [
    { ...piece, logprobs: [{ token: ' The', logprob: -0.5, top_logprobs: [{ token: ' The', logprob: -0.5 }] }] },
    { ...piece, response: ' 🙂' },
    { ...piece, response: ' sky' },
    {
      ...piece,
      response: '',
      done: true,
      done_reason: 'length',
      prompt_eval_count: 5,
      prompt_eval_cached_count: 0,
      prompt_eval_duration: 1_000_000,
      eval_count: 4,
      eval_duration: 2_000_000,
    },
  ],
  write: ndjson,
  failure: { error: 'an error was encountered while running the model' },
  read: (chunks) => readGeneration(parseNdjson(chunks), createTextNumbers()),
  http: {
    path: '/api/generate',
    ask: ask(FIVE),
    onConnect: '{"done":true,"done_reason":"load"}\n',
    answers: {
      '/api/version': '{"version":"0.29.0"}',
      '/api/create': '{"status":"parsing GGUF"}\n{"status":"success"}\n',
      '/api/show': `{"modelfile":"FROM /x/blobs/sha256-${SHA256}\\n","model_info":{"tokenizer.ggml.tokens":["a","b"]}}`,
      '/api/ps': `{"models":[{"name":"${RUN_ID}:latest","size_vram":0,"context_length":1024}]}`,
    },
    connect: (base, timeoutMs) => connectTo(ollama, { ...foundAt(base), location: base }, timeoutMs),
  },
});

describeMalformed({
  name: "llama.cpp's server",
  count: 3_000,
  stream: [
    { content: ' 🙂', tokens: [10, 11], stop: false, completion_probabilities: [{ id: 1, top_logprobs: top }] },
    { content: ' sky', tokens: [12], stop: false },
    {
      content: '',
      tokens: [],
      stop: true,
      truncated: false,
      tokens_evaluated: 5,
      timings: { cache_n: 0, prompt_n: 5, prompt_ms: 1.5, predicted_n: 3, predicted_ms: 2.5 },
    },
  ],
  write: sse,
  failure: { error: { code: 500, message: 'context shift is disabled', type: 'server_error' } },
  read: (chunks) => readCompletion(parseSse(chunks).map(({ atMs, data }) => ({ atMs, event: readEvent(data) }))),
  http: {
    path: '/completion',
    ask: ask(FIVE),
    answers: {
      '/health': '{"status":"ok"}',
      '/v1/models': `{"data":[{"id":"${RUN_ID}","meta":{"n_vocab":881}}]}`,
      '/props':
        '{"total_slots":1,"model_path":"/m.gguf","build_info":"b1","default_generation_settings":{"n_ctx":1024}}',
    },
    connect: (base, timeoutMs) =>
      connectTo(llamaServer, { ...foundAt(base), location: base, variant: 'binary' }, timeoutMs),
  },
});

/** The bytes of the reply channel; then the worker ends, as it does when nobody trusts it any more. */
async function readFromWorker(chunks: readonly { readonly bytes: Buffer }[]): Promise<Generation> {
  const channel: RequestChannel = new RequestChannel({
    write() {
      for (const { bytes } of chunks) channel.receive(bytes);
      channel.close(new AppError('engine-died', 'the worker ended'));
    },
    onBroken() {},
  });
  const process = fakeProcess(() => null);
  return generateInWorker(
    { ...process, request: (message, timeoutMs) => channel.request(message, timeoutMs) },
    ask(FIVE),
  );
}

const v1Piece = (content: string): object => ({ content, multimodal: false, slot_id: 0, stop: false });

describeMalformed({
  name: 'llamafile up to 0.9.3',
  count: 500,
  stream: [
    v1Piece(' The'),
    v1Piece(' 🙂'),
    v1Piece(' sky'),
    {
      ...v1Piece(''),
      stop: true,
      model: RUN_ID,
      truncated: false,
      tokens_evaluated: 5,
      tokens_predicted: 3,
      timings: { prompt_n: 5, prompt_ms: 9.5, predicted_n: 3, predicted_ms: 20.5 },
    },
  ],
  write: sse,
  failure: { content: 'slot unavailable', stop: true },
  read: (chunks) => readV1(parseSse(chunks), { port: 1, runId: RUN_ID, numberOf: createTextNumbers() }),
  http: {
    path: '/completion',
    ask: ask(FIVE),
    answers: {
      '/health': '{"status":"ok"}',
      '/v1/models': `{"data":[{"id":"${RUN_ID}"}]}`,
      '/props': '{"default_generation_settings":{"n_ctx":1024}}',
    },
    connect: (base, timeoutMs) => connectTo(llamafile, { ...foundAt(base), location: base, variant: 'v1' }, timeoutMs),
  },
});

describeMalformed({
  name: 'llamafiler',
  count: 500,
  stream: [
    { choices: [{ delta: { content: '', role: 'assistant' }, finish_reason: null }], usage: null },
    { choices: [{ text: ' The', finish_reason: null }], usage: null },
    { choices: [{ text: ' 🙂', finish_reason: null }], usage: null },
    { choices: [{ text: '', finish_reason: 'length' }], usage: { prompt_tokens: 5, completion_tokens: 2 } },
    '[DONE]',
  ],
  write: sse,
  failure: { error: 'decode_token_failed' },
  read: (chunks) => readV2(parseSse(chunks)),
  http: {
    path: `/${RUN_ID}/v1/completions`,
    ask: { ...ask(FIVE), promptText: 'The sky' },
    answers: { [`/${RUN_ID}/v1/models`]: '{"data":[{"owned_by":"llamafile"}]}' },
    connect: (base, timeoutMs) => connectTo(llamafile, { ...foundAt(base), location: base, variant: 'v2' }, timeoutMs),
  },
});

describeMalformed({
  name: 'a worker',
  count: 1_000,
  stream: [
    'a banner of a library, é',
    {
      id: 1,
      result: {
        tokens: [10, 11, 12],
        eventMs: [1, 2, 3],
        promptTokenCount: 5,
        cachedTokenCount: 0,
        firstTokenLogprobs: [{ token: 10, logprob: -0.5 }],
      },
    },
  ],
  write: ndjson,
  failure: { id: 1, error: { message: 'out of memory', code: 'engine-request-failed' } },
  read: readFromWorker,
});
