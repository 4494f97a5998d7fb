import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkPaths } from '../../../src/models/hub/file-path.ts';
import { retryAfterMs } from '../../../src/models/hub/refusals.ts';
import { hubSettings } from '../../../src/models/hub/settings.ts';
import { formatHubSpec, parseHubSpec } from '../../../src/models/hub/spec.ts';
import { transferProgress } from '../../../src/models/hub/transfer-progress.ts';
import { failure } from '../fixture.ts';

describe('a specification', () => {
  it.each([
    ['hf:o/m', { repo: 'o/m', revision: 'main', wanted: null }],
    ['hf:gpt2', { repo: 'gpt2', revision: 'main', wanted: null }],
    ['hf:o/m@refs/pr/1', { repo: 'o/m', revision: 'refs/pr/1', wanted: null }],
    ['hf:o/m.v1@v1.0:a/b-Q4_0.gguf', { repo: 'o/m.v1', revision: 'v1.0', wanted: 'a/b-Q4_0.gguf' }],
    ['hf:o/m:Q4_K_M', { repo: 'o/m', revision: 'main', wanted: 'Q4_K_M' }],
  ])('%s', (text, parts) => {
    expect(parseHubSpec(text)).toEqual(parts);
    expect(formatHubSpec(parseHubSpec(text))).toBe(text);
  });

  it.each([
    'hf:',
    'hf:o/',
    'hf:o/m/x',
    'hf:../m',
    'hf:o/..',
    'hf:o/m--x',
    'hf:o/m.git',
    'hf:o/m@',
    'hf:o/m@../x',
    'hf:o/m@a//b',
    'hf:o/m@/x',
    'hf:o/m@a/.b',
    'hf:o/m:',
    'hf:o m',
  ])('%s is refused', (text) => {
    expect(() => parseHubSpec(text)).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

describe('paths that a listing names', () => {
  it.each([
    [['../x'], 'a part that leads elsewhere'],
    [['a.gguf', 'A.gguf'], 'a.gguf and A.gguf are one file on macOS and Windows'],
    [['a.gguf', 'a.gguf'], 'a.gguf is listed twice'],
  ])('%j', (paths, message) => {
    expect(() => checkPaths(paths, 'o/m')).toThrow(message);
  });
});

describe('settings', () => {
  const places = async (env: Record<string, string>) => {
    const { cacheFolder, tokenPlace, token, endpoint } = await hubSettings({ HF_TOKEN_PATH: '/nowhere/token', ...env });
    return { cacheFolder, tokenPlace, token, endpoint };
  };

  it('are those of the Python library', async () => {
    const standard = join(homedir(), '.cache', 'huggingface', 'hub');
    expect(await places({})).toEqual({
      cacheFolder: standard,
      token: null,
      tokenPlace: 'HF_TOKEN',
      endpoint: 'https://huggingface.co',
    });
    expect((await places({ XDG_CACHE_HOME: '/x' })).cacheFolder).toBe('/x/huggingface/hub');
    expect((await places({ HF_HOME: '/h' })).cacheFolder).toBe('/h/hub');
    expect((await places({ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old' })).cacheFolder).toBe('/old');
    expect((await places({ HUGGINGFACE_HUB_CACHE: '/old', HF_HUB_CACHE: '/c' })).cacheFolder).toBe('/c');
    expect((await places({ HF_HUB_CACHE: '~/c' })).cacheFolder).toBe(join(homedir(), 'c'));
    expect((await places({ HF_ENDPOINT: 'https://hub.example.org/' })).endpoint).toBe('https://hub.example.org');
  });

  it('the token: HF_TOKEN, then the file; none where it is switched off', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'runoff-token-'));
    const file = join(folder, 'token');
    await writeFile(file, 'hf_file\n');
    expect(await places({ HF_TOKEN_PATH: file })).toMatchObject({ token: 'hf_file', tokenPlace: file });
    expect(await places({ HF_TOKEN_PATH: '', HF_HOME: folder })).toMatchObject({ token: 'hf_file' });
    expect(await places({ HF_TOKEN_PATH: file, HF_TOKEN: ' hf_env ' })).toMatchObject({
      token: 'hf_env',
      tokenPlace: 'HF_TOKEN',
    });
    expect(await places({ HF_TOKEN: 'hf_env', HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' })).toMatchObject({ token: null });
    await writeFile(file, 'hf_a\nhf_b\n');
    const { code, message } = await failure(places({ HF_TOKEN_PATH: file }));
    expect([code, message]).toEqual([
      'usage',
      `the token in ${file} is not a token: it is too long or has spaces or line ends inside`,
    ]);
    await rm(folder, { recursive: true });
  });

  it('offline, by either variable', async () => {
    for (const [name, value, expected] of [
      ['HF_HUB_OFFLINE', '1', 'HF_HUB_OFFLINE'],
      ['TRANSFORMERS_OFFLINE', 'yes', 'TRANSFORMERS_OFFLINE'],
      ['HF_HUB_OFFLINE', '0', null],
    ] as const)
      expect((await hubSettings({ [name]: value, HF_TOKEN: 'x' })).offlineBecause).toBe(expected);
  });

  it.each(['hub.example.org', 'ftp://x', 'https://user:secret@hub/'])(
    'HF_ENDPOINT=%s is refused, without what is secret in it',
    async (value) => {
      const { code, message } = await failure(hubSettings({ HF_ENDPOINT: value }));
      expect(code).toBe('usage');
      expect(message).not.toContain('secret');
    },
  );
});

describe('pauses that a server asks for', () => {
  it.each([
    [{ 'retry-after': '120' }, 120_000],
    [{ 'retry-after': 'Thu, 01 Jan 1970 00:01:00 GMT' }, 59_000],
    [{ 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 0],
    [{ ratelimit: '"api";r=0;t=55' }, 55_000],
    [{ ratelimit: '"api";r=10;t=55' }, null],
    [{ 'retry-after': 'soon' }, null],
    [{}, null],
  ])('%j', (headers, expected) => {
    expect(retryAfterMs(new Headers(headers), 1_000)).toBe(expected);
  });
});

describe('progress', () => {
  it('has the rate of the last seconds and the time that is left at it', () => {
    const progress = transferProgress(1_000e6);
    const lines = [0, 1_000, 2_000, 12_000].map((atMs) => progress.text('m.gguf', atMs * 10_000, atMs));
    expect(lines).toEqual([
      'Downloading m.gguf (0 of 1,000 MB)',
      'Downloading m.gguf (10 of 1,000 MB)',
      'Downloading m.gguf (20 of 1,000 MB, 10.0 MB/s, 2 min left)',
      'Downloading m.gguf (120 of 1,000 MB, 10.0 MB/s, 2 min left)',
    ]);
    expect(progress.text('m.gguf', 120e6, 30_000)).toBe('Downloading m.gguf (120 of 1,000 MB, nothing arrives)');
  });
});
