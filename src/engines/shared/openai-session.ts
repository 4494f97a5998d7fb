/**
 * Talks to a server with the OpenAI API. Only GET /models and POST /completions are used: the chat endpoint puts a
 * template around the prompt, which is other work.
 */
import { z } from 'zod';
import { assert } from '../../core/assert.ts';
import { AppError } from '../../core/errors.ts';
import type { EngineProcess, EngineSession, GenerateRequest, LaunchRequest } from '../../core/engine.ts';
import { monotonicMs } from '../../platform/clock.ts';
import { getJson, parseSse, streamSse } from '../../platform/network/http.ts';
import { findListenerPid } from '../../platform/network/listener-pid.ts';
import { createTextNumbers } from './ollama-answer.ts';
import { keyHeaders, KEY_VARIABLE, loopbackPort, parseAddress, withoutKey } from './openai-address.ts';
import type { ServerAddress } from './openai-address.ts';
import { readAnswer, rejectUnstreamed } from './openai-answer.ts';
import type { OpenAiAnswer } from './openai-answer.ts';

const ANSWER_BYTES_MAX = 4 << 20;
/** ~300 bytes an event, and 20 log-probabilities with the first. */
const STREAM_BYTES_MAX = 64 << 20;
const MODELS_MAX = 10_000;
const MODELS_SHOWN = 10;
const NAME_SHOWN_CHARACTERS = 80;
/** Old servers refuse more. */
const TOP_LOGPROBS_MAX = 5;
/** A probe of the fields that the server takes; its words do not matter. */
const PROBE: GenerateRequest = {
  promptTokens: [],
  promptText: 'One two three',
  generateTokens: 2,
  bannedTokens: [0],
  topLogprobs: 1,
  timeoutMs: 0,
};

const modelsReply = z.object({
  data: z
    .array(
      z.object({
        id: z.string().min(1).max(1_000),
        owned_by: z.string().max(1_000).nullish(),
        max_model_len: z.int().positive().nullish(),
        // llama.cpp's server tells the size of the vocabulary, the context of a slot and the file type.
        meta: z
          .object({
            n_vocab: z.int().positive().nullish(),
            n_ctx: z.int().positive().nullish(),
            ftype: z.string().max(1_000).nullish(),
          })
          .nullish()
          .catch(null),
      }),
    )
    .max(MODELS_MAX),
});
export type ServedModel = z.infer<typeof modelsReply>['data'][number];

/** Groups of fields that a server may refuse. */
const FIELD_GROUPS = {
  logprobs: 'log-probabilities',
  extensions: 'ignore_eos, min_tokens and cache_prompt',
  masks: 'logit_bias',
} as const;
type FieldGroup = keyof typeof FIELD_GROUPS;

/** What is left out, try by try: as little as the server allows. */
const REFUSALS: readonly (readonly FieldGroup[])[] = [
  [],
  ['logprobs'],
  ['extensions'],
  ['masks'],
  ['logprobs', 'extensions'],
  ['logprobs', 'masks'],
  ['extensions', 'masks'],
  ['logprobs', 'extensions', 'masks'],
];

interface Link {
  readonly base: string;
  readonly model: string;
  readonly key: string | undefined;
  readonly refused: ReadonlySet<FieldGroup>;
}

/** @throws AppError `engine-protocol` for an answer that is no list of models, or as `getJson` does */
export async function readModels(base: string, timeoutMs: number): Promise<readonly ServedModel[]> {
  const key = process.env[KEY_VARIABLE];
  return withoutKey(key, async () => {
    const headers = keyHeaders(base, key);
    const answer = await getJson(`${base}/models`, { timeoutMs, maxBytes: ANSWER_BYTES_MAX, headers });
    const parsed = modelsReply.safeParse(answer);
    if (parsed.success) return parsed.data.data;
    const issue = parsed.error.issues[0];
    throw new AppError(
      'engine-protocol',
      `${base}/models did not answer with a list of models: ${issue?.path.join('.')}: ${issue?.message}`,
    );
  });
}

/** Pure. @throws AppError `engine-unavailable` when there is no such model, or several and none was named. */
export function chooseModel(
  models: readonly ServedModel[],
  { wanted, base }: { wanted: string | null; base: string },
): ServedModel {
  const only = models.length === 1 ? models[0] : undefined;
  const chosen = wanted === null ? only : models.find(({ id }) => id === wanted);
  if (chosen !== undefined) return chosen;
  const shown = models.slice(0, MODELS_SHOWN).map(({ id }) => shortened(id));
  const list = models.length === 0 ? 'none' : [...shown, ...(models.length > MODELS_SHOWN ? ['…'] : [])].join(', ');
  const what =
    wanted === null ? `${base} serves ${models.length} models` : `${base} does not serve ${shortened(wanted)}`;
  throw new AppError('engine-unavailable', `${what}: ${list}`, {
    hint: `Name one of them: --engine openai=${base}#MODEL`,
  });
}

/**
 * The model that is asked for. A list that cannot be read is no reason to give up a model that was named:
 * mlx_lm.server's fails where there is no Hugging Face cache.
 * @throws AppError as `readModels` and `chooseModel` do
 */
export async function findModel({ base, model: wanted }: ServerAddress, timeoutMs: number): Promise<ServedModel> {
  let models: readonly ServedModel[];
  try {
    models = await readModels(base, timeoutMs);
  } catch (error) {
    if (wanted !== null && isUnlisted(error)) return { id: wanted };
    throw error;
  }
  return chooseModel(models, { wanted, base });
}

function isUnlisted(error: unknown): boolean {
  if (!(error instanceof AppError)) return false;
  return error.code === 'engine-protocol' || (error.code === 'engine-request-failed' && !isRefusal(statusOf(error)));
}

/**
 * Whether texts can be completed there. A request without a prompt is refused everywhere before any work.
 * @throws AppError when nobody answers
 */
export async function hasCompletions(base: string, timeoutMs: number): Promise<boolean> {
  const key = process.env[KEY_VARIABLE];
  try {
    const headers = keyHeaders(base, key);
    await streamSse(`${base}/completions`, {}, { timeoutMs, maxBytes: ANSWER_BYTES_MAX, headers });
    return true;
  } catch (error) {
    const status = statusOf(error);
    if (status === undefined) throw error;
    return status !== 404 && status !== 405 && status !== 501;
  }
}

/** Finds out which fields the server takes, and whose process it is. */
export async function connectOpenAi(
  _: EngineProcess,
  request: LaunchRequest,
  timeoutMs: number,
): Promise<EngineSession> {
  const address = parseAddress(request.engine.location);
  assert(address !== null, 'detection checked the address');
  const { base } = address;
  const key = process.env[KEY_VARIABLE];
  const model = await findModel(address, timeoutMs);
  const numberOf = createTextNumbers();
  const { link, probe } = await probeFields({ base, model: model.id, key }, timeoutMs, numberOf);
  const port = loopbackPort(base);
  const context = model.max_model_len ?? model.meta?.n_ctx ?? null;
  const { fingerprint } = probe;
  const stopped = new AbortController();
  return {
    info: {
      settings: context === null ? {} : { contextTokens: context },
      build: { ...request.engine.build, library: fingerprint === null ? null : shortened(fingerprint) },
      device: 'unknown',
      vocabularySize: model.meta?.n_vocab ?? null,
      // A name that the server's owner chose proves nothing about the file.
      modelName: null,
      engineLoadMs: null,
      numericMode: describeMode(link, probe, port !== null),
      serverPid: port === null ? null : await findListenerPid(port),
    },
    generate: async (ask) => (await complete(link, ask, numberOf, stopped.signal)).generation,
    // A server that goes on running would go on with an answer that nobody reads.
    close: async () => stopped.abort(),
  };
}

async function probeFields(
  server: Omit<Link, 'refused'>,
  timeoutMs: number,
  numberOf: (text: string) => number,
): Promise<{ link: Link; probe: OpenAiAnswer }> {
  const deadlineMs = monotonicMs() + timeoutMs;
  let last: unknown;
  for (const refused of REFUSALS) {
    const link = { ...server, refused: new Set(refused) };
    try {
      const leftMs = Math.max(0, deadlineMs - monotonicMs());
      return { link, probe: await complete(link, { ...PROBE, timeoutMs: leftMs }, numberOf) };
    } catch (error) {
      last = error;
      if (statusOf(error) !== 400 && statusOf(error) !== 422) break;
    }
  }
  throw isRefusal(statusOf(last)) ? withKeyHint(last) : last;
}

function isRefusal(status: unknown): boolean {
  return status === 401 || status === 403;
}

/** What to do about a refusal that a key would avoid. */
export function withKeyHint(error: unknown): unknown {
  if (!(error instanceof AppError) || !isRefusal(statusOf(error))) return error;
  const isSet = (process.env[KEY_VARIABLE] ?? '') !== '';
  return new AppError('engine-unavailable', error.message, {
    hint: isSet ? `The server does not take the key in ${KEY_VARIABLE}.` : `Put its key into ${KEY_VARIABLE}.`,
    context: error.context,
  });
}

function describeMode({ refused }: Link, { reasoningTokenCount }: OpenAiAnswer, isHere: boolean): string {
  return [
    'unknown: the server does not tell',
    ...[...refused].map((group) => `it refuses ${FIELD_GROUPS[group]}`),
    ...(reasoningTokenCount > 0 ? ['reasoning tokens are counted as generated ones'] : []),
    ...(isHere ? [] : ['on another machine or behind a network: times include it']),
  ].join('; ');
}

async function complete(
  link: Link,
  ask: GenerateRequest,
  numberOf: (text: string) => number,
  signal?: AbortSignal,
): Promise<OpenAiAnswer> {
  const { base, key } = link;
  return withoutKey(key, async () => {
    const options = {
      timeoutMs: ask.timeoutMs,
      maxBytes: STREAM_BYTES_MAX,
      headers: keyHeaders(base, key),
      ...(signal === undefined ? {} : { signal }),
    };
    const { startedMs, chunks } = await streamSse(`${base}/completions`, requestBody(link, ask), options);
    const events = parseSse(chunks);
    if (events.length === 0) rejectUnstreamed(Buffer.concat(chunks.map(({ bytes }) => bytes)).toString('utf8'));
    return readAnswer(
      events.map(({ atMs, data }) => ({ atMs: atMs - startedMs, data })),
      numberOf,
    );
  });
}

/** Greedy, exactly so many tokens, nothing cached, as far as the server takes these fields. */
export function requestBody(
  { model, refused }: Pick<Link, 'model' | 'refused'>,
  { promptText, generateTokens, bannedTokens, topLogprobs }: GenerateRequest,
): Record<string, unknown> {
  assert(promptText !== undefined, 'the completions endpoint gets text');
  const bias = Object.fromEntries(bannedTokens.map((token) => [String(token), -100]));
  return {
    model,
    prompt: promptText,
    max_tokens: generateTokens,
    // Nothing else that greedy decoding does not need: TGI refuses top_p 1, and a seed keeps MLX from batching.
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
    // llama.cpp and vLLM know ignore_eos, vLLM min_tokens, llama.cpp cache_prompt; most others ignore them.
    ...(refused.has('extensions') ? {} : { ignore_eos: true, min_tokens: generateTokens, cache_prompt: false }),
    ...(refused.has('masks') || bannedTokens.length === 0 ? {} : { logit_bias: bias }),
    ...(topLogprobs > 0 && !refused.has('logprobs') ? { logprobs: Math.min(topLogprobs, TOP_LOGPROBS_MAX) } : {}),
  };
}

function statusOf(error: unknown): unknown {
  return error instanceof AppError ? error.context['status'] : undefined;
}

/** A name from outside, on one line. */
export function shortened(name: string): string {
  const line = name.replaceAll(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '?');
  return line.length <= NAME_SHOWN_CHARACTERS ? line : `${line.slice(0, NAME_SHOWN_CHARACTERS)}…`;
}
