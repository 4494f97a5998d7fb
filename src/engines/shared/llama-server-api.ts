/**
 * The HTTP API of llama.cpp's server, as far as runoff uses it: /health, /v1/models, /props, /slots, /completion.
 * Source: tools/server/README.md of llama.cpp, and answers of real servers (test/engines/recorded).
 */
import { z } from 'zod';
import { AppError, messageOf } from '../../core/errors.ts';
import { exitHint, exitText } from '../../core/process-exit.ts';
import type { ProcessExit } from '../../core/process-exit.ts';
import type {
  EngineProcess,
  EngineSession,
  EngineTimings,
  GenerateRequest,
  Generation,
  LaunchRequest,
  LoadedInfo,
  TokenLogprob,
} from '../../core/engine.ts';
import { median } from '../../core/stats/describe.ts';
import { monotonicMs, sleep } from '../../platform/clock.ts';
import { lastLines } from '../../platform/process/byte-tail.ts';
import { getJson, parseSse, streamSse } from '../../platform/network/http.ts';
import { parseSystemInfo } from './llama-system-info.ts';
import { HELD_BACK_MAX, spreadTokens } from './spread-tokens.ts';

/** Loading is polled; 25 ms is far below any load time and far above the cost of a poll. */
const POLL_MS = 25;
const POLL_TIMEOUT_MS = 5_000;
/** The news of a death comes a moment after the end of the connection. */
const DEATH_NEWS_MS = 300;
const ANSWER_BYTES_MAX = 4 << 20;
/** ~1 kB an event and a last one with the whole prompt as text. */
const STREAM_BYTES_MAX = 256 << 20;

const modelsReply = z.object({
  data: z.array(z.object({ id: z.string(), meta: z.object({ n_vocab: z.int().optional() }).nullish() })).max(100),
});
const propsReply = z.object({
  total_slots: z.int(),
  model_path: z.string().max(10_000).optional(),
  build_info: z.string().max(1_000).optional(),
  default_generation_settings: z.object({ n_ctx: z.int() }),
});
const count = z.int().nonnegative();
const event = z.object({
  tokens: z.array(z.int().nonnegative()).max(10_000).optional(),
  content: z.string().optional(),
  stop: z.boolean().optional(),
  truncated: z.boolean().optional(),
  tokens_evaluated: count.optional(),
  timings: z
    .object({
      cache_n: count.optional(),
      prompt_n: count,
      prompt_ms: z.number().nonnegative(),
      predicted_n: count,
      predicted_ms: z.number().nonnegative(),
    })
    .optional(),
  completion_probabilities: z
    .array(z.object({ top_logprobs: z.array(z.object({ id: z.int(), logprob: z.number() })).max(1_000) }))
    .optional(),
  error: z.object({ message: z.string().max(10_000) }).optional(),
});
type ServerEvent = z.infer<typeof event>;

const LLAMA_SERVER = 'llama-server';
/** Of a program that ended, as its last words. */
const LINES_SHOWN = 8;

/** Waits until the server answers for our run id with the model loaded. @param name of the program, for messages */
export async function connectLlamaServer(
  process: EngineProcess,
  request: LaunchRequest,
  timeoutMs: number,
  name: string = LLAMA_SERVER,
): Promise<EngineSession> {
  const base = `http://127.0.0.1:${request.port}`;
  await waitUntilReady(process, { url: `${base}/health`, isReady: isHealthy, name, timeoutMs });
  const info = await identify(process, request, { base, name });
  return { info, generate: (ask) => orTellDeath(process, name, () => complete({ base, name }, ask)) };
}

/** Pure: what /health answers once the model is loaded. */
export function isHealthy(answer: unknown): boolean {
  return z.object({ status: z.literal('ok') }).safeParse(answer).success;
}

export interface ReadinessAsk {
  readonly url: string;
  readonly isReady: (answer: unknown) => boolean;
  /** Of the program, for messages. */
  readonly name: string;
  readonly timeoutMs: number;
  /** Looks at the log before every try, and throws where it tells that the server will never be ready. */
  readonly checkLog?: (log: string) => void;
  /** What to do about the last words of a program that ended; null: nothing is known. */
  readonly hintFor?: (log: string) => string | null;
}

/** Polls until the server says that it is ready: what it logs may come before the model is loaded. */
export async function waitUntilReady(process: EngineProcess, ask: ReadinessAsk): Promise<void> {
  const { url, isReady, name, timeoutMs, checkLog } = ask;
  const deadline = monotonicMs() + timeoutMs;
  let gone: ProcessExit | null = null;
  void process.exited.then((exit) => (gone = exit));
  let last = 'no answer';
  while (monotonicMs() < deadline) {
    if (gone !== null) throw died(process, gone, ask);
    checkLog?.(process.stderrTail());
    try {
      const answer = await getJson(url, { timeoutMs: POLL_TIMEOUT_MS, maxBytes: ANSWER_BYTES_MAX });
      if (isReady(answer)) return;
      last = JSON.stringify(answer).slice(0, 200);
    } catch (error) {
      last = messageOf(error);
    }
    await sleep(POLL_MS);
  }
  throw new AppError(
    'engine-timeout',
    `${name} did not load the model in ${Math.round(timeoutMs / 1000)} s (last: ${last})`,
    {
      hint: 'A large model on a slow disk needs longer: run it once by hand to see what it prints.',
      context: { stderr: process.stderrTail() },
    },
  );
}

function died(process: EngineProcess, exit: ProcessExit, { name, hintFor }: ReadinessAsk): AppError {
  const log = process.stderrTail();
  const lines = lastLines(log, LINES_SHOWN);
  return new AppError('engine-launch-failed', `${name} ended while loading (${exitText(exit)}):\n${lines}`, {
    hint:
      hintFor?.(log) ??
      exitHint(exit) ??
      'The last lines above are its own words; an old engine with a new model says "unknown model architecture".',
  });
}

/** A server on our port that is not ours (ports can be shared on Linux) would be measured silently: check the run id. */
async function identify(
  process: EngineProcess,
  request: LaunchRequest,
  { base, name }: { base: string; name: string },
): Promise<LoadedInfo> {
  const mine = await findOurs({ base, name, request });
  const props = await getAnswer(propsReply, { base, name, path: '/props' });
  const log = process.stderrTail();
  const system = /system_info:.*/.exec(log)?.[0] ?? '';
  const threads = /n_threads = (\d+)/.exec(log)?.[1];
  const build = { ...request.engine.build, ...parseSystemInfo(system) };
  const onGpu = /offloaded (\d+)\/\d+ layers/.exec(log)?.[1] ?? '0';
  return {
    settings: {
      contextTokens: props.default_generation_settings.n_ctx,
      ...(threads === undefined ? {} : { threads: Number(threads) }),
    },
    build: { ...build, library: props.build_info === undefined ? build.library : `llama.cpp ${props.build_info}` },
    device: onGpu === '0' ? 'cpu' : deviceFromLog(log),
    vocabularySize: mine.meta?.n_vocab ?? null,
    modelName: props.model_path ?? null,
    engineLoadMs: null,
    numericMode: onGpu === '0' ? 'int8 activations, f16 KV cache' : 'f16 KV cache',
  };
}

/** Ours among the models of the server that answers. @throws AppError `port-taken` when it is somebody else's. */
export async function findOurs({
  base,
  name,
  request,
}: {
  readonly base: string;
  readonly name: string;
  readonly request: Pick<LaunchRequest, 'port' | 'runId'>;
}): Promise<z.infer<typeof modelsReply>['data'][number]> {
  const models = await getAnswer(modelsReply, { base, name, path: '/v1/models' });
  const mine = models.data.find((model) => model.id === request.runId);
  if (mine !== undefined) return mine;
  throw portTaken(request.port, models.data.map((model) => model.id).join(', '));
}

export function portTaken(port: number, model: string): AppError {
  return new AppError('port-taken', `port ${port} is answered by another server (model ${model.slice(0, 200)})`, {
    hint: 'Stop the other server, or run again: a new port is chosen every time.',
  });
}

/** GETs and checks. @throws AppError `engine-protocol` for an answer of another shape, or as `getJson` does */
export async function getAnswer<T>(
  schema: z.ZodType<T>,
  { base, name, path }: { readonly base: string; readonly name: string; readonly path: string },
): Promise<T> {
  const options = { timeoutMs: POLL_TIMEOUT_MS, maxBytes: ANSWER_BYTES_MAX };
  const parsed = schema.safeParse(await getJson(`${base}${path}`, options));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new AppError(
    'engine-protocol',
    `the answer to ${path} is not ${name}'s: ${issue?.path.join('.')}: ${issue?.message}`,
    { hint: `Another program may hold the port, or this ${name} is too old or too new.` },
  );
}

function deviceFromLog(log: string): LoadedInfo['device'] {
  if (/\bMetal\b/.test(log)) return 'metal';
  if (/\bCUDA\d/.test(log)) return 'cuda';
  return /\bVulkan\d/.test(log) ? 'vulkan' : 'unknown';
}

/** A server that dies takes its connection with it: the death is the cause, the broken connection only its sign. */
export async function orTellDeath<T>(process: EngineProcess, name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const exit = await Promise.race([process.exited, sleep(DEATH_NEWS_MS).then(() => null)]);
    if (exit === null) throw error;
    const lines = lastLines(process.stderrTail(), LINES_SHOWN);
    throw new AppError('engine-died', `${name} died (${exitText(exit)}) during a request; its last lines:\n${lines}`, {
      cause: error,
    });
  }
}

async function complete({ base, name }: { base: string; name: string }, ask: GenerateRequest): Promise<Generation> {
  const response = await streamSse(`${base}/completion`, requestBody(ask), {
    timeoutMs: ask.timeoutMs,
    maxBytes: STREAM_BYTES_MAX,
  });
  const { startedMs } = response;
  const events = parseSse(response.chunks).map(({ atMs, data }) => ({
    atMs: atMs - startedMs,
    event: readEvent(data, name),
  }));
  return readCompletion(events, name);
}

/** Greedy, nothing cached, no early end: all end-of-generation tokens are banned by id, too. */
export function requestBody(ask: GenerateRequest): Record<string, unknown> {
  return {
    prompt: ask.promptTokens,
    n_predict: ask.generateTokens,
    stream: true,
    return_tokens: true,
    cache_prompt: false,
    ignore_eos: true,
    logit_bias: ask.bannedTokens.map((token) => [token, false]),
    temperature: 0,
    top_k: 1,
    repeat_penalty: 1,
    samplers: ['top_k', 'temperature'],
    ...(ask.topLogprobs > 0 ? { n_probs: ask.topLogprobs } : {}),
  };
}

export function readEvent(data: string, name: string = LLAMA_SERVER): ServerEvent {
  try {
    return event.parse(JSON.parse(data));
  } catch (error) {
    throw new AppError('engine-protocol', `${name} sent an event that is not readable: ${data.slice(0, 200)}`, {
      cause: error,
    });
  }
}

/** Pure: one streamed answer as a Generation. Times are ms since the request was sent. */
export function readCompletion(
  events: readonly { atMs: number; event: ServerEvent }[],
  name: string = LLAMA_SERVER,
): Generation {
  const tokens: number[] = [];
  const eventMs: number[] = [];
  const eventTokenCounts: number[] = [];
  let characterEvents = 0;
  let firstTokenLogprobs: TokenLogprob[] = [];
  let last: { readonly atMs: number; readonly event: ServerEvent } | null = null;
  for (const { atMs, event: item } of events) {
    if (item.error !== undefined)
      throw new AppError('engine-request-failed', `${name} answered: ${item.error.message}`);
    const carried = item.tokens ?? [];
    if (carried.length > 0) {
      if (tokens.length === 0) firstTokenLogprobs = logprobsOf(item);
      tokens.push(...carried);
      eventMs.push(atMs);
      eventTokenCounts.push(carried.length);
      if (/[^\0-\x7f]/.test(item.content ?? '')) characterEvents += 1;
    }
    if (item.stop === true) last = { atMs, event: item };
  }
  if (last === null)
    throw new AppError(
      'engine-protocol',
      `${name}'s answer stopped after ${tokens.length} tokens without its last event`,
    );
  const { event: end } = last;
  // Before each event with such a character, and at the end: more than that the server only claims.
  const mostHeldBack = HELD_BACK_MAX * (characterEvents + 1);
  const counted = { endMs: last.atMs, generated: end.timings?.predicted_n ?? 0, mostHeldBack };
  return {
    ...withHeldBack({ tokens, eventMs, eventTokenCounts }, counted),
    firstTokenLogprobs,
    promptTokenCount: end.tokens_evaluated ?? 0,
    cachedTokenCount: end.timings?.cache_n ?? null,
    truncated: end.truncated ?? null,
    engineTimings: parseTimings(end),
  };
}

type Timeline = Pick<Generation, 'tokens' | 'eventMs' | 'eventTokenCounts' | 'generatedTokenCount'>;

/**
 * The server sends no event, and never an id, for a token that leaves a character unfinished. Its own count has it; the
 * time is in the wait for the event after it, which is the last one where the answer ends inside a character. Ids are
 * kept up to the first such place: behind it they are one position off.
 */
function withHeldBack(
  { tokens, eventMs, eventTokenCounts }: Timeline,
  {
    endMs,
    generated,
    mostHeldBack,
  }: { readonly endMs: number; readonly generated: number; readonly mostHeldBack: number },
): Timeline {
  const heldBack = generated - tokens.length;
  const isTokenEach = tokens.length === eventMs.length;
  if (!isTokenEach || heldBack <= 0 || heldBack > mostHeldBack) return { tokens, eventMs, eventTokenCounts };
  const waits = eventMs.slice(1).map((atMs, index) => atMs - (eventMs[index] ?? 0));
  const endsInside = waits.length === 0 || endMs - (eventMs.at(-1) ?? 0) > median(waits) / 2;
  const times = endsInside ? [...eventMs, endMs] : eventMs;
  const counts = spreadTokens(times, generated);
  const first = counts.findIndex((inEvent) => inEvent > 1);
  return {
    tokens: first < 0 ? tokens : tokens.slice(0, first),
    eventMs: times,
    eventTokenCounts: counts,
    generatedTokenCount: generated,
  };
}

function logprobsOf(item: ServerEvent): TokenLogprob[] {
  return (item.completion_probabilities?.[0]?.top_logprobs ?? []).map(({ id, logprob }) => ({ token: id, logprob }));
}

/** `predicted_ms` starts at the first token while `predicted_n` counts it: n - 1 intervals. */
export function parseTimings({ timings }: ServerEvent): EngineTimings | null {
  if (timings === undefined) return null;
  return {
    prefillMs: timings.prompt_ms,
    prefillTokenCount: timings.prompt_n,
    decodeMs: timings.predicted_ms,
    decodeIntervalCount: Math.max(0, timings.predicted_n - 1),
  };
}
