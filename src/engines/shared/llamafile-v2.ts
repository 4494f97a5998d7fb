/**
 * llamafiler, the server that llamafile 0.9 ships beside its own: text prompts, usage, no timings, and a prompt cache that
 * cannot be switched off. Source: llamafile/server of github.com/mozilla-ai/llamafile at 0.9.3, and recorded answers.
 */
import { z } from 'zod';
import { assert } from '../../core/assert.ts';
import { AppError } from '../../core/errors.ts';
import type { EngineProcess, EngineSession, GenerateRequest, Generation, LaunchRequest } from '../../core/engine.ts';
import { monotonicMs, sleep } from '../../platform/clock.ts';
import { parseSse, streamSse } from '../../platform/network/http.ts';
import { orTellDeath, waitUntilReady } from './llama-server-api.ts';
import { launchHint } from './llamafile-log.ts';
import { cpuKernels } from './llamafile-v1.ts';
import type { StampedEvent } from './llamafile-v1.ts';
import { spreadTokens } from './spread-tokens.ts';

const NAME = 'llamafiler';
/** ~300 bytes an event. */
const STREAM_BYTES_MAX = 256 << 20;
const SHOWN_CHARACTERS = 200;
/** It computes with no more (llamafile/server/slot.cpp). */
const THREADS_MAX = 20;
/** Its log reaches us through a pipe, a moment after the answer. */
const LOG_WAIT_MS = 300;
const LOG_POLL_MS = 10;
/** Two texts without a common start: one of them differs from any prompt at once. */
const FLUSHES = ['Zebra', '7'] as const;

const modelsReply = z.object({
  data: z
    .array(z.object({ owned_by: z.literal('llamafile') }))
    .min(1)
    .max(100),
});
const chunk = z.object({
  choices: z
    .array(z.object({ text: z.string().max(1_000_000).optional(), finish_reason: z.string().max(100).nullish() }))
    .min(1)
    .max(10),
  usage: z.object({ prompt_tokens: z.int().nonnegative(), completion_tokens: z.int().nonnegative() }).nullish(),
});

export async function connectV2(
  process: EngineProcess,
  request: LaunchRequest,
  timeoutMs: number,
): Promise<EngineSession> {
  // The prefix is the run's id: a stranger on the port knows no such path. There is no /health.
  const base = `http://127.0.0.1:${request.port}/${request.runId}`;
  const isReady = (answer: unknown): boolean => modelsReply.safeParse(answer).success;
  await waitUntilReady(process, { url: `${base}/v1/models`, isReady, name: NAME, timeoutMs, hintFor: launchHint });
  const { settings, engine } = request;
  return {
    info: {
      // It tells none of its settings; these two are known from its source.
      settings: { mmap: true, ...(settings.threads > THREADS_MAX ? { threads: THREADS_MAX } : {}) },
      build: engine.build,
      device: settings.gpu === 'off' ? 'cpu' : 'unknown',
      vocabularySize: null,
      modelName: null,
      engineLoadMs: null,
      numericMode: `${settings.gpu === 'off' ? `${cpuKernels(engine)}, ` : ''}f16 KV cache, prompt cache overwritten before each request`,
    },
    generate: (ask) => orTellDeath(process, NAME, () => complete(process, { base, runId: request.runId }, ask)),
  };
}

async function complete(
  process: EngineProcess,
  { base, runId }: { readonly base: string; readonly runId: string },
  ask: GenerateRequest,
): Promise<Generation> {
  const { promptText, timeoutMs } = ask;
  assert(promptText !== undefined, 'llamafiler takes text');
  const options = { timeoutMs, maxBytes: STREAM_BYTES_MAX };
  const url = `${base}/v1/completions`;
  // Its one slot keeps the last conversation; another one in between leaves nothing of a repeated prompt but its BOS.
  const flush = promptText.trimStart().startsWith(FLUSHES[0]) ? FLUSHES[1] : FLUSHES[0];
  await streamSse(url, requestBody({ ...ask, promptText: flush, generateTokens: 1 }, runId), options);
  const { startedMs, chunks } = await streamSse(url, requestBody(ask, runId), options);
  const events = parseSse(chunks).map(({ atMs, data }) => ({ atMs: atMs - startedMs, data }));
  const generation = readCompletion(events);
  return { ...generation, cachedTokenCount: await cachedTokens(process, generation.promptTokenCount) };
}

/** It ignores `logit_bias` and `ignore_eos`: an early end cannot be prevented, and the count tells it. */
export function requestBody({ promptText, generateTokens }: GenerateRequest, runId: string): Record<string, unknown> {
  return {
    model: runId,
    prompt: promptText,
    max_tokens: generateTokens,
    stream: true,
    stream_options: { include_usage: true },
    seed: 0,
    temperature: 0,
    top_p: 1,
    presence_penalty: 0,
    frequency_penalty: 0,
  };
}

/**
 * Pure: one streamed answer. Times are ms since the request was sent. A first chunk without text names the role; the
 * last one has the usage, and [DONE] follows it.
 */
export function readCompletion(events: readonly StampedEvent[]): Generation {
  const pieces: { atMs: number; text: string }[] = [];
  let end: { atMs: number; reason: string; usage: z.infer<typeof chunk>['usage'] } | null = null;
  for (const { atMs, data } of events) {
    if (data === '[DONE]') return toGeneration(pieces, end);
    const { choices, usage } = readChunk(data);
    const { text = '', finish_reason: reason } = choices[0] ?? {};
    if (text !== '') pieces.push({ atMs, text });
    if (reason !== null && reason !== undefined) end = { atMs, reason, usage };
  }
  throw new AppError('engine-protocol', `${NAME}'s answer stopped after ${pieces.length} tokens without [DONE]`);
}

function readChunk(data: string): z.infer<typeof chunk> {
  try {
    return chunk.parse(JSON.parse(data));
  } catch (error) {
    throw new AppError(
      'engine-protocol',
      `${NAME} sent an event that is not readable: ${data.slice(0, SHOWN_CHARACTERS)}`,
      { cause: error },
    );
  }
}

function toGeneration(
  pieces: readonly { readonly atMs: number; readonly text: string }[],
  end: { atMs: number; reason: string; usage: z.infer<typeof chunk>['usage'] } | null,
): Generation {
  const usage = end?.usage;
  if (end === null || usage === null || usage === undefined)
    throw new AppError('engine-protocol', `${NAME}'s answer of ${pieces.length} tokens ended without its usage`);
  // The token that ends a text is counted, and is none of the answer.
  const generated = usage.completion_tokens - (end.reason === 'stop' ? 1 : 0);
  if (generated < pieces.length) {
    throw new AppError(
      'engine-protocol',
      `${NAME} sent ${pieces.length} pieces of text and counted ${generated} tokens`,
    );
  }
  const times = pieces.length === 0 && generated > 0 ? [end.atMs] : pieces.map(({ atMs }) => atMs);
  return {
    tokens: [],
    generatedTokenCount: generated,
    text: pieces.map(({ text }) => text).join(''),
    eventMs: times,
    eventTokenCounts: spreadTokens(times, generated),
    promptTokenCount: usage.prompt_tokens,
    cachedTokenCount: null,
    truncated: null,
    engineTimings: null,
    firstTokenLogprobs: [],
  };
}

/** The log tells what the answer does not: how much of the prompt was kept from the request before. */
async function cachedTokens(process: EngineProcess, promptTokens: number): Promise<number | null> {
  const deadline = monotonicMs() + LOG_WAIT_MS;
  for (;;) {
    const cached = cachedInLog(process.stderrTail(), promptTokens);
    if (cached !== null || monotonicMs() > deadline) return cached;
    await sleep(LOG_POLL_MS);
  }
}

/** Pure: of the last prompt in the log, where it has this length. */
export function cachedInLog(log: string, promptTokens: number): number | null {
  const lines = [...log.matchAll(/prefilled (\d+) tokens \(after keeping (\d+), discarding \d+, relocating (\d+),/g)];
  const [, total, kept, relocated] = lines.at(-1) ?? [];
  return Number(total) === promptTokens ? Number(kept) + Number(relocated) : null;
}
