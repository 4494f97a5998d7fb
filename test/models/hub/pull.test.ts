/** What a pull leaves on the disk, and what it asks for. */
import { existsSync, lstatSync, readFileSync, readlinkSync, readdirSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { failure } from '../fixture.ts';
import { gitHash, sha256, TOKEN } from '../../fixtures/hub/answers.ts';
import { bytes, useHub } from './hub-fixture.ts';

const bench = useHub();
const MODEL = bytes(95_000);

describe('a repository with one GGUF', () => {
  it('comes whole, by several ranges, under its hash, linked from its commit, with its card', async () => {
    const { server, pull, cacheFolder } = bench();
    const card = Buffer.from('---\nlicense: mit\n---\n');
    const { commit } = server.add('owner/tiny', {
      'tiny.gguf': MODEL,
      'README.md': card,
      'train.py': 'x',
      'a.bin': 'x',
      'b.pt': 'x',
    });
    const model = await pull('hf:owner/tiny');
    const folder = join(cacheFolder, 'models--owner--tiny');
    const path = join(folder, 'snapshots', commit, 'tiny.gguf');
    expect(model).toEqual({
      kind: 'gguf',
      path,
      weights: [path],
      fileBytes: 95_000,
      sha256: sha256(MODEL),
      pinned: `hf:owner/tiny@${commit}:tiny.gguf`,
      downloadedBytes: 95_000 + card.length,
      warnings: [],
    });
    expect(readFileSync(path).equals(MODEL)).toBe(true);
    expect(readlinkSync(path)).toBe(join('..', '..', 'blobs', sha256(MODEL)));
    expect(readdirSync(join(folder, 'blobs')).toSorted()).toEqual([sha256(MODEL), gitHash(card)].toSorted());
    expect(readdirSync(join(folder, 'snapshots', commit)).toSorted()).toEqual(['README.md', 'tiny.gguf']);
    expect(readFileSync(join(folder, 'refs', 'main'), 'utf8')).toBe(commit);
    expect(new Set(server.requests('cdn').map(({ range }) => range)).size).toBe(10);
  });

  it('asks for the revision alone when everything is there', async () => {
    const { server, pull } = bench();
    const { commit } = server.add('owner/tiny', { 'tiny.gguf': MODEL });
    await pull('hf:owner/tiny');
    server.seen.length = 0;
    expect((await pull('hf:owner/tiny')).downloadedBytes).toBe(0);
    expect(server.seen.map(({ method, path }) => `${method} ${path.split('?')[0]}`)).toEqual([
      'GET /api/models/owner/tiny/revision/main',
      `GET /api/models/owner/tiny/tree/${commit}`,
    ]);
  });

  it('asks nobody for one file at one commit that is there', async () => {
    const { server, pull } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    const { pinned } = await pull('hf:owner/tiny');
    server.seen.length = 0;
    expect((await pull(pinned)).pinned).toBe(pinned);
    expect(server.seen).toEqual([]);
  });

  it('takes content that another program has put into the cache', async () => {
    const { server, pull, cacheFolder } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    const blob = join(cacheFolder, 'models--owner--tiny', 'blobs', sha256(MODEL));
    await mkdir(dirname(blob), { recursive: true });
    await writeFile(blob, MODEL);
    const { path, downloadedBytes } = await pull('hf:owner/tiny');
    expect(downloadedBytes).toBe(0);
    expect(readFileSync(path).equals(MODEL)).toBe(true);
    expect(server.requests('cdn')).toEqual([]);
  });

  it('fetches again what a broken link points to', async () => {
    const { server, pull, cacheFolder } = bench();
    const { commit } = server.add('owner/tiny', { 'tiny.gguf': MODEL });
    const pointer = join(cacheFolder, 'models--owner--tiny', 'snapshots', commit, 'tiny.gguf');
    await mkdir(dirname(pointer), { recursive: true });
    await symlink(join('..', '..', 'blobs', 'gone'), pointer);
    expect(readFileSync((await pull('hf:owner/tiny')).path).equals(MODEL)).toBe(true);
  });

  it('is a file of its own where links are switched off, as on Windows', async () => {
    const { server, hub, pull, cacheFolder } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    const { path } = await pull('hf:owner/tiny', { hub: hub({ symlinks: false }) });
    expect(lstatSync(path).isSymbolicLink()).toBe(false);
    expect(readFileSync(path).equals(MODEL)).toBe(true);
    expect(readdirSync(join(cacheFolder, 'models--owner--tiny', 'blobs'))).toEqual([]);
    server.seen.length = 0;
    await pull('hf:owner/tiny', { hub: hub({ symlinks: false }) });
    expect(server.requests('cdn')).toEqual([]);
  });
});

describe('other repositories', () => {
  it('a checkpoint comes with what conversion needs, and without code and pickles', async () => {
    const { server, pull } = bench();
    server.add('owner/base', {
      'config.json': '{}',
      'model-00001-of-00002.safetensors': bytes(20_000, 2),
      'model-00002-of-00002.safetensors': bytes(15_000, 3),
      'model.safetensors.index.json': '{}',
      'tokenizer.json': '{"a":1}',
      'pytorch_model.bin': bytes(10),
      'modeling.py': 'import os',
      'onnx/model.safetensors': bytes(10),
      'consolidated.safetensors': bytes(10, 4),
      LICENSE: 'text',
    });
    const model = await pull('hf:owner/base');
    expect(model).toMatchObject({ kind: 'safetensors', fileBytes: 35_000, sha256: null });
    expect(model.pinned).toMatch(/^hf:owner\/base@[0-9a-f]{40}:safetensors$/);
    expect(readdirSync(model.path).toSorted()).toEqual([
      'LICENSE',
      'config.json',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
      'tokenizer.json',
    ]);
  });

  it('a GGUF in parts comes whole, by any of its names', async () => {
    const { server, pull } = bench();
    server.add('owner/big', {
      'Q8_0/big-Q8_0-00001-of-00002.gguf': bytes(12_000, 2),
      'Q8_0/big-Q8_0-00002-of-00002.gguf': bytes(9_000, 3),
      'big-Q4_K_M.gguf': bytes(5_000, 4),
    });
    const model = await pull('hf:owner/big:Q8_0');
    expect(model.weights.map((path) => path.split('/').at(-1))).toEqual([
      'big-Q8_0-00001-of-00002.gguf',
      'big-Q8_0-00002-of-00002.gguf',
    ]);
    expect(model.weights.every((path) => existsSync(path))).toBe(true);
    expect(await pull('hf:owner/big:Q8_0/big-Q8_0-00002-of-00002.gguf')).toMatchObject({
      weights: model.weights,
      downloadedBytes: 0,
    });
  });

  it('refuses before anything is downloaded', async () => {
    const { server, pull, cacheFolder } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    const accept = (): never => {
      throw new TypeError('not this one');
    };
    await expect(pull('hf:owner/tiny', { accept })).rejects.toThrow('not this one');
    expect(server.requests('cdn')).toEqual([]);
    expect(existsSync(join(cacheFolder, 'models--owner--tiny'))).toBe(false);
  });
});

describe('the network', () => {
  it('shows the token to the hub and to nobody else', async () => {
    const { server, hub, pull } = bench();
    server.add('owner/secret', { 'm.gguf': MODEL }, { access: 'gated' });
    await pull('hf:owner/secret', { hub: hub({ token: TOKEN }) });
    expect(
      new Set(server.seen.filter(({ origin }) => origin === 'hub').map(({ authorization }) => authorization)),
    ).toEqual(new Set([`Bearer ${TOKEN}`]));
    expect(server.seen.filter(({ origin }) => origin === 'cdn').map(({ authorization }) => authorization)).toEqual(
      Array.from({ length: 10 }, () => null),
    );
  });

  it('asks the hub for the next page, whatever host the page names', async () => {
    const { server, hub, pull } = bench();
    server.add('owner/many', { 'm.gguf': MODEL, a: '1', b: '2', c: '3', d: '4' });
    const elsewhere = server.cdnEndpoint;
    server.intercept = (_request, response) => {
      const setHeader = response.setHeader.bind(response);
      response.setHeader = (name, value) =>
        setHeader(name, name === 'link' ? String(value).replace(server.endpoint, elsewhere) : value);
      return false;
    };
    await pull('hf:owner/many', { hub: hub({ token: TOKEN }) });
    expect(server.seen.filter(({ origin, authorization }) => origin === 'cdn' && authorization !== null)).toEqual([]);
    expect(server.requests('hub').filter(({ path }) => path.includes('cursor='))).toHaveLength(1);
  });

  it('off: the cached revision is used, and what is missing is said', async () => {
    const { server, hub, pull } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    const { path } = await pull('hf:owner/tiny');
    server.seen.length = 0;
    for (const options of [{ offlineBecause: '--no-install' }, { hub: hub({ offlineBecause: 'HF_HUB_OFFLINE' }) }])
      expect((await pull('hf:owner/tiny', options)).path).toBe(path);
    const { code, message, hint } = await failure(
      pull('hf:owner/other:x.gguf', { hub: hub({ offlineBecause: 'HF_HUB_OFFLINE' }) }),
    );
    expect(code).toBe('model-not-found');
    expect(message).toContain("hf:owner/other:x.gguf is not in the hub's cache");
    expect(message).toContain('the network is off (HF_HUB_OFFLINE)');
    expect(hint).toBe('With a network: runoff models pull hf:owner/other:x.gguf');
    expect(server.seen).toEqual([]);
  });

  it('down: the cached revision is used, with a warning', async () => {
    const { server, pull } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    const first = await pull('hf:owner/tiny');
    server.intercept = (_request, response) => {
      response.writeHead(503).end();
      return true;
    };
    const again = await pull('hf:owner/tiny');
    expect(again).toMatchObject({ path: first.path, pinned: first.pinned });
    expect(again.warnings).toEqual([
      expect.stringContaining('could not be asked for the newest revision of owner/tiny; the one in the cache is used'),
    ]);
    const { code } = await failure(pull('hf:owner/tiny:other.gguf'));
    expect(code).toBe('download-failed');
  });

  it('needs room: refused before the first byte', async () => {
    const { server, pull } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    server.intercept = (_request, response, { path }) => {
      if (!path.includes('/tree/')) return false;
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify([
          {
            type: 'file',
            oid: 'a'.repeat(40),
            size: 9e15,
            path: 'tiny.gguf',
            lfs: { oid: 'b'.repeat(64), size: 9e15 },
          },
        ]),
      );
      return true;
    };
    const { code, message, hint } = await failure(pull('hf:owner/tiny'));
    expect(code).toBe('not-enough-space');
    expect(message).toContain('9,000,000,000 MB are to be downloaded');
    expect(hint).toContain('HF_HUB_CACHE');
    expect(server.requests('cdn')).toEqual([]);
  });
});

describe('progress', () => {
  it('names the file, the bytes of all, and the check', async () => {
    const { server, pull, progress } = bench();
    server.add('owner/tiny', { 'tiny.gguf': MODEL });
    await pull('hf:owner/tiny');
    expect(progress[0]).toBe('Asking 127.0.0.1 for owner/tiny'.replace('127.0.0.1', new URL(server.endpoint).host));
    expect(progress[1]).toBe('Downloading tiny.gguf (0 of 1 MB)');
    expect(progress.at(-1)).toBe('Checking tiny.gguf');
    await rm(join(bench().cacheFolder, 'models--owner--tiny'), { recursive: true });
  });
});
