/** Files on their way to the hub: whole, once, and with the token for the hub alone. */
import { rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { uploadFiles, type Upload } from '../../../src/models/hub/upload.ts';
import { refuse, sha256, TOKEN } from '../../fixtures/hub/answers.ts';
import { failure } from '../fixture.ts';
import { bytes, useHub } from './hub-fixture.ts';

const bench = useHub();
const WEIGHTS = bytes(120_000, 9);

async function send(more: Partial<Upload> = {}, signal?: AbortSignal) {
  const { hub, cacheFolder, progress } = bench();
  // As in the hub's cache: a link to the content.
  const file = join(cacheFolder, 'm.gguf');
  await writeFile(join(cacheFolder, 'blob'), WEIGHTS);
  await rm(file, { force: true });
  await symlink('blob', file);
  const files = [
    { path: 'm.gguf', content: { file }, keepExisting: false },
    { path: 'README.md', content: { text: '# Card' }, keepExisting: true },
  ];
  return uploadFiles({
    hub: hub({ token: TOKEN }),
    upload: { repo: 'me/m', type: 'model', isPrivate: false, title: 'Add m', files, ...more },
    signal,
    onProgress: (text) => progress.push(text),
  });
}

const sent = (): Record<string, string> =>
  Object.fromEntries([...bench().server.published].map(([path, content]) => [path, sha256(content)]));

it('arrives as it is, in one commit, with what it is doing', async () => {
  const { server, progress } = bench();
  expect(await send()).toEqual({ url: `${server.endpoint}/me/m`, commit: 'c'.repeat(40), kept: [] });
  expect(sent()).toEqual({ 'me/m/m.gguf': sha256(WEIGHTS), 'me/m/README.md': sha256('# Card') });
  expect(progress).toContain('Hashing m.gguf (100%)');
  expect(progress).toContain('Sending m.gguf (100%)');
  const tokens = server.seen.map(
    ({ origin, authorization }) => `${origin} ${authorization === null ? 'without' : 'with'}`,
  );
  expect(new Set(tokens)).toEqual(new Set(['hub with', 'cdn without']));
});

it('goes to a dataset that is there already', async () => {
  const { server } = bench();
  server.created.push('dataset/me/m');
  expect((await send({ type: 'dataset' })).url).toBe(`${server.endpoint}/datasets/me/m`);
  expect(server.created).toEqual(['dataset/me/m']);
});

it('goes in the parts that the hub asks for', async () => {
  const { server } = bench();
  const parts: { part: number; hash: string }[] = [];
  server.multipartBytes = 50_000;
  server.onPart = (part, content) => parts.push({ part, hash: sha256(content) });
  await send();
  const slices = [WEIGHTS.subarray(0, 50_000), WEIGHTS.subarray(50_000, 100_000), WEIGHTS.subarray(100_000)];
  expect(parts.toSorted((a, b) => a.part - b.part)).toEqual(
    slices.map((slice, i) => ({ part: i + 1, hash: sha256(slice) })),
  );
  expect(sent()['me/m/m.gguf']).toBe(sha256(WEIGHTS));
});

it('is sent again after 5xx and a cut connection', async () => {
  const { server } = bench();
  let failures = 0;
  server.intercept = (request, response, { origin }) => {
    if (origin !== 'cdn' || failures >= 2) return false;
    failures += 1;
    if (failures === 1) response.writeHead(503).end();
    else request.destroy();
    return true;
  };
  await send();
  expect(sent()['me/m/m.gguf']).toBe(sha256(WEIGHTS));
  expect(failures).toBe(2);
});

describe('nothing is committed', () => {
  it('when the hub refuses, and the error says what and never the token', async () => {
    const { server } = bench();
    for (const [part, status, code, text] of [
      ['/repos/create', 403, 'access-denied', 'the hub forbids it (no)'],
      ['/preupload/', 404, 'model-not-found', 'may not see it'],
      ['/info/lfs/', 400, 'publish-failed', 'the server answered 400 (no)'],
      ['/commit/', 500, 'publish-failed', 'the server answered 500 (no)'],
    ] as const) {
      server.intercept = (_request, response, { path }) => {
        if (!path.includes(part)) return false;
        refuse(response, status, '', 'no');
        return true;
      };
      const error = await failure(send());
      expect([error.code, error.message]).toEqual([code, expect.stringContaining(text)]);
      expect(JSON.stringify(error)).not.toContain(TOKEN);
    }
    expect(server.published.size).toBe(0);
  });

  it('when it is stopped', async () => {
    const { server } = bench();
    const stop = new AbortController();
    server.intercept = (_request, _response, { origin }) => {
      if (origin !== 'cdn') return false;
      stop.abort();
      return true;
    };
    expect((await failure(send({}, stop.signal))).code).toBe('interrupted');
    expect(server.published.size).toBe(0);
  });
});
