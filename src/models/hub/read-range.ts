/** The bytes of one range, checked against what was asked for. */
import { AppError } from '../../core/errors.ts';
import { callHub, connectionLost, interrupted, type Hub } from './request.ts';

export interface Source {
  /** Where the bytes lie; changes when a signed address has expired. */
  url: URL;
  readonly address: URL;
  /** For messages. */
  readonly what: string;
}

export interface RangeAsk {
  readonly source: Source;
  /** End exclusive; null: everything. */
  readonly range: { readonly start: number; readonly end: number } | null;
  /** Of the whole file. */
  readonly sizeBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/** Asks for a file's address and what is announced about it, without its bytes. */
export async function rangeUrl(
  hub: Hub,
  { address, what, signal }: { address: URL; what: string; signal?: AbortSignal | undefined },
): Promise<{ url: URL; etag: string | null; sizeBytes: number | null }> {
  const { response, url } = await callHub(hub, address, { method: 'HEAD', follow: 'here', what, signal });
  const { headers } = response;
  const isRedirect = response.status >= 300;
  const size = headers.get('x-linked-size') ?? (isRedirect ? null : headers.get('content-length'));
  const etag = headers.get('x-linked-etag') ?? (isRedirect ? null : headers.get('etag'));
  return {
    url,
    etag: etag === null ? null : etag.replace(/^W\//, '').replaceAll('"', ''),
    sizeBytes: size !== null && /^\d{1,15}$/.test(size) ? Number(size) : null,
  };
}

/**
 * Calls `onChunk` with the bytes, in order, and resolves when all have come.
 * @throws AppError; `context.retryable` when another try may help, `context.rangesIgnored` when the server sent all
 */
export async function readRange(hub: Hub, ask: RangeAsk, onChunk: (chunk: Uint8Array) => Promise<void>): Promise<void> {
  const { source, range, sizeBytes, signal } = ask;
  const headers = range === null ? {} : { range: `bytes=${range.start}-${range.end - 1}` };
  const stop = new AbortController();
  const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const response = await call(hub, ask, headers, both);
  const wanted = range === null ? sizeBytes : range.end - range.start;
  const mismatch = rangeFault(response, range, sizeBytes);
  if (mismatch !== null) {
    await response.body?.cancel();
    throw mismatch(source.what);
  }
  const watch = watchProgress(hub, stop);
  const pending = gather(onChunk);
  let bytes = 0;
  try {
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      bytes += chunk.byteLength;
      if (bytes > wanted) throw tooMuch(source.what, wanted);
      watch.arrived(chunk.byteLength);
      await pending.add(chunk);
    }
    await pending.flush();
  } catch (error) {
    // What has arrived is kept, whatever ended it.
    await pending.flush();
    if (error instanceof AppError) throw error;
    if (signal?.aborted === true) throw interrupted(source.what, error);
    throw connectionLost(
      watch.isStalled()
        ? `${source.what}: the connection brought almost nothing for ${hub.limits.stallMs / 1_000} s`
        : `${source.what}: the connection broke off`,
      error,
    );
  } finally {
    watch.end();
    stop.abort();
  }
  if (bytes < wanted) throw connectionLost(`${source.what}: the connection ended ${wanted - bytes} bytes early`);
}

/** A connection brings 16 to 64 kB at once; a write of each costs more than its bytes. */
const GATHERED_BYTES = 1 << 20;

function gather(onChunk: (chunk: Uint8Array) => Promise<void>): {
  add(chunk: Uint8Array): Promise<void>;
  flush(): Promise<void>;
} {
  let chunks: Uint8Array[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    if (bytes === 0) return;
    const whole = Buffer.concat(chunks);
    chunks = [];
    bytes = 0;
    await onChunk(whole);
  };
  return {
    async add(chunk) {
      chunks.push(chunk);
      bytes += chunk.byteLength;
      if (bytes >= GATHERED_BYTES) await flush();
    },
    flush,
  };
}

/** Signed addresses expire; the hub gives a new one. */
async function call(
  hub: Hub,
  { source }: RangeAsk,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Response> {
  try {
    return (await callHub(hub, source.url, { headers, follow: 'anywhere', what: source.what, signal })).response;
  } catch (error) {
    const isElsewhere = source.url.origin !== source.address.origin;
    const status = error instanceof AppError ? error.context['status'] : undefined;
    if (!isElsewhere || (status !== 401 && status !== 403 && status !== 404 && status !== 410)) throw error;
    throw new AppError('download-failed', `${source.what}: the address of the file has expired (${status})`, {
      hint: 'Run it again: it goes on where it stopped.',
      context: { retryable: true, expired: true },
      cause: error,
    });
  }
}

type Mismatch = (what: string) => AppError;

/** Null when the answer is the range that was asked for. */
function rangeFault(response: Response, range: RangeAsk['range'], sizeBytes: number): Mismatch | null {
  if (range === null || (response.status === 200 && range.start === 0 && range.end === sizeBytes)) return null;
  if (response.status !== 206)
    return (what) =>
      new AppError('download-failed', `${what}: the server ignores ranges`, { context: { rangesIgnored: true } });
  const said = response.headers.get('content-range') ?? 'nothing';
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(said);
  const [, first, last, total] = match ?? [];
  const fits =
    Number(first) === range.start && Number(last) === range.end - 1 && (total === '*' || Number(total) === sizeBytes);
  if (fits) return null;
  return (what) =>
    new AppError(
      'model-invalid',
      `${what}: bytes ${range.start}-${range.end - 1}/${sizeBytes} were asked for and ${said.slice(0, 100)} were sent`,
      {
        hint: 'The file has changed on the server, or a proxy mixes answers up. Try again.',
      },
    );
}

function tooMuch(what: string, wanted: number): AppError {
  return new AppError('model-invalid', `${what}: the server sends more than the ${wanted} bytes that it announced`, {
    hint: 'Try again; if it repeats, a proxy or a mirror on the way changes the file.',
  });
}

/** Ends a connection that brings almost nothing. */
function watchProgress(
  { limits }: Hub,
  stop: AbortController,
): { arrived(bytes: number): void; isStalled(): boolean; end(): void } {
  let arrivedBytes = 0;
  let isStalled = false;
  const timer = setInterval(() => {
    if (arrivedBytes >= limits.stallBytes) arrivedBytes = 0;
    else {
      isStalled = true;
      stop.abort();
    }
  }, limits.stallMs);
  return {
    arrived: (bytes) => (arrivedBytes += bytes),
    isStalled: () => isStalled,
    end: () => clearInterval(timer),
  };
}
