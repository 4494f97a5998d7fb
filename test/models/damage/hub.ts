/** Damaged answers of the hub's API: what a proxy, a mirror or an attacker sends instead of a description and a listing. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { chooseFiles } from '../../../src/models/hub/choose-files.ts';
import { checkPaths } from '../../../src/models/hub/file-path.ts';
import { NETWORK_LIMITS } from '../../../src/models/hub/limits.ts';
import { listRepository, readRevision } from '../../../src/models/hub/repository.ts';
import type { Hub } from '../../../src/models/hub/request.ts';
import { damageJson } from './damage.ts';
import type { PrepareReader } from './survive.ts';

const COMMIT = 'c0ffee00'.repeat(5);
const INFO = JSON.stringify({
  _id: '6',
  id: 'owner/model',
  sha: COMMIT,
  private: false,
  gated: false,
  lastModified: '2026-11-01T00:00:00.000Z',
  downloads: 1,
  likes: 1,
  cardData: { license: 'apache-2.0' },
});
const blob = (path: string, size: number): object => ({
  type: 'file',
  path,
  size,
  oid: 'a'.repeat(40),
  lfs: { oid: 'b'.repeat(64), size, pointerSize: 130 },
});
const LISTING = JSON.stringify([
  { type: 'directory', path: 'other', size: 0, oid: 'd'.repeat(40) },
  { type: 'file', path: 'README.md', size: 100, oid: 'e'.repeat(40) },
  { type: 'file', path: 'LICENSE', size: 100, oid: 'f'.repeat(40) },
  blob('model-Q4_0-00001-of-00002.gguf', 1_000),
  blob('model-Q4_0-00002-of-00002.gguf', 2_000),
]);
const ROOT = resolve('/cache');

interface Listed {
  readonly type: string;
  readonly path: string;
  readonly size: number;
  readonly lfs?: { readonly size: number };
}

export const prepareHub: PrepareReader = async (folder) => {
  let [info, listing] = [INFO, LISTING];
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(request.url?.includes('/tree/') === true ? listing : info);
  });
  await new Promise<void>((started) => server.listen(0, '127.0.0.1', started));
  const hub: Hub = {
    settings: {
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      cacheFolder: folder,
      token: null,
      tokenPlace: 'HF_TOKEN',
      offlineBecause: null,
      symlinks: true,
    },
    limits: { ...NETWORK_LIMITS, failuresMax: 1 },
  };
  return {
    async damage(random, index) {
      const inListing = index % 4 > 0;
      info = inListing ? INFO : damageJson(INFO, random);
      listing = inListing ? damageJson(LISTING, random) : LISTING;
      return [
        async () => {
          const { commit, licence } = await readRevision(hub, { repo: 'owner/model', revision: 'main' });
          strictEqual(commit, (JSON.parse(info) as { sha: unknown }).sha);
          ok(licence === null || licence.length <= 100);
          const files = await listRepository(hub, { repo: 'owner/model', commit });
          const said = (JSON.parse(listing) as Listed[]).filter(({ type }) => type === 'file');
          deepStrictEqual(
            files.map(({ path, sizeBytes }) => [path, sizeBytes]),
            said.map(({ path, size, lfs }) => [path, lfs?.size ?? size]),
          );
          const { weights, companions } = chooseFiles(files, null, 'owner/model');
          const paths = [...weights, ...companions].map(({ path }) => path);
          checkPaths(paths, 'owner/model');
          for (const path of paths)
            ok(resolve(join(ROOT, path)).startsWith(`${ROOT}/`) || process.platform === 'win32');
          strictEqual(new Set(paths).size, paths.length);
        },
      ];
    },
    async close() {
      server.closeAllConnections();
      await new Promise((stopped) => server.close(stopped));
    },
  };
};
