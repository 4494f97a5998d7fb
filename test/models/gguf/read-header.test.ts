import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppError } from '../../../src/core/errors.ts';
import type { GgufValue } from '../../../src/models/gguf/metadata.ts';
import { readGgufHeader } from '../../../src/models/gguf/read-header.ts';
import { tensorTypeNamed } from '../../../src/models/gguf/tensor-types.ts';
import { writeGguf } from '../../../src/models/gguf/write.ts';
import { failure, fixturePath, patched, temporaryFolder } from '../fixture.ts';

const TINY = fixturePath('tiny-llama.gguf');

describe('readGgufHeader', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'case.gguf');
  const scrub = (text: string): string => text.replaceAll(folder, '').replaceAll(TINY, 'tiny');

  it('reads a file that another program wrote', async () => {
    const header = await readGgufHeader(TINY);
    expect({ version: header.version, alignment: header.alignment, tensorCount: header.tensors.length }).toEqual({
      version: 3,
      alignment: 32,
      tensorCount: 11,
    });
    expect(header.metadata.get('llama.rope.freq_base')).toEqual({ type: 'f32', value: 10_000 });
    expect(header.metadata.get('tokenizer.ggml.merges')).toEqual({
      type: 'array',
      itemType: 'string',
      items: ['t h', 'th e'],
    });
    const { name, type, columns, rows, rowBytes, byteLength } = header.tensors[0]!;
    expect({ name, type: type.name, columns, rows, rowBytes, byteLength }).toEqual({
      name: 'token_embd.weight',
      type: 'Q8_0',
      columns: 64,
      rows: 40,
      rowBytes: 68,
      byteLength: 2720,
    });
  });

  it('gives back every kind of value that the writer wrote', async () => {
    const entries: [string, GgufValue][] = [
      ['u8', { type: 'u8', value: 200 }],
      ['i8', { type: 'i8', value: -100 }],
      ['u16', { type: 'u16', value: 60_000 }],
      ['i16', { type: 'i16', value: -30_000 }],
      ['u32', { type: 'u32', value: 4e9 }],
      ['i32', { type: 'i32', value: -2e9 }],
      ['f32', { type: 'f32', value: Math.fround(0.1) }],
      ['f64', { type: 'f64', value: 0.1 }],
      ['u64', { type: 'u64', value: 2n ** 63n }],
      ['i64', { type: 'i64', value: -(2n ** 62n) }],
      ['bool', { type: 'bool', value: true }],
      ['string', { type: 'string', value: 'käse 🧀' }],
      ['strings', { type: 'array', itemType: 'string', items: ['', 'a', '🧀'] }],
      ['bools', { type: 'array', itemType: 'bool', items: [true, false] }],
      ['longs', { type: 'array', itemType: 'i64', items: [-1n, 5n] }],
    ];
    await writeGguf(path, { metadata: new Map(entries), tensors: [] });
    const header = await readGgufHeader(path);
    expect([...header.metadata]).toEqual(entries);
  });

  it('says how many bytes a file lacks that was cut in half', async () => {
    await patched(TINY, path, (bytes) => bytes.subarray(0, bytes.length >> 1));
    const { code, message, hint } = await failure(readGgufHeader(path));
    const [fileBytes, end] = [/it has (\d+) bytes/, /ends at byte (\d+)/].map((pattern) =>
      Number(pattern.exec(message)?.[1]),
    );
    expect(message).toContain(`${end! - fileBytes!} bytes are missing`);
    expect({ code, hint }).toEqual({ code: 'model-invalid', hint: 'Download or copy the model again.' });
  });

  const damages: Record<string, (bytes: Buffer) => Buffer | void> = {
    'an empty file': () => Buffer.alloc(0),
    'a wrong magic': (bytes) => void bytes.write('GGML', 0),
    'version 1': (bytes) => void bytes.writeUInt32LE(1, 4),
    'big-endian': (bytes) => void bytes.writeUInt32BE(3, 4),
    'an absurd tensor count': (bytes) => void bytes.writeBigUInt64LE(2n ** 40n, 8),
    'a tensor count beyond 2^53': (bytes) => void bytes.writeBigUInt64LE(2n ** 63n, 8),
    'an absurd metadata count': (bytes) => void bytes.writeBigUInt64LE(2n ** 32n, 16),
    'an absurd key length': (bytes) => void bytes.writeBigUInt64LE(2n ** 31n, 24),
    'an unknown value type': (bytes) => void bytes.writeUInt32LE(77, bytes.indexOf('general.architecture') + 20),
    'an absurd string length': (bytes) =>
      void bytes.writeBigUInt64LE(2n ** 24n + 1n, bytes.indexOf('general.architecture') + 24),
    'a string beyond the end': (bytes) =>
      void bytes.writeBigUInt64LE(2n ** 23n, bytes.indexOf('general.architecture') + 24),
    'an absurd array length': (bytes) =>
      void bytes.writeBigUInt64LE(2n ** 30n, bytes.indexOf('tokenizer.ggml.merges') + 21 + 8),
    'an array beyond the end': (bytes) =>
      void bytes.writeBigUInt64LE(100_000n, bytes.indexOf('tokenizer.ggml.merges') + 21 + 8),
    'five dimensions': (bytes) => void bytes.writeUInt32LE(5, bytes.indexOf('output_norm.weight') + 18),
    'an empty dimension': (bytes) => void bytes.writeBigUInt64LE(0n, bytes.indexOf('output_norm.weight') + 22),
    'an unknown tensor type': (bytes) => void bytes.writeUInt32LE(999, bytes.indexOf('output_norm.weight') + 30),
    'rows that are no whole blocks': (bytes) =>
      void bytes.writeBigUInt64LE(63n, bytes.indexOf('token_embd.weight') + 21),
    'a misaligned tensor': (bytes) => void bytes.writeBigUInt64LE(33n, bytes.indexOf('output_norm.weight') + 34),
    'an offset beyond the end': (bytes) =>
      void bytes.writeBigUInt64LE(32_000_000n, bytes.indexOf('output_norm.weight') + 34),
    'a shape beyond the end': (bytes) =>
      void bytes.writeBigUInt64LE(2n ** 40n, bytes.indexOf('output_norm.weight') + 22),
  };

  it('refuses damaged files with the reason', async () => {
    const messages: Record<string, string> = {};
    for (const [name, damage] of Object.entries(damages)) {
      await patched(TINY, path, damage);
      const { code, message } = await failure(readGgufHeader(path));
      messages[name] = `${code}: ${scrub(message)}`;
    }
    expect(messages).toMatchSnapshot();
  });

  it('refuses a tensor that occurs twice', async () => {
    const tensor = { name: 'a', type: tensorTypeNamed('F32'), dimensions: [1], bytes: new Uint8Array(4) };
    await writeGguf(path, { metadata: new Map(), tensors: [tensor, tensor] });
    expect((await failure(readGgufHeader(path))).message).toContain('the tensor a occurs twice');
  });

  it('refuses two tensors on the same bytes, wherever they overlap', async () => {
    const tensor = { type: tensorTypeNamed('F32'), dimensions: [32], bytes: new Uint8Array(128) };
    await writeGguf(path, { metadata: new Map(), tensors: ['a', 'b', 'c'].map((name) => ({ ...tensor, name })) });
    const { dataOffset } = await readGgufHeader(path);
    for (const offset of [0, 32, 96, 160, 224]) {
      await patched(path, join(folder, 'overlap.gguf'), (bytes) => {
        // Name, one dimension, type, offset: the last is the third's.
        bytes.writeBigUInt64LE(BigInt(offset), bytes.lastIndexOf('c', dataOffset) + 1 + 4 + 8 + 4);
      });
      expect((await failure(readGgufHeader(join(folder, 'overlap.gguf')))).message).toMatch(
        /the tensors \w and \w lie on the same bytes, from byte \d+/,
      );
    }
  });

  it('takes tensors that lie in another order than they are listed', async () => {
    const tensor = { type: tensorTypeNamed('F32'), dimensions: [32], bytes: new Uint8Array(128) };
    await writeGguf(path, { metadata: new Map(), tensors: ['a', 'b'].map((name) => ({ ...tensor, name })) });
    const { dataOffset } = await readGgufHeader(path);
    await patched(path, path, (bytes) => {
      for (const [name, offset] of [
        ['a', 128n],
        ['b', 0n],
      ] as const)
        bytes.writeBigUInt64LE(offset, bytes.lastIndexOf(name, dataOffset) + 1 + 4 + 8 + 4);
    });
    expect((await readGgufHeader(path)).tensors.map(({ offset }) => offset - dataOffset)).toEqual([128, 0]);
  });

  it('refuses folders, and pipes without waiting for them', async () => {
    expect(await failure(readGgufHeader(folder))).toMatchObject({ code: 'model-unsupported' });
    if (process.platform === 'win32') return;
    const pipe = join(folder, 'pipe.gguf');
    execFileSync('mkfifo', [pipe]);
    expect((await failure(readGgufHeader(pipe))).message).toContain('is not a file');
  });

  it('says when there is no file', async () => {
    expect(await failure(readGgufHeader(join(folder, 'absent.gguf')))).toMatchObject({
      code: 'model-not-found',
      message: expect.stringMatching(/^There is no model /) as string,
    });
  });

  it('answers any damage with an AppError, never with a crash', async () => {
    const original = await readGgufHeader(TINY);
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            at: fc.integer({ min: 0, max: original.dataOffset - 1 }),
            byte: fc.integer({ min: 0, max: 255 }),
          }),
          { minLength: 1, maxLength: 6 },
        ),
        async (changes) => {
          await patched(TINY, path, (bytes) => {
            for (const { at, byte } of changes) bytes[at] = byte;
          });
          await readGgufHeader(path).catch((error: unknown) => expect(error).toBeInstanceOf(AppError));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('answers a cut anywhere in the header with model-invalid', async () => {
    const { dataOffset } = await readGgufHeader(TINY);
    for (let length = 0; length < dataOffset; length += 37) {
      await patched(TINY, path, (bytes) => bytes.subarray(0, length));
      expect((await failure(readGgufHeader(path))).code).toBe('model-invalid');
    }
  });
});
