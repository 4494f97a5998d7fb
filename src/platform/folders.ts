import { lstat, opendir, statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import envPaths from 'env-paths';

/** More entries than any environment or model folder has; beyond it the size is a lower bound. */
const ENTRIES_MAX = 500_000;

/** Models, managed environments, proofs: everything there can be made again. `RUNOFF_CACHE` names another place. */
export function cacheFolder(): string {
  const override = process.env['RUNOFF_CACHE'];
  return override ? resolve(override) : envPaths('runoff', { suffix: '' }).cache;
}

/** Bytes on disk of a file or of all files below a folder; links are not followed, what is missing counts 0. */
export async function folderBytes(path: string): Promise<number> {
  let bytes = 0;
  let entries = 0;
  const waiting = [path];
  for (let next = waiting.pop(); next !== undefined && entries < ENTRIES_MAX; next = waiting.pop()) {
    entries += 1;
    const facts = await lstat(next).catch(() => null);
    if (facts === null) continue;
    // Allocated blocks of 512 bytes where the system tells them: a sparse or tiny file is not its length.
    bytes += facts.blocks > 0 ? facts.blocks * 512 : facts.size;
    if (facts.isDirectory()) waiting.push(...(await childrenOf(next)));
  }
  return bytes;
}

/** Bytes that we may still write at a path that need not exist yet; null when the system does not tell. */
export async function freeBytes(path: string): Promise<number | null> {
  for (let at = resolve(path); ; at = dirname(at)) {
    try {
      const { bavail, bsize } = await statfs(at);
      return bavail * bsize;
    } catch {
      if (dirname(at) === at) return null;
    }
  }
}

async function childrenOf(folder: string): Promise<string[]> {
  const paths: string[] = [];
  try {
    for await (const entry of await opendir(folder)) paths.push(join(folder, entry.name));
  } catch {
    // Unreadable or gone meanwhile: counts nothing.
  }
  return paths;
}
