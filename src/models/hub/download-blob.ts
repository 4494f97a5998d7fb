/** One file from the hub into the cache: parallel ranges, resumed where an earlier try stopped, its hash checked. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { sleep } from '../../platform/clock.ts';
import { writeError } from '../../platform/files/write-error.ts';
import { openPartial, partialNames, removePartial, type Part, type PartialFile } from './partial-file.ts';
import { rangeUrl, readRange, type Source } from './read-range.ts';
import type { RepoFile } from './repository.ts';
import { interrupted, isRetryable, pauseMs, withRetries, type Hub } from './request.ts';

export interface BlobAsk {
  readonly hub: Hub;
  readonly file: RepoFile;
  /** Address of the file at its commit. */
  readonly address: URL;
  /** Repository and path, for messages. */
  readonly what: string;
  /** Final path. */
  readonly blob: string;
  readonly signal?: AbortSignal | undefined;
  /** Bytes of this file that are there. */
  readonly onBytes: (bytes: number) => void;
  readonly onPhase: (phase: 'download' | 'check') => void;
}

/**
 * Resolves when the whole file, with the announced hash, has its final name.
 * @throws AppError `access-denied`, `model-not-found`, `download-failed` (what is there is kept), `model-invalid` (nothing is)
 */
export async function downloadBlob(ask: BlobAsk): Promise<void> {
  await mkdir(dirname(ask.blob), { recursive: true }).catch(async (error: unknown) =>
    Promise.reject(await writeError(ask.blob, error)),
  );
  const fault = await fetchAndCheck(ask);
  if (fault === null) return;
  // What an earlier try left may have been damaged since: once more from the start, before anybody is blamed.
  const again = fault.isResumed ? await fetchAndCheck(ask) : fault;
  if (again === null) return;
  throw new AppError(
    'model-invalid',
    `${ask.what}: the bytes that arrived are not the announced ones (${again.reason})`,
    {
      hint: 'They were thrown away. Try again; if it repeats, a proxy or a mirror on the way changes the file.',
    },
  );
}

interface Fault {
  readonly reason: string;
  readonly isResumed: boolean;
}

async function fetchAndCheck(ask: BlobAsk): Promise<Fault | null> {
  const { hub, file, blob } = ask;
  ask.onPhase('download');
  const source = await locate(ask);
  const partial = await openPartial(blob, { ...file, partBytes: hub.limits.partBytes });
  const { isResumed } = partial;
  try {
    ask.onBytes(partial.doneBytes());
    await fetchParts(ask, source, partial);
  } finally {
    await partial.note(true).catch(() => {});
    await partial.close();
  }
  ask.onPhase('check');
  const { data } = partialNames(blob);
  const found = await hashOf(data, file, ask.signal);
  if (found !== file.hash) {
    await removePartial(blob);
    return { reason: `hash ${found} instead of ${file.hash}`, isResumed };
  }
  await rename(data, blob);
  await removePartial(blob);
  return null;
}

/** Where the bytes lie, asked once: a content network's address is signed for the file. */
export async function locate({
  hub,
  address,
  file,
  what,
  signal,
}: Pick<BlobAsk, 'hub' | 'address' | 'file' | 'what' | 'signal'>): Promise<Source> {
  const { url, etag, sizeBytes } = await withRetries(hub, { signal }, () => rangeUrl(hub, { address, what, signal }));
  if (sizeBytes !== null && sizeBytes !== file.sizeBytes) {
    throw new AppError('model-invalid', `${what}: the hub lists ${file.sizeBytes} bytes and announces ${sizeBytes}`, {
      hint: 'Nothing was fetched. Try again later; a mirror that is not up to date is one cause (HF_ENDPOINT).',
    });
  }
  if (file.hashKind === 'sha256' && etag !== null && /^[0-9a-f]{64}$/.test(etag) && etag !== file.hash) {
    throw new AppError('model-invalid', `${what}: the hub lists sha256 ${file.hash} and announces ${etag}`, {
      hint: 'Nothing was fetched. Try again later; a mirror that is not up to date is one cause (HF_ENDPOINT).',
    });
  }
  return { url, address, what };
}

async function fetchParts(ask: BlobAsk, source: Source, partial: PartialFile): Promise<void> {
  const { hub, signal } = ask;
  const waiting = partial.parts.filter((part) => part.doneBytes < part.end - part.start);
  const stop = new AbortController();
  const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  // One source object for all: who finds its signature expired renews it for the others.
  const shared = { ...source };
  const work = async (): Promise<void> => {
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift())
      await fetchPart(ask, { source: shared, partial, part, signal: both });
  };
  const workers = Array.from({ length: Math.min(hub.limits.connections, waiting.length) }, async () => {
    try {
      await work();
    } catch (error) {
      // The first failure counts; the others are its consequences.
      stop.abort(error);
      throw error;
    }
  });
  const failed = (await Promise.allSettled(workers)).some(({ status }) => status === 'rejected');
  if (!failed) return;
  if (signal?.aborted === true) throw interrupted(ask.what, signal.reason);
  const reason: unknown = stop.signal.reason;
  if (!(reason instanceof AppError) || reason.context['rangesIgnored'] !== true) throw reason;
  await fetchWhole(ask, shared, partial);
}

/** A server without ranges sends everything at once, in order. */
async function fetchWhole(ask: BlobAsk, source: Source, partial: PartialFile): Promise<void> {
  await withRetries(ask.hub, { signal: ask.signal }, async () => {
    partial.restart();
    let position = 0;
    let index = 0;
    await readRange(
      ask.hub,
      { source, range: null, sizeBytes: ask.file.sizeBytes, signal: ask.signal },
      async (chunk) => {
        await write(partial, ask.blob, chunk, position);
        position += chunk.byteLength;
        // A chunk may reach into the next part.
        for (
          let part = partial.parts[index];
          part !== undefined && part.start < position;
          part = partial.parts[index]
        ) {
          partial.advance(part, Math.min(part.end, position) - part.start - part.doneBytes);
          if (part.end > position) break;
          index += 1;
        }
        ask.onBytes(position);
      },
    );
  });
}

interface PartAsk {
  readonly source: Source;
  readonly partial: PartialFile;
  readonly part: Part;
  readonly signal: AbortSignal;
}

/** Goes on behind the last byte that arrived; failures count only while nothing arrives between them. */
async function fetchPart(ask: BlobAsk, { source, partial, part, signal }: PartAsk): Promise<void> {
  const { hub, file } = ask;
  let failures = 0;
  while (part.doneBytes < part.end - part.start) {
    const before = part.doneBytes;
    try {
      const range = { start: part.start + part.doneBytes, end: part.end };
      await readRange(hub, { source, range, sizeBytes: file.sizeBytes, signal }, async (chunk) => {
        await write(partial, ask.blob, chunk, part.start + part.doneBytes);
        partial.advance(part, chunk.byteLength);
        ask.onBytes(partial.doneBytes());
        await partial.note();
      });
    } catch (error) {
      if (!isRetryable(error)) throw error;
      const advanced = part.doneBytes - before >= hub.limits.stallBytes;
      failures = advanced ? 1 : failures + 1;
      if (failures >= hub.limits.failuresMax) throw error;
      if (error.context['expired'] === true) await renew(ask, source);
      await sleep(pauseMs(error, failures, hub.limits), signal);
    }
  }
}

async function renew(ask: BlobAsk, source: Source): Promise<void> {
  source.url = (await locate(ask)).url;
}

async function write({ handle }: PartialFile, blob: string, chunk: Uint8Array, position: number): Promise<void> {
  try {
    for (let done = 0; done < chunk.byteLength;) {
      done += (await handle.write(chunk, done, chunk.byteLength - done, position + done)).bytesWritten;
    }
  } catch (error) {
    throw await writeError(blob, error);
  }
}

/** sha256 of the bytes, or what git calls a file: sha1 over "blob LENGTH", a zero and the bytes. */
async function hashOf(
  path: string,
  { hashKind, sizeBytes }: RepoFile,
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash(hashKind === 'sha256' ? 'sha256' : 'sha1');
  if (hashKind === 'git') hash.update(`blob ${sizeBytes}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: 8 << 20 })) {
    if (signal?.aborted === true) throw interrupted(path, signal.reason);
    hash.update(chunk as Buffer);
  }
  return hash.digest('hex');
}
