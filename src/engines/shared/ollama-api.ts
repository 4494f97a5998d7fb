/**
 * Ollama's HTTP API beside /api/generate, as far as runoff uses it. Source, looked up on 2026-11-25:
 * https://github.com/ollama/ollama/blob/main/docs/api.md, and server/routes.go there for status codes.
 */
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { callHttp } from '../../platform/network/http-call.ts';
import type { HttpReply } from '../../platform/network/http-call.ts';
import { getJson, streamSse } from '../../platform/network/http.ts';
import { parseNdjson } from '../../platform/network/ndjson.ts';

const ANSWER_BYTES_MAX = 16 << 20;
/** With the whole vocabulary and its merges as JSON: some 10 MB for 250,000 tokens. */
const SHOW_BYTES_MAX = 256 << 20;
const VOCABULARY_MAX = 5_000_000;
/** Of an answer in our message. */
const TEXT_SHOWN_CHARACTERS = 500;

/** A server, and how long it may take for what is asked. */
export interface OllamaServer {
  /** `http://HOST:PORT`. */
  readonly base: string;
  readonly timeoutMs: number;
}

export interface ShownModel {
  /** SHA-256 of the file that the model's weights are read from; null when the answer has none. */
  readonly weightsSha256: string | null;
  readonly vocabularySize: number | null;
}

export interface LoadedModel {
  /** Context of one request, tokens; null where this version does not tell. */
  readonly contextTokens: number | null;
  /** Part of the model in GPU memory. */
  readonly vramBytes: number;
}

const versionReply = z.object({ version: z.string().min(1).max(100) });
const showReply = z.object({
  modelfile: z.string().max(5_000_000).optional(),
  model_info: z.object({ 'tokenizer.ggml.tokens': z.array(z.unknown()).max(VOCABULARY_MAX).nullish() }).nullish(),
});
const psReply = z.object({
  models: z
    .array(
      z.object({
        name: z.string().max(1_000),
        size_vram: z.number().nonnegative().optional(),
        context_length: z.int().nonnegative().optional(),
      }),
    )
    .max(1_000)
    .nullable(),
});
const loadReply = z.object({ done: z.literal(true) });
const createLine = z.object({ status: z.string().max(10_000).optional(), error: z.string().max(100_000).optional() });
const errorReply = z.object({ error: z.string().max(100_000) });

/** @throws AppError `engine-request-failed`, `engine-timeout` or `engine-protocol`, like all below. */
export async function readVersion({ base, timeoutMs }: OllamaServer): Promise<string> {
  const answer = await getJson(`${base}/api/version`, { timeoutMs, maxBytes: ANSWER_BYTES_MAX });
  return read(versionReply, answer, '/api/version').version;
}

/** What the server has under this name, null when it has nothing: our own name is known to our own server only. */
export async function showModel({ base, timeoutMs }: OllamaServer, model: string): Promise<ShownModel | null> {
  const reply = await callHttp(`${base}/api/show`, {
    method: 'POST',
    body: { json: { model, verbose: true } },
    timeoutMs,
    maxBytes: SHOW_BYTES_MAX,
  });
  if (reply.status === 404) return null;
  const { modelfile, model_info: info } = read(showReply, jsonOf(reply, '/api/show'), '/api/show');
  const vocabularySize = info?.['tokenizer.ggml.tokens']?.length ?? 0;
  return { weightsSha256: weightsOf(modelfile ?? ''), vocabularySize: vocabularySize > 0 ? vocabularySize : null };
}

/** A Modelfile names the weights as `FROM /folder/blobs/sha256-DIGEST`; lines before it are comments. */
function weightsOf(modelfile: string): string | null {
  return /^FROM\s.*\bsha256[-:]([0-9a-f]{64})\b/m.exec(modelfile)?.[1] ?? null;
}

/** Whether the server's store holds a file with this SHA-256. */
export async function hasBlob({ base, timeoutMs }: OllamaServer, sha256: string): Promise<boolean> {
  const path = `/api/blobs/sha256:${sha256}`;
  const reply = await callHttp(`${base}${path}`, { method: 'HEAD', timeoutMs, maxBytes: ANSWER_BYTES_MAX });
  if (reply.status === 200) return true;
  if (reply.status === 404) return false;
  throw refused(reply, path);
}

/** Uploads a file; the server hashes what arrives and refuses it when the SHA-256 is another. */
export async function pushBlob({ base, timeoutMs }: OllamaServer, sha256: string, file: string): Promise<void> {
  const path = `/api/blobs/sha256:${sha256}`;
  const call = { method: 'POST', body: { file }, timeoutMs, maxBytes: ANSWER_BYTES_MAX } as const;
  const reply = await callHttp(`${base}${path}`, call);
  if (reply.status !== 200 && reply.status !== 201) throw refused(reply, path);
}

/** Makes a model from a file of the store. The template passes a prompt on as it is; raw requests do not use it. */
export async function createModel({ base, timeoutMs }: OllamaServer, model: string, sha256: string): Promise<void> {
  const body = { model, files: { 'model.gguf': `sha256:${sha256}` }, template: '{{ .Prompt }}', stream: true };
  const { chunks } = await streamSse(`${base}/api/create`, body, { timeoutMs, maxBytes: ANSWER_BYTES_MAX });
  let last = 'nothing';
  for (const { line } of parseNdjson(chunks)) {
    const { status, error } = read(createLine, parse(line, '/api/create'), '/api/create');
    if (error !== undefined) throw new AppError('engine-request-failed', `Ollama cannot make the model: ${error}`);
    last = status ?? last;
  }
  if (last !== 'success')
    throw new AppError('engine-protocol', `Ollama did not say that the model is made (last: ${last})`);
}

/** Loads the model with these options, without a prompt. */
export async function loadModel({ base, timeoutMs }: OllamaServer, body: Record<string, unknown>): Promise<void> {
  const call = { method: 'POST', body: { json: body }, timeoutMs, maxBytes: ANSWER_BYTES_MAX } as const;
  const reply = await callHttp(`${base}/api/generate`, call);
  read(loadReply, jsonOf(reply, '/api/generate'), '/api/generate');
}

/** The model as it is loaded now; null when it is not loaded. */
export async function loadedModel({ base, timeoutMs }: OllamaServer, model: string): Promise<LoadedModel | null> {
  const answer = await getJson(`${base}/api/ps`, { timeoutMs, maxBytes: ANSWER_BYTES_MAX });
  const { models } = read(psReply, answer, '/api/ps');
  const mine = models?.find(({ name }) => name === model || name === `${model}:latest`);
  if (mine === undefined) return null;
  return { contextTokens: mine.context_length ?? null, vramBytes: mine.size_vram ?? 0 };
}

/** Unloads the model and removes it from the store; files that another model uses stay. */
export async function deleteModel({ base, timeoutMs }: OllamaServer, model: string): Promise<void> {
  const limits = { timeoutMs, maxBytes: ANSWER_BYTES_MAX };
  await callHttp(`${base}/api/generate`, { method: 'POST', body: { json: { model, keep_alive: 0 } }, ...limits });
  const reply = await callHttp(`${base}/api/delete`, { method: 'DELETE', body: { json: { model } }, ...limits });
  if (reply.status !== 200 && reply.status !== 404) throw refused(reply, '/api/delete');
}

function jsonOf(reply: HttpReply, path: string): unknown {
  if (reply.status !== 200) throw refused(reply, path);
  return parse(reply.text, path);
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new AppError(
      'engine-protocol',
      `the answer to ${path} is not JSON: ${text.slice(0, TEXT_SHOWN_CHARACTERS)}`,
      {
        cause: error,
      },
    );
  }
}

/** Errors are `{"error": "…"}`, whatever the status. */
function refused({ status, text }: HttpReply, path: string): AppError {
  let said = text;
  try {
    said = errorReply.parse(JSON.parse(text)).error;
  } catch {
    // No error of Ollama's: its text is shown as it is.
  }
  return new AppError('engine-request-failed', `${path} answered ${status}: ${said.slice(0, TEXT_SHOWN_CHARACTERS)}`, {
    context: { status },
  });
}

function read<T>(schema: z.ZodType<T>, answer: unknown, path: string): T {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new AppError(
    'engine-protocol',
    `the answer to ${path} is not Ollama's: ${issue?.path.join('.')}: ${issue?.message}`,
    { hint: 'Another program may hold the port, or this Ollama is too old or too new.' },
  );
}
