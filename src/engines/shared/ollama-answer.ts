/**
 * What is asked of Ollama's /api/generate and how its answer is read. Looked up on 2026-11-25:
 * https://github.com/ollama/ollama/blob/main/docs/api.md (fields),
 * https://github.com/ollama/ollama/blob/main/api/types.go (options; unknown ones are ignored with a warning),
 * https://github.com/ollama/ollama/blob/main/llm/llama_server.go (what becomes of them).
 */
import { z } from 'zod';
import type { EngineSettings, EngineTimings, Generation, TokenLogprob } from '../../core/engine.ts';
import { AppError } from '../../core/errors.ts';
import type { StampedLine } from '../../platform/network/ndjson.ts';
import { spreadTokens } from './spread-tokens.ts';

const NANOSECONDS_PER_MS = 1e6;
/** Of a line that cannot be read, in our message. */
const LINE_SHOWN_CHARACTERS = 200;
/** The API refuses more. */
const TOP_LOGPROBS_MAX = 20;

const count = z.int().nonnegative().max(1e9);
const durationNs = z.number().nonnegative().max(1e18);
const tokenLogprob = z.object({ token: z.string().max(10_000), logprob: z.number() });
const answerLine = z.object({
  response: z.string().max(1_000_000).optional(),
  thinking: z.string().max(1_000_000).optional(),
  done: z.boolean().optional(),
  done_reason: z.string().max(100).optional(),
  error: z.string().max(100_000).optional(),
  // Go leaves out what is 0: an absent count is none.
  prompt_eval_count: count.optional(),
  prompt_eval_cached_count: count.nullish(),
  prompt_eval_duration: durationNs.optional(),
  eval_count: count.optional(),
  eval_duration: durationNs.optional(),
  logprobs: z
    .array(tokenLogprob.extend({ top_logprobs: z.array(tokenLogprob).max(1_000).optional() }))
    .max(1_000)
    .nullish(),
});
type AnswerLine = z.infer<typeof answerLine>;

export interface OllamaAsk {
  readonly model: string;
  /** Empty: only loads the model. */
  readonly prompt: string;
  readonly settings: EngineSettings;
  readonly generateTokens: number;
  readonly topLogprobs: number;
}

/**
 * The body of a request: greedy, raw text, exact length, nothing shifted or truncated, no speculation.
 *
 * What the API does not offer: masking of end-of-generation tokens (`options` has neither `logit_bias` nor
 * `ignore_eos`), so an answer may end early, which a gate then finds; and switching the prompt cache off.
 * `num_batch` sets the logical and the physical batch.
 */
export function generateBody({
  model,
  prompt,
  settings,
  generateTokens,
  topLogprobs,
}: OllamaAsk): Record<string, unknown> {
  return {
    model,
    prompt,
    raw: true,
    stream: prompt !== '',
    // From 0.12.6 on: an error instead of a prompt that is cut, or shifted while it is answered.
    truncate: false,
    shift: false,
    keep_alive: -1,
    options: {
      ...runnerOptions(settings),
      num_predict: generateTokens,
      num_keep: 0,
      seed: 0,
      temperature: 0,
      top_k: 1,
      top_p: 1,
      min_p: 0,
      typical_p: 1,
      repeat_penalty: 1,
      repeat_last_n: 0,
      presence_penalty: 0,
      frequency_penalty: 0,
      stop: [],
    },
    ...(topLogprobs > 0 ? { logprobs: true, top_logprobs: Math.min(topLogprobs, TOP_LOGPROBS_MAX) } : {}),
  };
}

/** Options of the loaded model: a request with others would make Ollama load it anew. */
function runnerOptions({ contextTokens, batchTokens, threads, mmap, gpu }: EngineSettings): Record<string, unknown> {
  return {
    num_ctx: contextTokens,
    num_batch: batchTokens,
    num_thread: threads,
    use_mmap: mmap,
    num_gpu: gpu === 'off' ? 0 : -1,
    draft_num_predict: 0,
  };
}

/**
 * Gives every text a number of its own below zero: Ollama names tokens by their text, and these must be comparable
 * within one session without being taken for ids.
 */
export function createTextNumbers(): (text: string) => number {
  const numbers = new Map<string, number>();
  return (text) => {
    const known = numbers.get(text);
    if (known !== undefined) return known;
    const next = -1 - numbers.size;
    numbers.set(text, next);
    return next;
  };
}

/**
 * Pure: one streamed answer. Times are ms since the request was sent.
 * @throws AppError `engine-request-failed` for an error inside the stream, `engine-protocol` for anything else that is
 * no whole answer.
 */
export function readGeneration(lines: readonly StampedLine[], numberOf: (text: string) => number): Generation {
  const pieces: { atMs: number; text: string }[] = [];
  let firstTokenLogprobs: readonly TokenLogprob[] = [];
  for (const { atMs, line } of lines) {
    const item = readLine(line);
    if (item.error !== undefined) {
      throw new AppError('engine-request-failed', `Ollama answered: ${item.error}`, { context: { status: 200 } });
    }
    const text = `${item.thinking ?? ''}${item.response ?? ''}`;
    if (firstTokenLogprobs.length === 0) firstTokenLogprobs = logprobsOf(item, numberOf);
    if (text !== '') pieces.push({ atMs, text });
    if (item.done === true) return toGeneration(pieces, { atMs, item }, firstTokenLogprobs);
  }
  throw new AppError('engine-protocol', `Ollama's answer stopped after ${pieces.length} pieces without its last line`, {
    hint: 'Ollama breaks an answer off when the model repeats one token more than 30 times; other prompts may do better.',
  });
}

function readLine(line: string): AnswerLine {
  try {
    return answerLine.parse(JSON.parse(line));
  } catch (error) {
    throw new AppError(
      'engine-protocol',
      `Ollama sent a line that is not readable: ${line.slice(0, LINE_SHOWN_CHARACTERS)}`,
      { cause: error },
    );
  }
}

function toGeneration(
  pieces: readonly { readonly atMs: number; readonly text: string }[],
  last: { readonly atMs: number; readonly item: AnswerLine },
  firstTokenLogprobs: readonly TokenLogprob[],
): Generation {
  const { item } = last;
  const generated = generatedCount(pieces.length, item);
  // A token without text of its own (half a character) comes with no piece: it was there when the answer ended.
  const times = pieces.length === 0 && generated > 0 ? [last.atMs] : pieces.map(({ atMs }) => atMs);
  return {
    tokens: [],
    generatedTokenCount: generated,
    text: pieces.map(({ text }) => text).join(''),
    eventMs: times,
    eventTokenCounts: spreadTokens(times, generated),
    promptTokenCount: item.prompt_eval_count ?? 0,
    cachedTokenCount: item.prompt_eval_cached_count ?? null,
    truncated: null,
    engineTimings: parseTimings(item),
    firstTokenLogprobs,
  };
}

/** `eval_count` counts the end-of-generation token, too, which is no token of the answer. */
function generatedCount(pieceCount: number, { eval_count: evaluated = 0, done_reason: reason }: AnswerLine): number {
  if (evaluated < pieceCount) {
    throw new AppError('engine-protocol', `Ollama sent ${pieceCount} pieces of text and counted ${evaluated} tokens`);
  }
  return reason === 'stop' ? Math.max(pieceCount, evaluated - 1) : evaluated;
}

function logprobsOf({ logprobs }: AnswerLine, numberOf: (text: string) => number): TokenLogprob[] {
  return (logprobs?.[0]?.top_logprobs ?? []).map(({ token, logprob }) => ({ token: numberOf(token), logprob }));
}

/**
 * `eval_duration` starts at the first token while `eval_count` counts it: n - 1 intervals. So it is in llama.cpp's
 * server (from Ollama 0.30 on) and was in the runners before (runner/ollamarunner/runner.go of v0.12.11).
 * `prompt_eval_count` includes cached tokens, so the number that was really processed is only known where the cached
 * ones are told (docs.ollama.com/api/usage, pull request 17943 of August 2026).
 */
function parseTimings(item: AnswerLine): EngineTimings | null {
  const { prompt_eval_duration: prefillNs, eval_duration: decodeNs, eval_count: evaluated } = item;
  if (prefillNs === undefined && decodeNs === undefined) return null;
  const cached = item.prompt_eval_cached_count;
  return {
    prefillMs: prefillNs === undefined ? null : prefillNs / NANOSECONDS_PER_MS,
    prefillTokenCount:
      cached === undefined || cached === null ? null : Math.max(0, (item.prompt_eval_count ?? 0) - cached),
    decodeMs: decodeNs === undefined ? null : decodeNs / NANOSECONDS_PER_MS,
    decodeIntervalCount: evaluated === undefined ? null : Math.max(0, evaluated - 1),
  };
}
