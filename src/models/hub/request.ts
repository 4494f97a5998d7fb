/** Requests to the hub: who may see the token, which redirects are followed, what is tried again. */
import { AppError, messageOf } from '../../core/errors.ts';
import { sleep } from '../../platform/clock.ts';
import { REDIRECTS_MAX, type NetworkLimits } from './limits.ts';
import { refusal } from './refusals.ts';
import type { HubSettings } from './settings.ts';

/** 20 kB/s: below any line over which somebody would send a model. */
const UPLOAD_BYTES_PER_MS_MIN = 20;
/** Longest timer that Node keeps. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export interface Hub {
  readonly settings: HubSettings;
  readonly limits: NetworkLimits;
}

export interface HubCall {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Blob;
  readonly signal?: AbortSignal | undefined;
  /** `here`: only to the same origin; the first redirect elsewhere is the answer. */
  readonly follow: 'anywhere' | 'here';
  /** What is asked for, for messages: a repository, or a file of it. */
  readonly what: string;
}

export interface HubAnswer {
  readonly response: Response;
  /** Where the answer came from, or with `here` where it sends to. */
  readonly url: URL;
}

/**
 * One request, with its redirects. The token goes to the hub's own origin only, and not in the clear over a network.
 * @throws AppError: a refusal of the server by its kind, `download-failed` when there is no answer, `interrupted`
 */
export async function callHub(hub: Hub, address: URL, call: HubCall): Promise<HubAnswer> {
  let url = address;
  for (let hop = 0; hop <= REDIRECTS_MAX; hop += 1) {
    const response = await send(hub, url, call);
    const next = redirectOf(response, url);
    if (next === null) {
      if (response.ok) return { response, url };
      throw await refusal(response, { what: call.what, settings: hub.settings });
    }
    if (call.follow === 'here' && next.origin !== url.origin) return { response, url: next };
    await response.body?.cancel();
    if (call.method === 'POST' || call.method === 'PUT') {
      throw new AppError(
        'publish-failed',
        `${call.what}: the hub sends what is to be written to ${next.href.split('?')[0]}`,
        {
          hint: 'It was renamed: use its new name.',
        },
      );
    }
    url = next;
  }
  throw new AppError('download-failed', `${call.what}: the server sends from one address to the next without an end`, {
    hint: 'Check HF_ENDPOINT.',
  });
}

async function send(hub: Hub, url: URL, { method = 'GET', headers, body, signal, what }: HubCall): Promise<Response> {
  const late = new AbortController();
  // The answer to an upload comes after its last byte.
  const bodyBytes = body instanceof Blob ? body.size : (body?.length ?? 0);
  const waitMs = hub.limits.headersMs + bodyBytes / UPLOAD_BYTES_PER_MS_MIN;
  const timer = setTimeout(() => late.abort(), Math.min(waitMs, TIMER_MS_MAX));
  // Not a timeout for the whole answer: a body may take hours.
  const signals = [late.signal, ...(signal === undefined ? [] : [signal])];
  try {
    return await fetch(url, {
      method,
      redirect: 'manual',
      signal: AbortSignal.any(signals),
      headers: { ...headers, 'accept-encoding': 'identity', 'user-agent': 'runoff', ...authorization(hub, url) },
      ...(body === undefined ? {} : { body }),
    });
  } catch (cause) {
    if (signal?.aborted === true) throw interrupted(what, cause);
    const reason = late.signal.aborted ? `no answer within ${waitMs / 1_000} s` : causeOf(cause);
    throw connectionLost(`${url.host} cannot be reached for ${what}: ${reason}`, cause);
  } finally {
    clearTimeout(timer);
  }
}

export function interrupted(what: string, cause: unknown): AppError {
  return new AppError('interrupted', `stopped while ${what} was fetched`, { cause });
}

/** Worth another try: the server said nothing against it. */
export function connectionLost(message: string, cause?: unknown): AppError {
  return new AppError('download-failed', message, {
    hint: 'Check the network (NODE_USE_ENV_PROXY=1 makes HTTPS_PROXY count) and run it again: it goes on where it stopped.',
    context: { retryable: true, unreachable: true },
    cause,
  });
}

function authorization({ settings }: Hub, url: URL): Record<string, string> {
  const { endpoint, token } = settings;
  if (token === null || url.origin !== new URL(endpoint).origin) return {};
  const isPrivate = url.protocol === 'https:' || ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname);
  return isPrivate ? { authorization: `Bearer ${token}` } : {};
}

function redirectOf(response: Response, from: URL): URL | null {
  if (![301, 302, 303, 307, 308].includes(response.status)) return null;
  const location = response.headers.get('location');
  const url = location !== null && URL.canParse(location, from.href) ? new URL(location, from) : null;
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && from.protocol === 'http:');
  if (url !== null && isSafe) return url;
  throw new AppError('download-failed', `${from.host} redirects to an address that is not followed`, {
    hint: 'Check HF_ENDPOINT: a redirect must lead to https.',
  });
}

/** fetch says "fetch failed"; the reason is below. */
function causeOf(error: unknown): string {
  return error instanceof Error && error.cause !== undefined
    ? messageOf(error.cause) || messageOf(error)
    : messageOf(error);
}

/** Tries again what may work later, with growing pauses or the one that the server asks for. */
export async function withRetries<T>(
  { limits }: Hub,
  { signal, failuresMax = limits.failuresMax }: { signal?: AbortSignal | undefined; failuresMax?: number },
  attempt: () => Promise<T>,
): Promise<T> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!isRetryable(error) || failures >= failuresMax) throw error;
      await sleep(pauseMs(error, failures, limits), signal);
    }
  }
}

export function isRetryable(error: unknown): error is AppError {
  return error instanceof AppError && error.context['retryable'] === true;
}

/** True when nobody answered: what is in the cache may be used instead. */
export function isUnreachable(error: unknown): error is AppError {
  return error instanceof AppError && error.context['unreachable'] === true;
}

/** @throws the error itself when the server asks for a longer pause than anybody waits */
export function pauseMs(error: AppError, failures: number, limits: NetworkLimits): number {
  const asked = error.context['pauseMs'];
  if (typeof asked !== 'number') return Math.min(limits.backoffMs * 2 ** (failures - 1), limits.pauseMsMax);
  if (asked > limits.pauseMsMax) throw error;
  return asked;
}
