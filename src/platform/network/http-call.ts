/** Requests beside the measured ones: any method, a file as the body, and the status as a result instead of an error. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { AppError, messageOf } from '../../core/errors.ts';
import type { HttpLimits } from './http.ts';

export interface HttpCall extends HttpLimits {
  readonly method: 'HEAD' | 'DELETE' | 'POST';
  readonly body?: { readonly json: unknown } | { readonly file: string };
}

export interface HttpReply {
  readonly status: number;
  readonly text: string;
}

/**
 * One request over a connection of its own, whatever its status says. A file is streamed, never held in memory.
 * @throws AppError `engine-timeout`, `interrupted`, `model-not-found` for a file that is not there, or
 * `engine-request-failed` when there is no whole answer.
 */
export async function callHttp(url: string, call: HttpCall): Promise<HttpReply> {
  const { method, body } = call;
  const size = body !== undefined && 'file' in body ? await bytesOf(body.file) : null;
  const text = body !== undefined && 'json' in body ? Buffer.from(JSON.stringify(body.json)) : null;
  const headers = text !== null ? jsonHeaders(text) : size !== null ? fileHeaders(size) : {};
  const request = httpRequest(url, { agent: false, method, headers });
  const limit = limitOf(request, url, call);
  try {
    const answer = answerTo(request);
    if (body !== undefined && 'file' in body) sendFile(request, body.file);
    else request.end(text ?? undefined);
    const response = await answer;
    return { status: response.statusCode ?? 0, text: await textOf(response, url, call.maxBytes) };
  } catch (error) {
    throw (
      limit.reason() ??
      (error instanceof AppError
        ? error
        : new AppError('engine-request-failed', `${method} ${url} failed: ${messageOf(error)}`, { cause: error }))
    );
  } finally {
    limit.release();
  }
}

async function bytesOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    throw new AppError('model-not-found', `${path} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

function jsonHeaders(text: Buffer): Record<string, string | number> {
  return { 'content-type': 'application/json', 'content-length': text.length };
}

function fileHeaders(bytes: number): Record<string, string | number> {
  return { 'content-type': 'application/octet-stream', 'content-length': bytes };
}

/** A server that knows the answer early may close before the file has been sent: the answer counts, not the broken pipe. */
function answerTo(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on('response', resolve);
    request.on('error', reject);
  });
}

function sendFile(request: ClientRequest, path: string): void {
  const file = createReadStream(path);
  file.on('error', (error) => request.destroy(error));
  request.on('close', () => file.destroy());
  file.pipe(request);
}

function textOf(response: IncomingMessage, url: string, maxBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytesTotal = 0;
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytesTotal += chunk.length;
      if (bytesTotal > maxBytes)
        response.destroy(new AppError('engine-request-failed', `${url} answered with more than ${maxBytes} bytes`));
    });
    response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    response.on('error', reject);
    response.on('close', () =>
      reject(new AppError('engine-request-failed', `${url} was closed in the middle of the answer`)),
    );
  });
}

/** Ends the request at its time limit or by the signal, and remembers which it was. */
function limitOf(
  request: ClientRequest,
  url: string,
  { timeoutMs, signal }: HttpLimits,
): { reason(): AppError | null; release(): void } {
  let reason: AppError | null = null;
  const stop = (error: AppError): void => {
    reason ??= error;
    request.destroy(error);
  };
  const late = (): void =>
    stop(new AppError('engine-timeout', `${url} did not finish its answer within ${Math.round(timeoutMs)} ms`));
  const abort = (): void => stop(new AppError('interrupted', `interrupted while ${url} answered`));
  const timer = setTimeout(late, Math.max(0, timeoutMs));
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
