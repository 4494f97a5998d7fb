/** Whatever a server sends, it ends in an error with a code or in an answer that adds up, within the time limit. */
import { rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { Generation } from '../../src/core/engine.ts';
import { AppError } from '../../src/core/errors.ts';
import { createRandom } from '../../src/core/random.ts';
import { engine } from '../../src/engines/ollama.ts';
import { createTextNumbers, readGeneration } from '../../src/engines/shared/ollama-answer.ts';
import { parseNdjson } from '../../src/platform/network/ndjson.ts';
import { tinyModel } from '../fixtures/model/tiny-model.ts';
import { ask, BINARY, FIVE, newFolder } from '../fixtures/ollama/cases.ts';
import { fakeProcess, launchRequest } from './describe-engine.ts';

const STREAM = [
  {
    model: 'm',
    created_at: 'now',
    response: ' The',
    done: false,
    logprobs: [{ token: ' The', logprob: -0.5, top_logprobs: [{ token: ' The', logprob: -0.5 }] }],
  },
  { model: 'm', created_at: 'now', response: ' 🙂', done: false },
  { model: 'm', created_at: 'now', response: ' sky', done: false },
  {
    model: 'm',
    created_at: 'now',
    response: '',
    done: true,
    done_reason: 'length',
    prompt_eval_count: 5,
    prompt_eval_cached_count: 0,
    prompt_eval_duration: 1_000_000,
    eval_count: 4,
    eval_duration: 2_000_000,
  },
].map((item) => Buffer.from(`${JSON.stringify(item)}\n`));
const HOSTILE = ['-1', '1e999', 'null', '[]', '{}', '"', '\n', '\u0000', '{"error":"x"}\n', '9'.repeat(30), 'true'];

/** Valid chunks that were cut, repeated, swapped, flipped, filled with nonsense or broken up elsewhere. */
function* malformed(seed: number, count: number, valid: readonly Buffer[]): Iterable<Buffer[]> {
  for (let index = 0; index < count; index++) {
    const random = createRandom('malformed', seed, index);
    let bytes: Buffer = Buffer.concat([...valid]);
    for (let change = random.integer(4); change >= 0; change--) {
      const at = random.integer(bytes.length + 1);
      const end = Math.min(bytes.length, at + random.integer(40));
      const hostile = Buffer.from(HOSTILE[random.integer(HOSTILE.length)] ?? '');
      const middle = [
        () => Buffer.alloc(0),
        () => Buffer.concat([bytes.subarray(at, end), bytes.subarray(at, end)]),
        () => Buffer.from(bytes.subarray(at, end).map((byte) => byte ^ (1 << random.integer(8)))),
        () => hostile,
        () => Buffer.concat([bytes.subarray(at, end), hostile]),
      ][random.integer(5)];
      bytes = Buffer.concat([bytes.subarray(0, at), middle?.() ?? Buffer.alloc(0), bytes.subarray(end)]);
      if (random.integer(6) === 0) bytes = bytes.subarray(0, random.integer(bytes.length + 1));
    }
    const cut = random.integer(bytes.length + 1);
    yield [bytes.subarray(0, cut), bytes.subarray(cut)];
  }
}

function addsUp({ eventMs, eventTokenCounts, generatedTokenCount, promptTokenCount }: Generation): boolean {
  const sum = eventTokenCounts.reduce((total, value) => total + value, 0);
  const isOrdered = eventMs.every((ms, index) => Number.isFinite(ms) && ms >= (eventMs[index - 1] ?? 0));
  return (
    eventMs.length === eventTokenCounts.length &&
    isOrdered &&
    sum === generatedTokenCount &&
    eventTokenCounts.every((value) => Number.isInteger(value) && value > 0) &&
    Number.isInteger(promptTokenCount) &&
    promptTokenCount >= 0
  );
}

test('2,500 malformed answers', () => {
  const outcomes = { answers: 0, errors: 0 };
  for (const chunks of malformed(1, 2_500, STREAM)) {
    const stamped = chunks.map((bytes, index) => ({ atMs: 10 * index, bytes }));
    try {
      expect(readGeneration(parseNdjson(stamped), createTextNumbers())).toSatisfy(addsUp);
      outcomes.answers += 1;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      expect(['engine-protocol', 'engine-request-failed']).toContain(error.code);
      outcomes.errors += 1;
    }
  }
  // Both kinds must occur, else the generator tests nothing.
  expect(outcomes.answers).toBeGreaterThan(50);
  expect(outcomes.errors).toBeGreaterThan(1_000);
});

describe('over HTTP', () => {
  let server: Server | null = null;
  let folder: string | null = null;

  afterEach(async () => {
    server?.closeAllConnections();
    server?.close();
    server = null;
    if (folder !== null) await rm(folder, { recursive: true, force: true });
    folder = null;
  });

  const SHA256 = 'a'.repeat(64);
  const VALID: Readonly<Record<string, string>> = {
    '/api/version': '{"version":"0.29.0"}',
    '/api/create': '{"status":"parsing GGUF"}\n{"status":"success"}\n',
    '/api/show': `{"modelfile":"FROM /x/blobs/sha256-${SHA256}\\n","model_info":{"tokenizer.ggml.tokens":["a","b"]}}`,
    '/api/ps': '{"models":[{"name":"runoff-0123456789abcdef:latest","size_vram":0,"context_length":1024}]}',
    '/api/generate': '{"done":true,"done_reason":"load"}',
  };

  /** Answers as Ollama does, except where `answers` has something else for the path. */
  async function serve(answers: Readonly<Record<string, () => readonly Buffer[]>>): Promise<string> {
    const started = createServer((request, response) => {
      request.resume();
      const path = (request.url ?? '').replace(/\/sha256:.*/, '');
      const special = answers[path];
      if (special === undefined) return void response.end(VALID[path] ?? '');
      for (const bytes of special()) response.write(bytes);
      response.end();
    });
    server = started;
    await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(started.address() as AddressInfo).port}`;
  }

  async function connect(base: string, timeoutMs: number) {
    folder ??= await newFolder();
    const found = { ...BINARY, location: base, variant: 'running', runningInstance: true };
    const request = launchRequest(found, { modelPath: await tinyModel(), modelSha256: SHA256, workFolder: folder });
    return engine.connect(
      fakeProcess(() => null),
      request,
      timeoutMs,
    );
  }

  test('200 malformed answers to requests', async () => {
    let chunks: readonly Buffer[] = [];
    let isLoaded = false;
    const load = [Buffer.from(VALID['/api/generate'] ?? '')];
    const session = await connect(await serve({ '/api/generate': () => (isLoaded ? chunks : load) }), 5_000);
    isLoaded = true;
    for (chunks of malformed(2, 200, STREAM)) {
      const startedMs = performance.now();
      const outcome = await session.generate(ask(FIVE, { timeoutMs: 2_000 })).catch((error: unknown) => error);
      expect(performance.now() - startedMs).toBeLessThan(5_000);
      if (!(outcome instanceof AppError)) expect(outcome).toSatisfy(addsUp);
    }
  });

  test.each(Object.keys(VALID))('40 malformed answers to %s', async (path) => {
    let chunks: readonly Buffer[] = [];
    const base = await serve({ [path]: () => chunks });
    let errors = 0;
    for (chunks of malformed(3, 40, [Buffer.from(VALID[path] ?? '')])) {
      const startedMs = performance.now();
      // A version that cannot be read is asked for until the time is over: the server may still be starting.
      const outcome = await connect(base, 150).catch((error: unknown) => error);
      expect(performance.now() - startedMs).toBeLessThan(5_000);
      if (outcome instanceof Error) {
        expect(outcome).toBeInstanceOf(AppError);
        errors += 1;
      }
    }
    expect(errors).toBeGreaterThan(5);
  });
});
