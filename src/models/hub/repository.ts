/** What the hub says about a repository: its commit, its licence, its files. */
import { listFiles, modelInfo } from '@huggingface/hub';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { libraryFetch } from './library-fetch.ts';
import { REPO_FILES_MAX } from './limits.ts';
import { type Hub, connectionLost } from './request.ts';
import { COMMIT } from './spec.ts';

export interface Revision {
  readonly commit: string;
  /** As the card says; null when it does not. */
  readonly licence: string | null;
}

export interface RepoFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Content hash, and the blob's name in the cache: sha256 of large files, git's sha1 of small ones. */
  readonly hash: string;
  readonly hashKind: 'sha256' | 'git';
}

const info = z.object({
  sha: z.string().regex(COMMIT),
  cardData: z.object({ license: z.unknown() }).partial().nullish().catch(null),
});
const entry = z.object({
  type: z.string(),
  path: z.string(),
  size: z.int().nonnegative(),
  oid: z.string().regex(COMMIT).optional(),
  lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/), size: z.int().nonnegative() }).optional(),
});

/** @throws AppError as `callHub` does */
export async function readRevision(
  hub: Hub,
  ask: { repo: string; revision: string; signal?: AbortSignal | undefined },
): Promise<Revision> {
  const { repo, revision, signal } = ask;
  const what = `the description of ${repo}`;
  const answer = await readByLibrary({ hub, what, signal }, () =>
    modelInfo({
      name: repo,
      revision,
      additionalFields: ['sha', 'cardData'],
      hubUrl: hub.settings.endpoint,
      fetch: libraryFetch(hub, { what: repo, signal }),
    }),
  );
  const parsed = info.safeParse(answer);
  if (!parsed.success) throw notAHub(hub, what);
  const licence = parsed.data.cardData?.license;
  return { commit: parsed.data.sha, licence: typeof licence === 'string' ? licence.slice(0, 100) : null };
}

/** Every file at a commit. @throws AppError as `callHub` does, `model-invalid` for a listing that makes no sense */
export async function listRepository(
  hub: Hub,
  { repo, commit, signal }: { repo: string; commit: string; signal?: AbortSignal | undefined },
): Promise<RepoFile[]> {
  const what = `the list of the files of ${repo}`;
  return readByLibrary({ hub, what, signal }, () => readListing(hub, { repo, commit, signal }));
}

async function readListing(
  hub: Hub,
  { repo, commit, signal }: { repo: string; commit: string; signal?: AbortSignal | undefined },
): Promise<RepoFile[]> {
  const files: RepoFile[] = [];
  const listing = listFiles({
    repo: { type: 'model', name: repo },
    revision: commit,
    recursive: true,
    hubUrl: hub.settings.endpoint,
    fetch: libraryFetch(hub, { what: repo, signal }),
  });
  for await (const raw of listing) {
    const parsed = entry.safeParse(raw);
    if (!parsed.success) throw notAHub(hub, `the list of the files of ${repo}`);
    const { type, path, size, oid, lfs } = parsed.data;
    if (type !== 'file') continue;
    if (files.length >= REPO_FILES_MAX) {
      throw new AppError('model-unsupported', `${repo} has more than ${REPO_FILES_MAX} files`, {
        hint: 'It is not a model.',
      });
    }
    if (lfs !== undefined) files.push({ path, sizeBytes: lfs.size, hash: lfs.oid, hashKind: 'sha256' });
    else if (oid !== undefined) files.push({ path, sizeBytes: size, hash: oid, hashKind: 'git' });
    // A file without a hash cannot be checked, and leaving it out would make another model of this one.
    else throw notAHub(hub, `the list of the files of ${repo}`);
  }
  return files;
}

/** Address of a file at a commit. */
export function resolveUrl(
  { settings }: Hub,
  { repo, commit, path }: { repo: string; commit: string; path: string },
): URL {
  return new URL(`${settings.endpoint}/${repo}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`);
}

/** The library reads an answer without doubting it: what it stumbles over is not the hub's. */
async function readByLibrary<T>(
  { hub, what, signal }: { hub: Hub; what: string; signal: AbortSignal | undefined },
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof AppError || signal?.aborted === true) throw error;
    throw notAHub(hub, what, error);
  }
}

/** A proxy's or a hotel's page instead of the hub: what is in the cache may be used. */
function notAHub({ settings }: Hub, what: string, cause?: unknown): AppError {
  return connectionLost(`${settings.endpoint} did not send ${what}, but something else`, cause);
}
