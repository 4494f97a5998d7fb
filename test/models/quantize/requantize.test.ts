import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readGgufHeader } from '../../../src/models/gguf/read-header.ts';
import { requantizeToQ4_0 } from '../../../src/models/quantize/requantize.ts';
import { failure, fixturePath, patched, temporaryFolder, writeModel } from '../fixture.ts';

const TINY = fixturePath('tiny-llama.gguf');

describe('requantizeToQ4_0', async () => {
  const folder = await temporaryFolder();

  it('changes the Q4_1 tensors and the file type, and nothing else', async () => {
    const out = join(folder, 'out.gguf');
    const seen: number[] = [];
    const result = await requantizeToQ4_0(TINY, out, {
      onProgress: ({ doneBytes, totalBytes }) => seen.push(doneBytes / totalBytes),
    });
    expect(result).toMatchObject({ path: out, requantizedTensorCount: 1, copiedTensorCount: 10 });
    expect(seen.at(-1)).toBe(1);
    const [before, after] = [await readGgufHeader(TINY), await readGgufHeader(out)];
    expect(result.outputBytes).toBe(after.fileBytes);
    expect(new Map(after.metadata).set('general.file_type', before.metadata.get('general.file_type')!)).toEqual(
      before.metadata,
    );
    expect(after.metadata.get('general.file_type')).toEqual({ type: 'u32', value: 2 });
    const [oldBytes, newBytes] = [await readFile(TINY), await readFile(out)];
    for (const [i, tensor] of after.tensors.entries()) {
      const old = before.tensors[i]!;
      expect([tensor.name, tensor.dimensions]).toEqual([old.name, old.dimensions]);
      expect(tensor.type.name).toBe(old.type.name === 'Q4_1' ? 'Q4_0' : old.type.name);
      if (old.type.name === 'Q4_1') continue;
      const hash = (bytes: Buffer, { offset, byteLength }: { offset: number; byteLength: number }): string =>
        createHash('sha256')
          .update(bytes.subarray(offset, offset + byteLength))
          .digest('hex');
      expect(hash(newBytes, tensor)).toBe(hash(oldBytes, old));
    }
  });

  it('adds the file type where there is none', async () => {
    const path = join(folder, 'untyped.gguf');
    await writeModel(path, { metadata: { 'general.file_type': null } });
    await requantizeToQ4_0(path, join(folder, 'typed.gguf'));
    expect((await readGgufHeader(join(folder, 'typed.gguf'))).metadata.get('general.file_type')).toEqual({
      type: 'u32',
      value: 2,
    });
  });

  it('leaves nothing behind when it is aborted, and does not touch an earlier output', async () => {
    const own = join(folder, 'own');
    await mkdir(own);
    await writeFile(join(own, 'out.gguf'), 'earlier');
    const controller = new AbortController();
    await expect(
      requantizeToQ4_0(TINY, join(own, 'out.gguf'), {
        signal: controller.signal,
        onProgress: () => controller.abort(),
      }),
    ).rejects.toMatchObject({ name: 'AbortError' });
    expect(readdirSync(own)).toEqual(['out.gguf']);
    expect(await readFile(join(own, 'out.gguf'), 'utf8')).toBe('earlier');
  });

  it('refuses a file on itself, a file without Q4_1, and a folder that is not there', async () => {
    const codes = [
      await failure(requantizeToQ4_0(TINY, TINY)),
      await failure(requantizeToQ4_0(join(folder, 'out.gguf'), join(folder, 'out-2.gguf'))),
      await failure(requantizeToQ4_0(TINY, join(folder, 'absent', 'out.gguf'))),
    ].map(
      ({ code, message }) =>
        `${code}: ${message
          .replaceAll(folder, '')
          .replaceAll(TINY, 'tiny')
          .replace(/\d+-[0-9a-f]{8}\.partial/, 'N.partial')}`,
    );
    expect(codes).toMatchInlineSnapshot(`
      [
        "conversion-failed: Input and output are the same file: tiny.",
        "conversion-failed: /out.gguf has no Q4_1 tensor: nothing to requantise.",
        "conversion-failed: Requantising tiny to /absent/out.gguf failed: ENOENT: no such file or directory, open '/absent/out.gguf.N.partial'.",
      ]
    `);
    await patched(TINY, join(folder, 'cut.gguf'), (bytes) => bytes.subarray(0, 20_000));
    expect((await failure(requantizeToQ4_0(join(folder, 'cut.gguf'), join(folder, 'out-3.gguf')))).code).toBe(
      'model-invalid',
    );
  });
});
