/**
 * The server of llamafile 0.6 to 0.9.3: llama.cpp's of early 2024, with its ways. Source: llama.cpp/server/server.cpp at
 * the tags of github.com/mozilla-ai/llamafile, and recorded answers of 0.8.13 and 0.9.3 (test/fixtures/llamafile).
 */
import { z } from 'zod';
import { assert } from '../../core/assert.ts';
import { AppError } from '../../core/errors.ts';
import type {
  AvailableEngine,
  EngineProcess,
  EngineSession,
  EngineTimings,
  GenerateRequest,
  Generation,
  LaunchRequest,
  LoadedInfo,
  TokenLogprob,
} from '../../core/engine.ts';
import { parseSse, streamSse } from '../../platform/network/http.ts';
import { findOurs, getAnswer, isHealthy, orTellDeath, portTaken, waitUntilReady } from './llama-server-api.ts';
import { launchHint, listeningPort, readBuild, readLog } from './llamafile-log.ts';
import { createTextNumbers } from './ollama-answer.ts';
import { spreadTokens } from './spread-tokens.ts';

const NAME = 'llamafile';
/** ~100 bytes an event, more with probabilities, and a last one with the whole prompt. */
const STREAM_BYTES_MAX = 256 << 20;
const SHOWN_CHARACTERS = 200;
/**
 * Pure. llamafile multiplies matrices with kernels of its own, so the same weights may give other logits than llama.cpp.
 * @param found what stands in for it has not got them
 */
export function cpuKernels({ recordedAs }: Pick<AvailableEngine, 'recordedAs'>): string {
  return recordedAs === undefined ? "llamafile's own CPU kernels" : 'the kernels of another engine';
}

const propsReply = z.object({ default_generation_settings: z.object({ n_ctx: z.int() }).optional() });
const probabilities = z.array(
  z.object({
    probs: z
      .array(z.object({ tok_str: z.string().max(10_000), prob: z.number().nullable() }))
      .max(1_000)
      .optional(),
  }),
);
const event = z.object({
  content: z.string().max(1_000_000),
  stop: z.boolean(),
  /** The alias that it was started with: ours is the run's id. */
  model: z.string().max(10_000).optional(),
  truncated: z.boolean().optional(),
  tokens_evaluated: z.int().nonnegative().optional(),
  tokens_predicted: z.int().nonnegative().optional(),
  timings: z
    .object({
      prompt_n: z.int().nonnegative(),
      prompt_ms: z.number().nonnegative(),
      predicted_n: z.int().nonnegative(),
      predicted_ms: z.number().nonnegative(),
    })
    .optional(),
  completion_probabilities: probabilities.max(1_000_000).optional(),
});
type V1Event = z.infer<typeof event>;

export interface StampedEvent {
  readonly atMs: number;
  readonly data: string;
}

/** What an answer is read with. */
export interface V1Reader {
  readonly port: number;
  readonly runId: string;
  /** v1 names tokens by their text. */
  readonly numberOf: (text: string) => number;
}

export async function connectV1(
  process: EngineProcess,
  request: LaunchRequest,
  timeoutMs: number,
): Promise<EngineSession> {
  const base = `http://127.0.0.1:${request.port}`;
  await waitUntilReady(process, {
    url: `${base}/health`,
    isReady: isHealthy,
    name: NAME,
    timeoutMs,
    checkLog: (log) => refuseOtherPort(log, request.port),
    hintFor: launchHint,
  });
  await findOurs({ base, name: NAME, request });
  const props = await getAnswer(propsReply, { base, name: NAME, path: '/props' });
  const info = describe(process, request, props.default_generation_settings?.n_ctx ?? null);
  const reader = { port: request.port, runId: request.runId, numberOf: createTextNumbers() };
  return { info, generate: (ask) => orTellDeath(process, NAME, () => complete(base, reader, ask)) };
}

/** A taken port makes it serve on the next one, while the stranger on ours answers. */
function refuseOtherPort(log: string, asked: number): void {
  const port = listeningPort(log);
  if (port !== null && port !== asked) throw portTaken(asked, `unknown; llamafile moved to port ${port}`);
}

function describe(process: EngineProcess, request: LaunchRequest, contextTokens: number | null): LoadedInfo {
  const stdout = process.stdoutTail?.() ?? '';
  const { settings, device, vocabularySize, fellBack } = readLog({ stderr: process.stderrTail(), stdout });
  return {
    settings: { ...settings, ...(contextTokens === null ? {} : { contextTokens }) },
    build: { ...request.engine.build, ...readBuild(stdout) },
    device,
    vocabularySize,
    modelName: null,
    engineLoadMs: null,
    numericMode: [
      ...(device === 'cpu' ? [cpuKernels(request.engine)] : []),
      `${settings.kvType ?? request.settings.kvType} KV cache`,
      ...(fellBack ? ['asked for a GPU, found none and fell back to the CPU'] : []),
    ].join(', '),
  };
}

async function complete(base: string, reader: V1Reader, ask: GenerateRequest): Promise<Generation> {
  const options = { timeoutMs: ask.timeoutMs, maxBytes: STREAM_BYTES_MAX };
  const { startedMs, chunks } = await streamSse(`${base}/completion`, requestBody(ask), options);
  const events = parseSse(chunks).map(({ atMs, data }) => ({ atMs: atMs - startedMs, data }));
  return readCompletion(events, reader, () => Buffer.concat(chunks.map(({ bytes }) => bytes)).toString('utf8'));
}

/**
 * Greedy, exactly so many tokens, nothing cached. `cache_prompt: true` would reuse even what requests without it left
 * behind; `ignore_eos` masks the EOS token alone, so every other end is masked by id; the object form of `logit_bias`
 * would be ignored; 0.6.2 penalises repetition unless told otherwise; and for 0 tokens it generates one.
 */
export function requestBody({
  promptTokens,
  generateTokens,
  bannedTokens,
  topLogprobs,
}: GenerateRequest): Record<string, unknown> {
  assert(generateTokens > 0, 'v1 cannot generate nothing');
  return {
    prompt: promptTokens,
    n_predict: generateTokens,
    stream: true,
    cache_prompt: false,
    ignore_eos: true,
    logit_bias: bannedTokens.map((token) => [token, false]),
    seed: 0,
    temperature: 0,
    top_k: 0,
    top_p: 1,
    min_p: 0,
    tfs_z: 1,
    typical_p: 1,
    mirostat: 0,
    repeat_penalty: 1,
    presence_penalty: 0,
    frequency_penalty: 0,
    ...(topLogprobs > 0 ? { n_probs: topLogprobs } : {}),
  };
}

/**
 * Pure: one streamed answer. Times are ms since the request was sent. It ends with an event that says `stop`, and has no
 * [DONE] and no usage.
 * @param rawText the whole answer, asked for when the last event is missing: errors come on lines of another name
 * @throws AppError `engine-protocol`, `engine-request-failed`, or `port-taken` when another server answered
 */
export function readCompletion(
  events: readonly StampedEvent[],
  reader: V1Reader,
  rawText: () => string = () => '',
): Generation {
  const pieces: { atMs: number; text: string }[] = [];
  let firstTokenLogprobs: readonly TokenLogprob[] = [];
  for (const { atMs, data } of events) {
    const item = readEvent(data);
    if (firstTokenLogprobs.length === 0) firstTokenLogprobs = logprobsOf(item, reader.numberOf);
    if (!item.stop) pieces.push({ atMs, text: item.content });
    else return toGeneration(pieces, { atMs, item }, { reader, firstTokenLogprobs });
  }
  const told = /^error: (.*)/m.exec(rawText())?.[1];
  if (told !== undefined)
    throw new AppError('engine-request-failed', `${NAME} answered: ${told.slice(0, SHOWN_CHARACTERS)}`);
  throw new AppError(
    'engine-protocol',
    `${NAME}'s answer stopped after ${pieces.length} tokens without its last event`,
  );
}

function readEvent(data: string): V1Event {
  try {
    return event.parse(JSON.parse(data));
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
  { atMs, item }: { readonly atMs: number; readonly item: V1Event },
  { reader, firstTokenLogprobs }: { reader: V1Reader; firstTokenLogprobs: readonly TokenLogprob[] },
): Generation {
  const { model, timings, tokens_evaluated: evaluated, tokens_predicted: predicted } = item;
  if (model !== reader.runId) throw portTaken(reader.port, model ?? 'unknown');
  if (evaluated === undefined || predicted === undefined || predicted < pieces.length) {
    throw new AppError(
      'engine-protocol',
      `${NAME} sent ${pieces.length} tokens and counted ${predicted ?? 'none'} (of a prompt of ${evaluated ?? 'unknown length'})`,
    );
  }
  // Tokens that are a part of a character come with the one that completes it, or at the end.
  const times = pieces.length === 0 && predicted > 0 ? [atMs] : pieces.map((piece) => piece.atMs);
  return {
    tokens: [],
    generatedTokenCount: predicted,
    text: pieces.map(({ text }) => text).join(''),
    eventMs: times,
    eventTokenCounts: spreadTokens(times, predicted),
    promptTokenCount: evaluated,
    // It has no counter: what was not computed came from the cache.
    cachedTokenCount: timings === undefined ? null : Math.max(0, evaluated - timings.prompt_n),
    truncated: item.truncated ?? null,
    engineTimings: parseTimings(item),
    firstTokenLogprobs,
  };
}

function logprobsOf({ completion_probabilities: list }: V1Event, numberOf: V1Reader['numberOf']): TokenLogprob[] {
  return (list?.[0]?.probs ?? []).flatMap(({ tok_str: text, prob }) =>
    prob === null || prob <= 0 ? [] : [{ token: numberOf(text), logprob: Math.log(prob) }],
  );
}

/** `predicted_ms` starts at the first token while `predicted_n` counts it: n - 1 intervals. One token "took" 0.004 ms. */
export function parseTimings({ timings }: Pick<V1Event, 'timings'>): EngineTimings | null {
  if (timings === undefined) return null;
  return {
    prefillMs: timings.prompt_ms,
    prefillTokenCount: timings.prompt_n,
    decodeMs: timings.predicted_ms,
    decodeIntervalCount: Math.max(0, timings.predicted_n - 1),
  };
}
