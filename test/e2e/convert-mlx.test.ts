import { readdirSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readGgufHeader } from '../../src/models/gguf/read-header.ts';
import { fixturePath } from '../models/fixture.ts';
import { useWorkspace } from './cli.ts';

const workspace = useWorkspace();

describe('models convert --to mlx and models verify', () => {
  test('lossless, then verified, then quantised: exit codes 0, 6 and 7', async () => {
    const w = workspace();
    await copyFile(fixturePath('tiny-qwen3.gguf'), join(w.folder, 'tiny.gguf'));
    const converted = await w.runoff(['models', 'convert', 'tiny.gguf', '--to', 'mlx', '--out', 'lossless']);
    expect(converted.code).toBe(0);
    expect(converted.stderr).toContain('Every weight is the same number as in the GGUF; that was checked.');
    const same = await w.runoff(['models', 'verify', 'tiny.gguf', 'lossless']);
    expect([same.code, same.stdout.split(':')[0]]).toEqual([0, 'Identical']);
    const eight = await w.runoff(['models', 'convert', 'tiny.gguf', '--to', 'mlx', '--bits', '8', '--group', '32']);
    expect(eight.code).toBe(0);
    expect(readdirSync(join(w.folder, 'tiny-mlx-8bit'))).toContain('config.json');
    const close = await w.runoff(['models', 'verify', 'tiny.gguf', 'tiny-mlx-8bit', '--json']);
    expect([close.code, (JSON.parse(close.stdout) as { verdict: string }).verdict]).toEqual([6, 'within']);
    const far = await w.runoff(['models', 'verify', 'tiny.gguf', 'tiny-mlx-8bit', '--within', '0']);
    expect([far.code, far.stdout.split(':')[0]]).toEqual([7, 'Different']);
    const inspected = await w.runoff(['models', 'inspect', 'tiny-mlx-8bit']);
    expect(inspected.stdout).toMatch(/quantisation +8-bit affine, groups of 32/);
  });

  test('and back to a GGUF: the same weights, and the same vocabulary', async () => {
    const w = workspace();
    await copyFile(fixturePath('tiny-qwen3.gguf'), join(w.folder, 'tiny.gguf'));
    expect(await w.runoff(['models', 'convert', 'tiny.gguf', '--to', 'mlx', '--out', 'mlx'])).toMatchObject({
      code: 0,
    });
    const back = await w.runoff(['models', 'convert', 'mlx', '--to', 'gguf', '--out', 'back.gguf']);
    expect(back.code).toBe(0);
    expect(back.stderr).toContain('Every weight is the same number as in the folder; that was checked.');
    const same = await w.runoff(['models', 'verify', 'tiny.gguf', 'back.gguf']);
    expect([same.code, same.stdout.split(':')[0]]).toEqual([0, 'Identical']);
    const [before, after] = [
      (await readGgufHeader(join(w.folder, 'tiny.gguf'))).metadata,
      (await readGgufHeader(join(w.folder, 'back.gguf'))).metadata,
    ];
    for (const key of ['model', 'pre', 'tokens', 'token_type', 'merges', 'bos_token_id', 'eos_token_id'])
      expect([key, after.get(`tokenizer.ggml.${key}`)]).toEqual([key, before.get(`tokenizer.ggml.${key}`)]);
    const lossy = await w.runoff(['models', 'convert', 'mlx', '--to', 'gguf', '--quant', 'q8_0', '--out', 'q8.gguf']);
    expect(lossy.code).toBe(0);
    expect(lossy.stderr).toContain('Without --quant the weights stay the same numbers, where a GGUF can hold them.');
  });

  test('a width that does not exist is a wrong command line', async () => {
    const { code, stderr } = await workspace().runoff(['models', 'convert', 'x.gguf', '--to', 'mlx', '--bits', '7']);
    expect(code).toBe(2);
    expect(stderr).toContain('One of 2, 3, 4, 5, 6, 8.');
  });
});
