/** Sends files to a repository of the hub as one commit, through @huggingface/hub. The only code of runoff that sends anything. */
import { realpath } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { commitIter, createRepo, type CommitFile } from '@huggingface/hub';
import { AppError, messageOf } from '../../core/errors.ts';
import { buffered, headersOf } from './library-fetch.ts';
import { callHub, withRetries, type Hub } from './request.ts';

export interface Upload {
  readonly repo: string;
  readonly type: 'model' | 'dataset';
  readonly isPrivate: boolean;
  /** Of the commit. */
  readonly title: string;
  readonly files: readonly UploadFile[];
}

export interface UploadFile {
  /** In the repository. */
  readonly path: string;
  /** A file on this disk, or a text. */
  readonly content: { readonly file: string } | { readonly text: string };
  /** Sent only where the repository has no such file yet: somebody may have written it by hand. */
  readonly keepExisting: boolean;
}

export interface UploadAsk {
  readonly hub: Hub;
  readonly upload: Upload;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (text: string) => void;
}

export interface Uploaded {
  readonly url: string;
  readonly commit: string;
  /** Left as they were. */
  readonly kept: readonly string[];
}

/** Other than files, a repository that exists is told by this. */
const CONFLICT = 409;
const NOT_FOUND = 404;

/** @throws AppError `access-denied`, `publish-failed`, `download-failed`; files that were sent before are not sent again */
export async function uploadFiles(ask: UploadAsk): Promise<Uploaded> {
  const { hub, upload, onProgress } = ask;
  requireToken(hub);
  onProgress(`Opening ${upload.repo}`);
  await openRepository(ask);
  const kept: string[] = [];
  for (const { path, keepExisting } of upload.files) if (keepExisting && (await exists(ask, path))) kept.push(path);
  const commit = await sendCommit(
    ask,
    upload.files.filter(({ path }) => !kept.includes(path)),
  );
  const place = upload.type === 'model' ? upload.repo : `datasets/${upload.repo}`;
  return { url: `${hub.settings.endpoint}/${place}`, commit, kept };
}

function requireToken({ settings }: Hub): void {
  if (settings.token !== null) return;
  throw new AppError('access-denied', `there is no token, so nothing can be sent to ${settings.endpoint}`, {
    hint: `Make one with the right to write at ${settings.endpoint}/settings/tokens and put it into HF_TOKEN.`,
  });
}

async function openRepository(ask: UploadAsk): Promise<void> {
  const { hub, upload } = ask;
  try {
    await createRepo({
      repo: { type: upload.type, name: upload.repo },
      visibility: upload.isPrivate ? 'private' : 'public',
      hubUrl: hub.settings.endpoint,
      fetch: uploadFetch(ask),
      ...NO_TOKEN,
    });
  } catch (error) {
    if (statusOf(error) !== CONFLICT) throw asFailure(error, upload);
  }
}

/** The transport adds the token, to the hub's own origin only; the library is given none. */
const NO_TOKEN = { accessToken: '' } as const;

async function exists({ hub, upload, signal }: UploadAsk, path: string): Promise<boolean> {
  const place = upload.type === 'model' ? upload.repo : `datasets/${upload.repo}`;
  const address = new URL(`${hub.settings.endpoint}/${place}/resolve/main/${path}`);
  try {
    await withRetries(hub, { signal }, () =>
      callHub(hub, address, { method: 'HEAD', follow: 'here', what: place, signal }),
    );
    return true;
  } catch (error) {
    if (statusOf(error) === NOT_FOUND) return false;
    throw error;
  }
}

async function sendCommit(ask: UploadAsk, files: readonly UploadFile[]): Promise<string> {
  const { hub, upload, signal, onProgress } = ask;
  const commits = commitIter({
    repo: { type: upload.type, name: upload.repo },
    title: upload.title,
    operations: await Promise.all(files.map(operationOf)),
    hubUrl: hub.settings.endpoint,
    fetch: uploadFetch(ask),
    // Plain LFS: the chunked protocol sends to further hosts, in a way that cannot be tested without them.
    useXet: false,
    ...(signal === undefined ? {} : { abortSignal: signal }),
  });
  try {
    for (let next = await commits.next(); ; next = await commits.next()) {
      if (next.done === true) return next.value?.commit.oid ?? '';
      if (next.value.event === 'fileProgress') {
        const { path, progress, state } = next.value;
        onProgress(`${state === 'hashing' ? 'Hashing' : 'Sending'} ${path} (${Math.floor(progress * 100)}%)`);
      }
    }
  } catch (error) {
    if (signal?.aborted === true)
      throw new AppError('interrupted', `stopped while ${upload.repo} was written; no commit was made`, {
        cause: error,
      });
    throw asFailure(error, upload);
  }
}

/** The hub's cache holds links; the library is given what they lead to. */
async function operationOf({ path, content }: UploadFile): Promise<CommitFile> {
  const source = 'file' in content ? pathToFileURL(await realpath(content.file)) : new Blob([content.text]);
  return { operation: 'addOrUpdate', path, content: source };
}

function uploadFetch({ hub, upload, signal }: UploadAsk): typeof fetch {
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const method = init?.method === 'PUT' ? 'PUT' : 'POST';
    const body = init?.body;
    const call = {
      method,
      headers: headersOf(init),
      ...(typeof body === 'string' || body instanceof Blob ? { body } : {}),
      follow: 'here',
      what: upload.repo,
      signal,
    } as const;
    // Everything but the commit itself may be said twice.
    const failuresMax = url.pathname.includes('/commit/') ? 1 : hub.limits.failuresMax;
    return withRetries(hub, { signal, failuresMax }, async () =>
      buffered(hub, (await callHub(hub, url, call)).response, call),
    );
  };
}

function statusOf(error: unknown): unknown {
  return error instanceof AppError ? error.context['status'] : undefined;
}

function asFailure(error: unknown, { repo }: Upload): AppError {
  if (error instanceof AppError) return error.code === 'download-failed' ? asUpload(error) : error;
  return new AppError('publish-failed', `${repo}: ${messageOf(error)}`, {
    hint: 'Nothing was changed there. Run it again: files that have arrived are not sent again.',
    cause: error,
  });
}

/** The transport speaks of downloads. */
function asUpload({ message, context, cause }: AppError): AppError {
  const hint = 'No commit was made. Run it again: files that have arrived are not sent again.';
  return new AppError('publish-failed', message, { hint, context, cause });
}
