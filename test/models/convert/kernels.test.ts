import { expect, test } from 'vitest';
import { kernelFor } from '../../../src/models/convert/kernels.ts';
import { interleaveHeads } from '../../../src/models/convert/run-jobs.ts';
import { tensorTypeNamed } from '../../../src/models/gguf/tensor-types.ts';
import { unpermuteRows } from '../../../src/models/hugging-face/tensor-map.ts';

const BF16 = tensorTypeNamed('BF16');
const F16 = tensorTypeNamed('F16');
const F32 = tensorTypeNamed('F32');

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
