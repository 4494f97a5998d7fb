import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checksumOf, joinChecksums, NO_BYTES } from '../../../src/models/resume/checksum.ts';
import { TensorsInWork, type TensorDone } from '../../../src/models/resume/tensors-in-work.ts';

test('joined checksums are the checksum of the whole', () => {
  const bytes = fc.uint8Array({ maxLength: 5_000 });
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      expect(joinChecksums(checksumOf(a), checksumOf(b))).toEqual({
        crc: crc32(Buffer.concat([a, b])),
        bytes: a.length + b.length,
      });
    }),
  );
});

test('the check value of CRC-32, from three parts', () => {
  const parts = ['12345', '', '6789'].map((text) => checksumOf(Buffer.from(text)));
  expect(parts.reduce(joinChecksums, NO_BYTES)).toEqual({ crc: 0xcbf4_3926, bytes: 9 });
});

test('a part of six gigabytes counts with all of its length', () => {
  const zeros = Buffer.alloc(64 << 20);
  let whole = checksumOf(Buffer.from('start'));
  const one = checksumOf(zeros);
  let all = NO_BYTES;
  for (let i = 0; i < 96; i++) {
    whole = joinChecksums(whole, one);
    all = joinChecksums(all, one);
  }
  expect(joinChecksums(checksumOf(Buffer.from('start')), all)).toEqual(whole);
  expect(all.bytes).toBe(96 * zeros.length);
});

test('a tensor is done with its last piece, whatever the order', () => {
  const done: TensorDone[] = [];
  const work = new TensorsInWork((tensor) => done.push(tensor));
  const pieces = ['abc', 'de', 'fghi'].map((text) => Buffer.from(text));
  for (const index of [2, 0, 1]) {
    expect(done).toEqual([]);
    const piece = pieces[index] as Buffer;
    work.pieceDone({ name: 'a', index, count: 3 }, [checksumOf(piece), checksumOf(piece.subarray(1))]);
  }
  expect(done).toEqual([{ name: 'a', checksums: [crc32(Buffer.from('abcdefghi')), crc32(Buffer.from('bceghi'))] }]);
});

test('two tensors at a time do not mix', () => {
  const done: string[] = [];
  const work = new TensorsInWork(({ name }) => done.push(name));
  const piece = [checksumOf(Buffer.from('x'))];
  work.pieceDone({ name: 'a', index: 0, count: 2 }, piece);
  work.pieceDone({ name: 'b', index: 0, count: 1 }, piece);
  work.pieceDone({ name: 'a', index: 1, count: 2 }, piece);
  expect(done).toEqual(['b', 'a']);
});
