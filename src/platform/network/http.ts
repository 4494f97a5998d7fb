/**
 * A small HTTP client for engines that serve, mostly on this machine. While an engine answers, each arrival costs one time stamp
 * and one array entry: what we burn, the engine lacks. Everything is parsed after the end.
 */
import { Agent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { AppError, messageOf } from '../../core/errors.ts';
import { monotonicMs } from '../clock.ts';
import type { StampedChunk } from './sse.ts';

export { parseSse } from './sse.ts';
export type { SseEvent, StampedChunk } from './sse.ts';

/** Of an error's body in our message. */
const BODY_SHOWN_CHARACTERS = 500;
/**
 * A connection per request: some servers close a kept one without saying so, and the next request then fails with
 * "socket hang up" (seen with llama.cpp's server). Connecting over loopback costs ~0.1 ms.
 */
const AGENT_OPTIONS = { keepAlive: false, maxSockets: 4 };
const agent = new Agent(AGENT_OPTIONS);
const secureAgent = new HttpsAgent(AGENT_OPTIONS);

export interface HttpLimits {
  /** From the call to the last byte. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly signal?: AbortSignal;
  /** Beside the ones of the body, e.g. with a key. Redirects are never followed, so they reach this host only. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface StreamOptions extends HttpLimits {
  /** Called on each arrival, for the rare caller that must stop early. Keep it cheap. */
  readonly onChunk?: (chunk: StampedChunk) => void;
}

export interface StreamedAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** When the request was handed to the system; `chunks` are on the same clock. */
  readonly startedMs: number;
  readonly chunks: readonly StampedChunk[];
}

/** GETs JSON. @throws AppError `engine-request-failed`, `engine-timeout` or `interrupted`. */
export async function getJson(url: string, limits: HttpLimits): Promise<unknown> {
  const { chunks } = await send(url, null, limits);
  const text = textOf(chunks);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw failed(url, `answered with something that is not JSON: ${shorten(text)}`, { cause: error });
  }
}

/** POSTs JSON and collects the answer with arrival times. @throws like `getJson`. */
export function streamSse(url: string, body: unknown, options: StreamOptions): Promise<StreamedAnswer> {
  return send(url, Buffer.from(JSON.stringify(body)), options);
}

async function send(url: string, body: Buffer | null, options: StreamOptions): Promise<StreamedAnswer> {
  const isSecure = url.startsWith('https:');
  const request = (isSecure ? httpsRequest : httpRequest)(url, {
    agent: isSecure ? secureAgent : agent,
    method: body === null ? 'GET' : 'POST',
    headers: {
      ...options.headers,
      ...(body === null ? {} : { 'content-type': 'application/json', 'content-length': body.length }),
    },
  });
  const deadline = guard(request, url, options);
  try {
    const startedMs = monotonicMs();
    const response = await answerTo(request, body);
    const chunks = await collect(response, url, options);
    const status = response.statusCode ?? 0;
    if (status < 200 || status > 299) {
      throw failed(url, `answered ${status}: ${shorten(textOf(chunks))}`, { context: { status } });
    }
    return { status, headers: response.headers, startedMs, chunks };
  } catch (error) {
    throw (
      deadline.reason() ??
      (error instanceof AppError ? error : failed(url, `failed: ${messageOf(error)}`, { cause: error }))
    );
  } finally {
    deadline.release();
  }
}

function answerTo(request: ClientRequest, body: Buffer | null): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on('response', resolve);
    request.on('error', reject);
    request.end(body ?? undefined);
  });
}

function collect(
  response: IncomingMessage,
  url: string,
  { maxBytes, onChunk }: StreamOptions,
): Promise<StampedChunk[]> {
  return new Promise((resolve, reject) => {
    const chunks: StampedChunk[] = [];
    let bytesTotal = 0;
    response.on('data', (bytes: Buffer) => {
      const chunk = { atMs: monotonicMs(), bytes };
      chunks.push(chunk);
      bytesTotal += bytes.length;
      if (bytesTotal > maxBytes) response.destroy(failed(url, `answered with more than ${maxBytes} bytes`));
      onChunk?.(chunk);
    });
    response.on('end', () => resolve(chunks));
    response.on('error', reject);
    response.on('close', () => reject(failed(url, 'was closed in the middle of the answer')));
  });
}

/** Ends the request at its deadline or by the signal, and remembers which it was. */
function guard(
  request: ClientRequest,
  url: string,
  { timeoutMs, signal }: HttpLimits,
): { reason(): AppError | null; release(): void } {
  let reason: AppError | null = null;
  const stop = (error: AppError): void => {
    reason ??= error;
    request.destroy(error);
  };
  const timer = setTimeout(
    () => stop(new AppError('engine-timeout', `${url} did not finish its answer within ${Math.round(timeoutMs)} ms`)),
    Math.max(0, timeoutMs),
  );
  const abort = (): void => stop(new AppError('interrupted', `interrupted while ${url} answered`));
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort, { once: true });
  return {
    reason: () => reason,
    release() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    },
  };
}

function failed(
  url: string,
  what: string,
  options: { cause?: unknown; context?: Record<string, unknown> } = {},
): AppError {
  return new AppError('engine-request-failed', `${url} ${what}`, options);
}

function textOf(chunks: readonly StampedChunk[]): string {
  return Buffer.concat(chunks.map(({ bytes }) => bytes)).toString('utf8');
}

function shorten(text: string): string {
  return text.length <= BODY_SHOWN_CHARACTERS ? text : `${text.slice(0, BODY_SHOWN_CHARACTERS)}…`;
}
