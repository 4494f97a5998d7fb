import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TensorsInWork, type TensorDone } from '../../../src/models/resume/tensors-in-work.ts';
import {
  addChecksums,
  checksumOf,
  formatChecksum,
  NO_BYTES,
  scan,
  type Checksum,
  type ScannedFloats,
} from '../../../src/models/scan/scan.ts';

const WORDS = 2n ** 32n;

/** As the definition says it, a byte at a time. */
function slowChecksum(bytes: Uint8Array, offset = 0): Checksum {
  let [sum, placedSum] = [0n, 0n];
  for (const [i, byte] of bytes.entries()) {
    const at = offset + i;
    const part = BigInt(byte) << BigInt(8 * (at % 4));
    sum += part;
    placedSum += part * BigInt(Math.floor(at / 4));
  }
  return { sum: Number(sum % WORDS), placedSum: Number(placedSum % WORDS) };
}

describe('the checksum', () => {
  test('is what its definition says, at every length and place', () => {
    const place = fc.oneof(
      fc.nat(70),
      fc.maxSafeNat().map((value) => value % 2 ** 45),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), place, (bytes, offset) => {
        expect(checksumOf(bytes, offset)).toEqual(slowChecksum(bytes, offset));
      }),
    );
  });

  test.each([0, 1, 2, 3])('is the same over many slices, from place %i', (offset) => {
    const bytes = Uint8Array.from({ length: 100_003 }, (_, i) => (i * 2_654_435_761) >>> 24);
    expect(checksumOf(bytes, offset)).toEqual(slowChecksum(bytes, offset));
  });

  test('adds up from parts in any order', () => {
    const cuts = fc.array(fc.nat(2_000), { maxLength: 6 });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), cuts, fc.boolean(), (bytes, places, isReversed) => {
        const ends = [...places.map((cut) => Math.min(cut, bytes.length)), bytes.length].toSorted((a, b) => a - b);
        const parts = ends.map((end, i) => checksumOf(bytes.subarray(ends[i - 1] ?? 0, end), ends[i - 1] ?? 0));
        const all = (isReversed ? parts.toReversed() : parts).reduce(addChecksums, NO_BYTES);
        expect(all).toEqual(checksumOf(bytes, 0));
      }),
    );
  });

  test('tells a byte that changed, values that changed places, and a page that is missing', () => {
    const bytes = Uint8Array.from({ length: 16_384 }, (_, i) => (i * 2_654_435_761) >>> 24);
    const whole = formatChecksum(checksumOf(bytes, 0));
    const changed = (change: (copy: Uint8Array) => void): string => {
      const copy = bytes.slice();
      change(copy);
      return formatChecksum(checksumOf(copy, 0));
    };
    expect(changed((copy) => (copy[9_999] = (copy[9_999] ?? 0) ^ 1))).not.toBe(whole);
    expect(changed((copy) => copy.fill(0, 4_096, 8_192))).not.toBe(whole);
    expect(changed((copy) => copy.set([...bytes.subarray(4, 8), ...bytes.subarray(0, 4)]))).not.toBe(whole);
    expect(changed(() => {})).toBe(whole);
  });

  test('is written with all of its digits', () => {
    expect(formatChecksum({ sum: 0xab, placedSum: 2 ** 32 - 1 })).toBe('000000abffffffff');
  });
});

describe('infinite and NaN', () => {
  const bits = { BF16: [0x7f80, 0xff80, 0x7f81, 0x7fff, 0xffc0], F16: [0x7c00, 0xfc00, 0x7c01, 0x7e00] } as const;
  const finite = {
    BF16: [0x7f7f, 0xff7f, 0x0001, 0x8000, 0x3f80],
    F16: [0x7bff, 0xfbff, 0x0001, 0x8000, 0x3c00],
  } as const;
  const isFinite = (values: { readonly buffer: ArrayBufferLike }, floats: ScannedFloats | null, offset = 0): boolean =>
    scan(new Uint8Array(values.buffer), { floats, offset }).isFinite;

  test.each(['BF16', 'F16'] as const)('%s: found at every place, and nothing else is', (name) => {
    for (let count = 1; count <= 70; count++) {
      for (let place = 0; place < count; place++) {
        for (const [list, expected] of [
          [bits[name], false],
          [finite[name], true],
        ] as const) {
          for (const value of list) {
            const halves = new Uint16Array(count).fill(finite[name][0]);
            halves[place] = value;
            for (const offset of [0, 2])
              expect([count, place, value, isFinite(halves, name, offset)]).toEqual([count, place, value, expected]);
          }
        }
      }
    }
  });

  test('what an earlier call left behind is not looked at', () => {
    expect(isFinite(new Uint16Array(64).fill(0x7f80), 'BF16')).toBe(false);
    expect(isFinite(Uint16Array.of(0x3f80, 0x3f80, 0x3f80), 'BF16')).toBe(true);
  });

  test('found in the last slice of many', () => {
    const halves = new Uint16Array(200_001).fill(0x3f80);
    expect(isFinite(halves, 'BF16')).toBe(true);
    halves[200_000] = 0x7f80;
    expect(isFinite(halves, 'BF16')).toBe(false);
  });

  test.each([Infinity, -Infinity, Number.NaN])('F32: %f', (value) => {
    expect(isFinite(Float32Array.of(1, 2, 3, 4, value), 'F32')).toBe(false);
  });

  test('F32: the largest numbers are numbers', () => {
    expect(isFinite(Float32Array.of(3.4e38, -3.4e38, 1e-45), 'F32')).toBe(true);
  });

  test('blocks of a quantised type are only summed', () => {
    expect(isFinite(new Uint16Array(9).fill(0x7fff), null)).toBe(true);
  });
});

describe('tensors in work', () => {
  test('a tensor is done with its last piece, whatever the order', () => {
    const done: TensorDone[] = [];
    const work = new TensorsInWork((tensor) => done.push(tensor));
    const bytes = Buffer.from('abcdefghi');
    const pieces = [
      [0, 3],
      [3, 5],
      [5, 9],
    ] as const;
    for (const index of [2, 0, 1] as const) {
      expect(done).toEqual([]);
      const [from, to] = pieces[index];
      const sum = checksumOf(bytes.subarray(from, to), from);
      work.pieceDone({ name: 'a', count: 3 }, [sum, NO_BYTES]);
    }
    expect(done).toEqual([{ name: 'a', checksums: [formatChecksum(checksumOf(bytes, 0)), '0000000000000000'] }]);
  });

  test('two tensors at a time do not mix', () => {
    const done: string[] = [];
    const work = new TensorsInWork(({ name }) => done.push(name));
    const piece = [checksumOf(Buffer.from('x'), 0)];
    work.pieceDone({ name: 'a', count: 2 }, piece);
    work.pieceDone({ name: 'b', count: 1 }, piece);
    work.pieceDone({ name: 'a', count: 2 }, piece);
    expect(done).toEqual(['b', 'a']);
  });
});
