/**
 * The worker protocol: how runoff talks to an engine that runs in a child process.
 *
 * Requests go to the worker's stdin, one JSON object a line:
 *
 *     {"id":1,"method":"load","params":{...}}
 *
 * Replies come back on the reply channel, one JSON object a line, with the request's id:
 *
 *     {"id":1,"result":{...}}
 *     {"id":1,"error":{"message":"the file is no GGUF","code":"model-invalid"}}
 *
 * The channel is the plan's choice. `fd3`: Node workers write to file descriptor 3, so that whatever native code prints
 * on stdout cannot touch it. `stdout`: Python workers keep a copy of stdout (`dup(1)`) and put stderr in its place
 * (`dup2(2, 1)`) before they import anything. `http`: the engine serves; there are no replies and no requests.
 *
 * One request at a time. A worker sends nothing while it generates: one reply with all tokens and times at the end, so
 * that neither side works while the engine is measured. A worker ends when its stdin does.
 *
 * A line that is no reply to a request under way is noise: kept for error messages, and an error beyond NOISE_*_MAX.
 */
import type { WorkerRequest } from '../../core/engine.ts';

/** A reply of 1,000,000 tokens with times is about 30 MB: anything longer is nonsense and would fill our memory. */
export const LINE_BYTES_MAX = 64 * 1024 * 1024;
/** A library's banner is tens of lines. A worker that prints more is talking to somebody else. */
export const NOISE_LINES_MAX = 1_000;
export const NOISE_BYTES_MAX = 1024 * 1024;
/** Of a worker's error text in our message: its own stack trace is in the stderr tail. */
const ERROR_CHARACTERS_MAX = 2_000;

export type Reply =
  | { readonly kind: 'result'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly message: string; readonly code: string | null }
  | { readonly kind: 'noise' };

export function encodeRequest(id: number, message: WorkerRequest): string {
  return `${JSON.stringify({ id, method: message.method, params: message.params })}\n`;
}

/** Reads one line of the reply channel. `isPending` tells the ids of requests under way. */
export function readReply(line: string, isPending: (id: number) => boolean): Reply {
  const value = parseObject(line);
  const id = value?.['id'];
  if (value === null || typeof id !== 'number' || !isPending(id)) return { kind: 'noise' };
  if ('error' in value) return { kind: 'error', id, ...readError(value['error']) };
  return 'result' in value ? { kind: 'result', id, result: value['result'] } : { kind: 'noise' };
}

function readError(error: unknown): { message: string; code: string | null } {
  const fields = typeof error === 'object' && error !== null ? error : { message: error };
  const message = 'message' in fields ? String(fields.message) : 'no message';
  const code = 'code' in fields && typeof fields.code === 'string' ? fields.code : null;
  return { message: message.slice(0, ERROR_CHARACTERS_MAX), code };
}

function parseObject(line: string): Record<string, unknown> | null {
  if (!line.startsWith('{')) return null;
  try {
    const value: unknown = JSON.parse(line);
    // oxlint-disable-next-line no-unsafe-type-assertion -- a JSON text that starts with { is an object.
    return value as Record<string, unknown>;
  } catch {
    return null;
  }
}
