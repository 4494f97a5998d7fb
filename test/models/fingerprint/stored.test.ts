import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { storedFingerprint } from '../../../src/models/fingerprint/stored.ts';
import { repackToMlx } from '../../../src/models/mlx/repack.ts';
import { fixturePath, temporaryFolder, tinyModels, writeModel } from '../fixture.ts';

describe('storedFingerprint', async () => {
  const folder = await temporaryFolder();
  const cache = join(folder, 'cache');

  async function model(name: string): Promise<string> {
    const path = join(folder, name);
    await copyFile(fixturePath('tiny-llama.gguf'), path);
    return path;
  }

  it('is computed once and kept beside a file, with the hash of the file', async () => {
    const path = await model('once.gguf');
    const first = await storedFingerprint(path, cache);
    expect(first.fingerprint).toBe(tinyModels.llama.fingerprint);
    expect(first.sha256).toMatch(/^[0-9a-f]{64}$/);
    const sidecar = `${path}.fingerprint.json`;
    const kept = JSON.parse(await readFile(sidecar, 'utf8')) as Record<string, unknown>;
    expect(kept).toMatchObject({ rule: 'rf1', files: [{ name: 'once.gguf' }], ...first });
    await writeFile(sidecar, JSON.stringify({ ...kept, fingerprint: 'rf1-kept' }));
    expect((await storedFingerprint(path, cache)).fingerprint).toBe('rf1-kept');
  });

  it('is made again when the file, its time or the rule changed, or the record is damaged', async () => {
    const path = await model('again.gguf');
    await storedFingerprint(path, cache);
    const sidecar = `${path}.fingerprint.json`;
    const text = await readFile(sidecar, 'utf8');
    const fake = (change: (kept: string) => string): Promise<void> =>
      writeFile(sidecar, change(text.replace(/"rf1-[0-9a-f]+"/, '"rf1-fake"')));
    const damages: Record<string, (kept: string) => string> = {
      rule: (kept) => kept.replace('"rule": "rf1"', '"rule": "rf0"'),
      size: (kept) => kept.replace(/"bytes": \d+/, '"bytes": 1'),
      json: () => '{',
      shape: () => '[]',
    };
    for (const change of Object.values(damages)) {
      await fake(change);
      expect((await storedFingerprint(path, cache)).fingerprint).toBe(tinyModels.llama.fingerprint);
    }
    await fake((kept) => kept);
    await utimes(path, 1, 1);
    expect((await storedFingerprint(path, cache)).fingerprint).toBe(tinyModels.llama.fingerprint);
  });

  it('of a folder follows its weights and its configuration', async () => {
    const out = join(folder, 'mlx');
    await repackToMlx(fixturePath('tiny-llama.gguf'), out, { scales: 'f32' });
    expect(await storedFingerprint(out, cache)).toEqual({ sha256: null, fingerprint: tinyModels.llama.fingerprint });
    const sidecar = join(out, 'fingerprint.json');
    await writeFile(sidecar, (await readFile(sidecar, 'utf8')).replace(/"rf1-[0-9a-f]+"/, '"rf1-kept"'));
    expect((await storedFingerprint(out, cache)).fingerprint).toBe('rf1-kept');
    await utimes(join(out, 'config.json'), 1, 1);
    expect((await storedFingerprint(out, cache)).fingerprint).toBe(tinyModels.llama.fingerprint);
  });

  it('goes to the cache where it cannot be written beside the model', async () => {
    const path = await model('locked.gguf');
    // A folder of that name cannot be replaced by a file, whatever the rights of the user.
    await mkdir(join(`${path}.fingerprint.json`, 'x'), { recursive: true });
    const { fingerprint } = await storedFingerprint(path, join(folder, 'own-cache'));
    expect(fingerprint).toBe(tinyModels.llama.fingerprint);
    expect(existsSync(join(folder, 'own-cache'))).toBe(true);
    expect((await storedFingerprint(path, join(folder, 'own-cache'))).fingerprint).toBe(fingerprint);
  });

  it('goes to the cache for a link into a cache that other programs share', async () => {
    const path = join(folder, 'link.gguf');
    await symlink(await model('target.gguf'), path);
    expect((await storedFingerprint(path, cache)).fingerprint).toBe(tinyModels.llama.fingerprint);
    expect(existsSync(`${path}.fingerprint.json`)).toBe(false);
    expect((await storedFingerprint(path, cache)).fingerprint).toBe(tinyModels.llama.fingerprint);
  });

  it('is null for values that cannot be read: the hash is kept all the same', async () => {
    const path = join(folder, 'iq2.gguf');
    await writeModel(path, { tensors: { 'output.weight': { type: 'IQ2_XS', shape: [8, 256] } } });
    expect(await storedFingerprint(path, cache)).toMatchObject({ fingerprint: null, sha256: expect.any(String) });
  });
});
