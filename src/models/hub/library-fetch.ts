/**
 * The transport under @huggingface/hub. The library adds the token itself, follows what a page's `Link` header says,
 * tries nothing twice, waits for ever and reads answers of any size; here each of these has its limit.
 */
import { AppError } from '../../core/errors.ts';
import { API_BYTES_MAX, API_CALLS_MAX } from './limits.ts';
import { callHub, connectionLost, interrupted, withRetries, type Hub, type HubCall } from './request.ts';

export interface LibraryFetch {
  /** What is asked for, for messages. */
  readonly what: string;
  readonly signal?: AbortSignal | undefined;
}

/** For API calls: always to the hub itself, whatever host a `Link` header names. The library gets no token. */
export function libraryFetch(hub: Hub, { what, signal }: LibraryFetch): typeof fetch {
  let calls = 0;
  return async (input, init) => {
    calls += 1;
    if (calls > API_CALLS_MAX) {
      throw new AppError(
        'model-unsupported',
        `${what}: the list of its files does not end after ${API_CALLS_MAX} pages`,
        {
          hint: 'It is not a model.',
        },
      );
    }
    const url = atHub(hub, new URL(input instanceof Request ? input.url : input));
    const call: HubCall = { headers: headersOf(init), follow: 'anywhere', what, signal };
    return withRetries(hub, { signal }, async () => {
      const { response } = await callHub(hub, url, call);
      return buffered(hub, response, call);
    });
  };
}

export function atHub({ settings }: Hub, url: URL): URL {
  return new URL(`${url.pathname}${url.search}`, new URL(settings.endpoint).origin);
}

/** Without the token that the library may have added: the request decides who sees it. */
export function headersOf(init: RequestInit | undefined): Record<string, string> {
  const headers = new Headers(init?.headers);
  headers.delete('authorization');
  return Object.fromEntries(headers);
}

/** The whole answer, within a size and a time, as a response that the library can read. */
export async function buffered(hub: Hub, response: Response, { what, signal }: HubCall): Promise<Response> {
  const reader = (response.body as ReadableStream<Uint8Array> | null)?.getReader();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    void reader?.cancel().catch(() => {});
  }, hub.limits.stallMs);
  try {
    for (let next = await reader?.read(); next !== undefined && !next.done; next = await reader?.read()) {
      bytes += next.value.byteLength;
      if (bytes > API_BYTES_MAX) break;
      chunks.push(next.value);
    }
  } catch (cause) {
    if (signal?.aborted === true) throw interrupted(what, cause);
    throw connectionLost(`${what}: the answer broke off after ${bytes} bytes`, cause);
  } finally {
    clearTimeout(timer);
  }
  if (isLate) throw connectionLost(`${what}: the answer was not complete within ${hub.limits.stallMs / 1_000} s`);
  if (bytes > API_BYTES_MAX) {
    await reader?.cancel();
    throw new AppError('download-failed', `${what}: the hub answered with more than ${API_BYTES_MAX} bytes`, {
      hint: 'Check HF_ENDPOINT.',
    });
  }
  return new Response(bytes === 0 ? null : Buffer.concat(chunks), {
    status: response.status,
    headers: response.headers,
  });
}
