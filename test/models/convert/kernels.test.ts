import { describe, expect, test } from 'vitest';
import { hasNonFinite, kernelFor } from '../../../src/models/convert/kernels.ts';
import { interleaveHeads } from '../../../src/models/convert/run-jobs.ts';
import { tensorTypeNamed } from '../../../src/models/gguf/tensor-types.ts';
import { unpermuteRows } from '../../../src/models/hugging-face/tensor-map.ts';

const BF16 = tensorTypeNamed('BF16');
const F16 = tensorTypeNamed('F16');
const F32 = tensorTypeNamed('F32');

describe('infinite and NaN', () => {
  const bits = { BF16: [0x7f80, 0xff80, 0x7f81, 0x7fff, 0xffc0], F16: [0x7c00, 0xfc00, 0x7c01, 0x7e00] } as const;
  const finite = {
    BF16: [0x7f7f, 0xff7f, 0x0001, 0x8000, 0x3f80],
    F16: [0x7bff, 0xfbff, 0x0001, 0x8000, 0x3c00],
  } as const;

  test.each([BF16, F16])('$name: found at every place, and nothing else is', (type) => {
    const name = type.name as 'BF16' | 'F16';
    for (let count = 1; count <= 13; count++) {
      for (let place = 0; place < count; place++) {
        for (const [list, expected] of [
          [bits[name], true],
          [finite[name], false],
        ] as const) {
          for (const value of list) {
            const halves = new Uint16Array(16);
            halves.fill(finite[name][0], 0, count);
            halves[place] = value;
            expect([count, place, value, hasNonFinite(type, new Uint8Array(halves.buffer), count)]).toEqual([
              count,
              place,
              value,
              expected,
            ]);
          }
        }
      }
    }
  });

  test('what lies behind the values is not looked at', () => {
    const halves = Uint16Array.of(0x3f80, 0x3f80, 0x3f80, 0x7f80);
    expect(hasNonFinite(BF16, new Uint8Array(halves.buffer), 3)).toBe(false);
  });

  test.each([Infinity, -Infinity, Number.NaN])('F32: %f', (value) => {
    expect(hasNonFinite(F32, new Uint8Array(Float32Array.of(1, 2, 3, 4, value).buffer), 5)).toBe(true);
  });

  test('F32: the largest numbers are numbers', () => {
    expect(hasNonFinite(F32, new Uint8Array(Float32Array.of(3.4e38, -3.4e38, 1e-45).buffer), 3)).toBe(false);
  });
});

test('F32 to BF16 rounds to nearest, ties to even', () => {
  const words = Uint32Array.of(0x3f80_8000, 0x3f81_8000, 0x3f80_7fff, 0x3f80_8001, 0xbf80_8000);
  const out = new Uint16Array(words.length);
  kernelFor(F32, BF16)?.(new Uint8Array(words.buffer), new Uint8Array(out.buffer), words.length);
  expect([...out]).toEqual([0x3f80, 0x3f82, 0x3f80, 0x3f81, 0xbf80]);
});

test('BF16 to F16: subnormals, rounding and overflow', () => {
  const halves = Uint16Array.of(0x3f80, 0x3380, 0x477f, 0x4780, 0x8000);
  const out = new Uint16Array(halves.length);
  kernelFor(BF16, F16)?.(new Uint8Array(halves.buffer), new Uint8Array(out.buffer), halves.length);
  expect([...out]).toEqual([0x3c00, 0x0001, 0x7bf8, 0x7c00, 0x8000]);
});

test('there is no plain way to a K-quant', () => {
  expect(kernelFor(BF16, tensorTypeNamed('Q4_K'))).toBeNull();
});

test("heads are interleaved: 0 1 2 3 in halves becomes 0 2 1 3, and the way back is the other converter's", () => {
  const source = Uint8Array.of(0, 1, 2, 3, 10, 11, 12, 13);
  const target = new Uint8Array(8);
  const shape = { rows: 8, rowBytes: 1, headRows: 4 };
  interleaveHeads(source, target, shape);
  expect([...target]).toEqual([0, 2, 1, 3, 10, 12, 11, 13]);
  const back = new Uint8Array(8);
  unpermuteRows(target, back, shape);
  expect(back).toEqual(source);
});
