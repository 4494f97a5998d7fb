/**
 * How a streamed answer of POST /completions is read. The servers differ in small ways; looked up on 2026-11-25:
 * https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md (`timings`, log-probabilities as `content`),
 * https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/openai (a chunk may hold several tokens, or none of
 * their text), https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/server.py (comments keep the connection alive).
 */
import { z } from 'zod';
import type { Generation, TokenLogprob } from '../../core/engine.ts';
import { AppError } from '../../core/errors.ts';
import type { SseEvent } from '../../platform/network/http.ts';

/** Of a server's own words, in our message. */
const SHOWN_CHARACTERS = 200;
/** Longer than any answer that runoff asks for. */
const TOKENS_MAX = 1_000_000;
const TEXT_CHARACTERS_MAX = 1_000_000;
const LOGPROBS_MAX = 1_000;

const count = z.int().nonnegative().max(TOKENS_MAX);
const text = z.string().max(TEXT_CHARACTERS_MAX).nullish();
const pieceFields = { content: text, reasoning: text, reasoning_content: text };
const tokenLogprob = z.object({ token: z.string().max(10_000), logprob: z.number() });
/** `top_logprobs` is a table of texts in the old form, a list of tokens in the new one. */
const logprobs = z.union([
  z.object({ content: z.array(z.object({ top_logprobs: z.array(tokenLogprob).max(LOGPROBS_MAX) })).min(1) }),
  z.object({ top_logprobs: z.array(z.record(z.string().max(10_000), z.number()).nullable()).min(1) }),
]);
const failure = z.union([z.string().max(100_000), z.object({ message: z.string().max(100_000) })]);
const chunk = z.object({
  object: z.string().max(1_000).nullish(),
  message: z.string().max(100_000).nullish(),
  error: failure.nullish(),
  choices: z
    .array(
      z.object({
        ...pieceFields,
        text,
        delta: z.object(pieceFields).nullish(),
        finish_reason: z.string().max(1_000).nullish(),
        // What cannot be read here only weakens a gate.
        logprobs: logprobs.nullish().catch(null),
      }),
    )
    .max(1)
    .nullish(),
  usage: z
    .object({
      prompt_tokens: count,
      completion_tokens: count,
      prompt_tokens_details: z.object({ cached_tokens: count.nullish() }).nullish(),
      completion_tokens_details: z.object({ reasoning_tokens: count.nullish() }).nullish(),
    })
    .nullish(),
  system_fingerprint: z.string().max(1_000).nullish().catch(null),
  timings: z.object({ cache_n: count.nullish() }).nullish(),
});
type Chunk = z.infer<typeof chunk>;
type Choice = NonNullable<Chunk['choices']>[number];
type Usage = NonNullable<Chunk['usage']>;

interface Piece {
  readonly atMs: number;
  readonly text: string;
}

export interface OpenAiAnswer {
  readonly generation: Generation;
  /** Tokens, or at least one where only their text was sent, that the model thought in before it answered. */
  readonly reasoningTokenCount: number;
  /** What the server calls its build and configuration. */
  readonly fingerprint: string | null;
}

/**
 * Pure: one streamed answer.
 * @param events times are ms since the request was sent
 * @param numberOf a number for the text of a token: ids are not told
 * @throws AppError `engine-request-failed` for an error inside the stream, `engine-protocol` for anything else that is
 * no whole answer with its token counts
 */
export function readAnswer(events: readonly SseEvent[], numberOf: (text: string) => number): OpenAiAnswer {
  const pieces: Piece[] = [];
  let firstTokenLogprobs: readonly TokenLogprob[] = [];
  let usage: Usage | null = null;
  let cacheCount: number | null = null;
  let fingerprint: string | null = null;
  let isFinished = false;
  let hasReasoning = false;
  let lastMs = 0;
  for (const { atMs, data } of events) {
    if (data.trim() === '[DONE]') break;
    const item = readChunk(data);
    usage = item.usage ?? usage;
    cacheCount = item.timings?.cache_n ?? cacheCount;
    fingerprint ??= item.system_fingerprint ?? null;
    const choice = item.choices?.[0];
    if (choice === undefined) continue;
    lastMs = atMs;
    if (firstTokenLogprobs.length === 0) firstTokenLogprobs = logprobsOf(choice, numberOf);
    const isLast = typeof choice.finish_reason === 'string' && choice.finish_reason !== '';
    const { visible, thought } = textsOf(choice);
    hasReasoning ||= thought !== '';
    // An empty event is a token whose text is held back, except before the first text: there it may be only a greeting.
    if (visible + thought !== '' || (!isLast && pieces.length > 0)) pieces.push({ atMs, text: thought + visible });
    isFinished ||= isLast;
  }
  if (!isFinished) throw unfinished(pieces.length);
  if (usage === null) throw uncounted();
  return {
    generation: { ...toGeneration(pieces, lastMs, usage, cacheCount), firstTokenLogprobs },
    reasoningTokenCount: usage.completion_tokens_details?.reasoning_tokens ?? (hasReasoning ? 1 : 0),
    fingerprint,
  };
}

function readChunk(data: string): Chunk {
  let item: Chunk;
  try {
    item = chunk.parse(JSON.parse(data));
  } catch (error) {
    throw new AppError(
      'engine-protocol',
      `the server sent an event that is not readable: ${data.slice(0, SHOWN_CHARACTERS)}`,
      { cause: error },
    );
  }
  const told = item.error ?? (item.object === 'error' ? (item.message ?? 'an error without a message') : null);
  if (told !== null) throw answeredError(typeof told === 'string' ? told : told.message);
  return item;
}

/** An answer that is no event stream. @throws AppError always: the server's error, or what is wrong with the form. */
export function rejectUnstreamed(body: string): never {
  let answer: unknown = null;
  try {
    answer = JSON.parse(body);
  } catch {
    // Not JSON either: the text is shown below.
  }
  const parsed = z.object({ error: failure }).safeParse(answer);
  if (parsed.success) {
    const { error } = parsed.data;
    throw answeredError(typeof error === 'string' ? error : error.message);
  }
  throw new AppError(
    'engine-protocol',
    `the server did not stream its answer: ${body.slice(0, SHOWN_CHARACTERS) || '(empty)'}`,
    { hint: 'Times of tokens can only be measured on a server that streams (text/event-stream).' },
  );
}

function answeredError(message: string): AppError {
  return new AppError('engine-request-failed', `the server answered: ${message.slice(0, SHOWN_CHARACTERS)}`, {
    context: { status: 200 },
  });
}

function unfinished(pieceCount: number): AppError {
  return new AppError('engine-protocol', `the answer stopped after ${pieceCount} pieces without its last event`);
}

function uncounted(): AppError {
  return new AppError('engine-protocol', 'the server does not tell how many tokens it read and wrote (no "usage")', {
    hint: 'A server without stream_options.include_usage cannot be measured: equal work could not be shown.',
  });
}

function textsOf(choice: Choice): { visible: string; thought: string } {
  const { delta } = choice;
  return {
    visible: choice.text ?? choice.content ?? delta?.content ?? '',
    thought: choice.reasoning_content ?? choice.reasoning ?? delta?.reasoning_content ?? delta?.reasoning ?? '',
  };
}

function logprobsOf({ logprobs: told }: Choice, numberOf: (text: string) => number): readonly TokenLogprob[] {
  if (told === null || told === undefined) return [];
  if ('content' in told) {
    return (told.content[0]?.top_logprobs ?? []).map(({ token, logprob }) => ({ token: numberOf(token), logprob }));
  }
  return Object.entries(told.top_logprobs[0] ?? {})
    .slice(0, LOGPROBS_MAX)
    .map(([token, logprob]) => ({ token: numberOf(token), logprob }));
}

/** Tokens whose text was held back, or was empty, leave fewer pieces than tokens; more pieces than tokens cannot be. */
function toGeneration(
  all: readonly Piece[],
  lastMs: number,
  usage: Usage,
  cacheCount: number | null,
): Omit<Generation, 'firstTokenLogprobs'> {
  const generated = usage.completion_tokens;
  const withText = all.filter((piece) => piece.text !== '');
  const chosen = all.length <= generated ? all : withText;
  if (chosen.length > generated) {
    throw new AppError(
      'engine-protocol',
      `the server sent ${chosen.length} pieces of text and counted ${generated} tokens`,
    );
  }
  const pieces = chosen.length === 0 && generated > 0 ? [{ atMs: lastMs, text: '' }] : chosen;
  return {
    tokens: [],
    generatedTokenCount: generated,
    text: withText.map((piece) => piece.text).join(''),
    eventMs: pieces.map(({ atMs }) => atMs),
    eventTokenCounts: spreadTokens(
      pieces.map((piece) => Buffer.byteLength(piece.text)),
      generated,
    ),
    promptTokenCount: usage.prompt_tokens,
    cachedTokenCount: usage.prompt_tokens_details?.cached_tokens ?? cacheCount,
    truncated: null,
    engineTimings: null,
  };
}

/**
 * Tokens of each piece: one each, and what is left by the length of the text. The total is the server's; how it is
 * spread is a guess, so single intervals of such a server are those of chunks.
 * @param bytes length of each piece's text
 * @param generated at least as many as there are pieces
 * @returns counts whose sum is `generated`, each at least 1
 */
export function spreadTokens(bytes: readonly number[], generated: number): number[] {
  const surplus = generated - bytes.length;
  const total = bytes.reduce((sum, length) => sum + length, 0);
  const share = (index: number): number =>
    total === 0 ? surplus / bytes.length : (surplus * (bytes[index] ?? 0)) / total;
  const counts = bytes.map((_, index) => 1 + Math.floor(share(index)));
  const left = generated - counts.reduce((sum, value) => sum + value, 0);
  const byRest = bytes
    .map((_, index) => index)
    .toSorted((a, b) => (share(b) % 1) - (share(a) % 1) || a - b)
    .slice(0, left);
  for (const index of byRest) counts[index] = (counts[index] ?? 0) + 1;
  return counts;
}
