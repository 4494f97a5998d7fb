/** What the hub's shared cache holds that runoff can use. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { listSnapshot, repoCache } from './cache-layout.ts';
import { formatHubSpec, isRepoName } from './spec.ts';

export interface CachedModel {
  readonly spec: string;
  readonly path: string;
  readonly fileBytes: number;
}

const REPOS_MAX = 10_000;

/** Every .gguf file, and checkpoints as one entry each; other programs' models too. */
export async function listHubCache(cacheFolder: string): Promise<CachedModel[]> {
  const names: string[] = await readdir(cacheFolder).catch(() => []);
  const models: CachedModel[] = [];
  for (const name of names.toSorted().slice(0, REPOS_MAX)) {
    const repo = name.startsWith('models--') ? name.slice('models--'.length).replaceAll('--', '/') : '';
    if (!isRepoName(repo)) continue;
    const cache = repoCache(cacheFolder, repo);
    const commits: string[] = await readdir(join(cache.folder, 'snapshots')).catch(() => []);
    for (const commit of commits) {
      const files = await listSnapshot(cache, commit);
      for (const { path, sizeBytes } of files) {
        if (/\.gguf$/i.test(path))
          models.push({
            spec: formatHubSpec({ repo, revision: commit, wanted: path }),
            path: cache.pointer(commit, path),
            fileBytes: sizeBytes,
          });
      }
      const weights = files.filter(({ path }) => /^[^/]+\.safetensors$/.test(path));
      if (weights.length > 0) {
        const fileBytes = weights.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
        models.push({
          spec: formatHubSpec({ repo, revision: commit, wanted: 'safetensors' }),
          path: cache.snapshot(commit),
          fileBytes,
        });
      }
    }
  }
  return models;
}
