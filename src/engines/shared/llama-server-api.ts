/**
 * The HTTP API of llama.cpp's server, as far as runoff uses it: /health, /v1/models, /props, /slots, /completion.
 * Source: tools/server/README.md of llama.cpp, and answers of real servers (test/engines/recorded).
 */
import { z } from 'zod';
import { AppError, messageOf } from '../../core/errors.ts';
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
import { monotonicMs, sleep } from '../../platform/clock.ts';
import { getJson, parseSse, streamSse } from '../../platform/network/http.ts';
import { parseSystemInfo } from './llama-system-info.ts';

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

/** Waits until the server answers for our run id with the model loaded. */
export async function connectLlamaServer(
  process: EngineProcess,
  request: LaunchRequest,
  timeoutMs: number,
): Promise<EngineSession> {
  const base = `http://127.0.0.1:${request.port}`;
  await waitUntilHealthy(process, base, timeoutMs);
  const info = await identify(process, request, base);
  return { info, generate: (ask) => completeOrTellDeath(process, base, ask) };
}

async function waitUntilHealthy(process: EngineProcess, base: string, timeoutMs: number): Promise<void> {
  const deadline = monotonicMs() + timeoutMs;
  let gone: { code: number | null; signal: string | null } | null = null;
  void process.exited.then((exit) => (gone = exit));
  let last = 'no answer';
  while (monotonicMs() < deadline) {
    if (gone !== null) throw died(process, gone);
    try {
      const health = await getJson(`${base}/health`, { timeoutMs: POLL_TIMEOUT_MS, maxBytes: ANSWER_BYTES_MAX });
      if (z.object({ status: z.literal('ok') }).safeParse(health).success) return;
      last = JSON.stringify(health).slice(0, 200);
    } catch (error) {
      last = messageOf(error);
    }
    await sleep(POLL_MS);
  }
  throw new AppError(
    'engine-timeout',
    `llama-server did not load the model in ${Math.round(timeoutMs / 1000)} s (last: ${last})`,
    {
      hint: 'A large model on a slow disk needs longer: run it once by hand to see what it prints.',
      context: { stderr: process.stderrTail() },
    },
  );
}

function died(process: EngineProcess, exit: { code: number | null; signal: string | null }): AppError {
  const lines = process.stderrTail().trim().split('\n').slice(-8).join('\n');
  return new AppError(
    'engine-launch-failed',
    `llama-server ended while loading (${exit.signal ?? `exit code ${exit.code}`}):\n${lines}`,
    {
      hint: 'The last lines above are its own words; an old engine with a new model says "unknown model architecture".',
    },
  );
}

/** A server on our port that is not ours (ports can be shared on Linux) would be measured silently: check the run id. */
async function identify(process: EngineProcess, request: LaunchRequest, base: string): Promise<LoadedInfo> {
  const options = { timeoutMs: POLL_TIMEOUT_MS, maxBytes: ANSWER_BYTES_MAX };
  const models = readAnswer(modelsReply, await getJson(`${base}/v1/models`, options), '/v1/models');
  const mine = models.data.find((model) => model.id === request.runId);
  if (mine === undefined) {
    const found = models.data.map((model) => model.id).join(', ');
    throw new AppError('port-taken', `port ${request.port} is answered by another server (model ${found})`, {
      hint: 'Stop the other server, or run again: a new port is chosen every time.',
    });
  }
  const props = readAnswer(propsReply, await getJson(`${base}/props`, options), '/props');
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

function readAnswer<T>(schema: z.ZodType<T>, answer: unknown, path: string): T {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new AppError(
    'engine-protocol',
    `the answer to ${path} is not llama-server's: ${issue?.path.join('.')}: ${issue?.message}`,
    {
      hint: 'Another program may hold the port, or this llama-server is too old or too new.',
    },
  );
}

function deviceFromLog(log: string): LoadedInfo['device'] {
  if (/\bMetal\b/.test(log)) return 'metal';
  if (/\bCUDA\d/.test(log)) return 'cuda';
  return /\bVulkan\d/.test(log) ? 'vulkan' : 'unknown';
}

/** A server that dies takes its connection with it: the death is the cause, the broken connection only its sign. */
async function completeOrTellDeath(process: EngineProcess, base: string, ask: GenerateRequest): Promise<Generation> {
  try {
    return await complete(base, ask);
  } catch (error) {
    const exit = await Promise.race([process.exited, sleep(DEATH_NEWS_MS).then(() => null)]);
    if (exit === null) throw error;
    const lines = process.stderrTail().trim().split('\n').slice(-8).join('\n');
    throw new AppError(
      'engine-died',
      `llama-server died (${exit.signal ?? `exit code ${exit.code}`}) during a request; its last lines:\n${lines}`,
      { cause: error },
    );
  }
}

async function complete(base: string, ask: GenerateRequest): Promise<Generation> {
  const response = await streamSse(`${base}/completion`, requestBody(ask), {
    timeoutMs: ask.timeoutMs,
    maxBytes: STREAM_BYTES_MAX,
  });
  const { startedMs } = response;
  return readCompletion(
    parseSse(response.chunks).map(({ atMs, data }) => ({ atMs: atMs - startedMs, event: readEvent(data) })),
  );
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

export function readEvent(data: string): ServerEvent {
  try {
    return event.parse(JSON.parse(data));
  } catch (error) {
    throw new AppError('engine-protocol', `llama-server sent an event that is not readable: ${data.slice(0, 200)}`, {
      cause: error,
    });
  }
}

/** Pure: one streamed answer as a Generation. Times are ms since the request was sent. */
export function readCompletion(events: readonly { atMs: number; event: ServerEvent }[]): Generation {
  const tokens: number[] = [];
  const eventMs: number[] = [];
  const eventTokenCounts: number[] = [];
  let firstTokenLogprobs: TokenLogprob[] = [];
  let last: ServerEvent | null = null;
  for (const { atMs, event: item } of events) {
    if (item.error !== undefined)
      throw new AppError('engine-request-failed', `llama-server answered: ${item.error.message}`);
    const carried = item.tokens ?? [];
    if (carried.length > 0) {
      if (tokens.length === 0) firstTokenLogprobs = logprobsOf(item);
      tokens.push(...carried);
      eventMs.push(atMs);
      eventTokenCounts.push(carried.length);
    }
    if (item.stop === true) last = item;
  }
  if (last === null)
    throw new AppError(
      'engine-protocol',
      `llama-server's answer stopped after ${tokens.length} tokens without its last event`,
    );
  return {
    tokens,
    eventMs,
    eventTokenCounts,
    firstTokenLogprobs,
    promptTokenCount: last.tokens_evaluated ?? 0,
    cachedTokenCount: last.timings?.cache_n ?? null,
    truncated: last.truncated ?? null,
    engineTimings: parseTimings(last),
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
