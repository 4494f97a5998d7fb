import { expect, test } from 'vitest';
import { quantizeQ8_0 } from '../../../src/models/quantize/q8-0.ts';

function quantize(...start: number[]): Uint8Array {
  const values = Float32Array.from({ length: 32 }, (_, i) => start[i] ?? 0);
  const out = new Uint8Array(34);
  quantizeQ8_0(values, out);
  return out;
}

test('the scale is the largest magnitude by 127, as half precision', () => {
  // 127 / 127 = 1 = 0x3c00.
  expect(Array.from(quantize(-127, 1, 2).subarray(0, 5))).toEqual([0x00, 0x3c, 0x81, 1, 2]);
});

test('halves go away from zero', () => {
  expect(Array.from(quantize(127, 0.5, -0.5, 1.5, -1.5, 2.5).subarray(2, 8))).toEqual([127, 1, 255, 2, 254, 3]);
});

test('zeros stay zeros', () => {
  expect(quantize()).toEqual(new Uint8Array(34));
});
