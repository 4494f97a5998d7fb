import { AppError } from '../../core/errors.ts';

/** Environment variable with the key of the server, if it wants one. */
export const KEY_VARIABLE = 'RUNOFF_OPENAI_API_KEY';

export interface ServerAddress {
  /** What `/models` and `/completions` are added to, e.g. `http://127.0.0.1:1234/v1`. */
  readonly base: string;
  /** From the fragment; null: the server's only one. */
  readonly model: string | null;
}

/**
 * Pure: `URL[#MODEL]`. Null for what is no such address; one with a password or a query is none. Every server has its
 * API under /v1, and people give the address that the server prints: a bare one is completed.
 */
export function parseAddress(text: string): ServerAddress | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) return null;
  if (url.username !== '' || url.password !== '' || url.search !== '') return null;
  const at = text.indexOf('#');
  const model = at === -1 ? '' : text.slice(at + 1);
  const path = url.pathname === '/' ? '/v1' : url.pathname;
  return { base: `${url.origin}${path}`.replace(/\/+$/, ''), model: model === '' ? null : model };
}

/** Pure: the port when the server is on this machine's loopback interface; null otherwise. */
export function loopbackPort(base: string): number | null {
  const { hostname, port, protocol } = new URL(base);
  const isLoopback = hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
  if (!isLoopback) return null;
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
}

/**
 * Headers with the key. Only a variable of runoff's own is read: a key for another service must not reach whatever
 * listens at the address. Redirects are not followed, so it goes to that host only.
 * @throws AppError `engine-unavailable` when it would cross a network unencrypted, or is no key
 */
export function keyHeaders(base: string, key: string | undefined): Record<string, string> {
  if (key === undefined || key === '') return {};
  if (!/^[\x21-\x7E]+$/.test(key)) {
    throw new AppError('engine-unavailable', `${KEY_VARIABLE} holds characters that no key has`, {
      hint: 'Look for quotes, spaces and line ends around the key.',
    });
  }
  if (new URL(base).protocol !== 'https:' && loopbackPort(base) === null) {
    throw new AppError(
      'engine-unavailable',
      `${KEY_VARIABLE} is not sent to ${base}: it would cross the network in clear`,
      {
        hint: `Use an https address, or unset ${KEY_VARIABLE}.`,
      },
    );
  }
  return { authorization: `Bearer ${key}` };
}

/** A shorter beginning of a key is also found in ordinary words. */
const KEY_PART_CHARACTERS = 8;

/** Servers repeat a key in their refusals, and long refusals are cut: no part of it may get into a message or a record. */
export async function withoutKey<T>(key: string | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (key === undefined || key === '' || !(error instanceof AppError)) throw error;
    const message = redacted(error.message, key);
    if (message === error.message) throw error;
    throw new AppError(error.code, message, {
      context: error.context,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }
}

/** Pure: the text without the key, and without a beginning of it where the text was cut. */
export function redacted(text: string, key: string): string {
  let shown = text.replaceAll(key, '(key)');
  for (let length = key.length - 1; length >= KEY_PART_CHARACTERS; length--)
    shown = shown.replaceAll(key.slice(0, length), '(key)');
  return shown;
}
