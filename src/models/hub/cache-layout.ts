/**
 * The cache that all hub programs share: blobs by hash, and per commit a folder of links to them.
 *   models--OWNER--NAME/blobs/HASH   snapshots/COMMIT/PATH -> ../../blobs/HASH   refs/REVISION: a commit
 */
import { randomBytes } from 'node:crypto';
import { copyFile, lstat, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { ListedFile } from './choose-files.ts';
import { COMMIT } from './spec.ts';

/** More files than any model's snapshot holds. */
const SNAPSHOT_FILES_MAX = 10_000;
const SNAPSHOT_DEPTH_MAX = 8;

export interface RepoCache {
  readonly folder: string;
  blob(hash: string): string;
  /** Of runoff alone: the Python library locks by flock, which Node cannot; each writes under names of its own until complete. */
  readonly lock: string;
  snapshot(commit: string): string;
  pointer(commit: string, path: string): string;
}

export function repoCache(cacheFolder: string, repo: string): RepoCache {
  const name = `models--${repo.replaceAll('/', '--')}`;
  const folder = join(cacheFolder, name);
  const snapshot = (commit: string): string => join(folder, 'snapshots', commit);
  return {
    folder,
    blob: (hash) => join(folder, 'blobs', hash),
    lock: join(cacheFolder, '.locks', name, 'runoff.lock'),
    snapshot,
    pointer: (commit, path) => join(snapshot(commit), ...path.split('/')),
  };
}

/** The commit that a branch or tag pointed to when it was fetched last; null when it never was. */
export async function cachedCommit(cache: RepoCache, revision: string): Promise<string | null> {
  if (COMMIT.test(revision)) return revision;
  const text = await readFile(join(cache.folder, 'refs', ...revision.split('/')), 'utf8').catch(() => '');
  const commit = text.trim();
  return COMMIT.test(commit) ? commit : null;
}

export async function writeRef(cache: RepoCache, revision: string, commit: string): Promise<void> {
  if (COMMIT.test(revision) || (await cachedCommit(cache, revision)) === commit) return;
  const path = join(cache.folder, 'refs', ...revision.split('/'));
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(temporary, commit);
  await rename(temporary, path);
}

/** Files whose content is there; links to blobs that are gone are left out. */
export async function listSnapshot(cache: RepoCache, commit: string): Promise<ListedFile[]> {
  const files: ListedFile[] = [];
  const visit = async (folder: string, prefix: string, depth: number): Promise<void> => {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (files.length >= SNAPSHOT_FILES_MAX) return;
      const path = `${prefix}${entry.name}`;
      const full = join(folder, entry.name);
      if (entry.isDirectory() && depth < SNAPSHOT_DEPTH_MAX) await visit(full, `${path}/`, depth + 1);
      else if (!entry.isDirectory()) {
        const sizeBytes = await fileBytesOf(full);
        if (sizeBytes !== null) files.push({ path, sizeBytes });
      }
    }
  };
  await visit(cache.snapshot(commit), '', 0);
  return files;
}

/** Follows links; null when there is no such file. */
export async function fileBytesOf(path: string): Promise<number | null> {
  const facts = await stat(path).catch(() => null);
  return facts?.isFile() === true ? facts.size : null;
}

/**
 * Makes the blob appear in the snapshot: by a relative link, or where the system forbids links (Windows without
 * developer mode) by moving a new blob there, and by copying one that other snapshots may need.
 */
export async function linkIntoSnapshot({
  blob,
  pointer,
  isNew,
  symlinks,
}: {
  readonly blob: string;
  readonly pointer: string;
  readonly isNew: boolean;
  readonly symlinks: boolean;
}): Promise<void> {
  await mkdir(dirname(pointer), { recursive: true });
  // A broken link is in the way of a new one.
  if ((await lstat(pointer).catch(() => null)) !== null) await rm(pointer, { force: true });
  if (symlinks && (await tryLink(relative(dirname(pointer), blob), pointer))) return;
  if (isNew) await rename(blob, pointer);
  else {
    const temporary = `${pointer}.${randomBytes(4).toString('hex')}.partial`;
    await copyFile(blob, temporary);
    await rename(temporary, pointer);
  }
}

/** What systems and file systems without links answer. */
const NO_LINKS: readonly unknown[] = ['EPERM', 'EACCES', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'UNKNOWN', 'EINVAL'];

async function tryLink(target: string, path: string): Promise<boolean> {
  try {
    await symlink(target, path, 'file');
    return true;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    // Another process was faster; both link to the same content.
    if (code === 'EEXIST') return true;
    if (NO_LINKS.includes(code)) return false;
    throw error;
  }
}
