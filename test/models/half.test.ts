import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { floatToHalf, halfToFloat, halfToFloatTable, isExactHalf } from '../../src/models/half.ts';

describe('half precision', () => {
  it('survives a round trip for every pattern that is not NaN', () => {
    const table = halfToFloatTable();
    for (let bits = 0; bits < 65_536; bits++) {
      const value = halfToFloat(bits);
      expect(Object.is(table[bits], value)).toBe(true);
      if (!Number.isNaN(value) && floatToHalf(value) !== bits)
        expect.fail(`0x${bits.toString(16)} came back as 0x${floatToHalf(value).toString(16)}`);
    }
  });

  it('rounds to the nearest, ties to even', () => {
    const cases: [number, number][] = [
      [65_519.996, 0x7bff],
      [65_520, 0x7c00],
      [-1e9, 0xfc00],
      [1 + 2 ** -11, 0x3c00],
      [1 + 3 * 2 ** -11, 0x3c02],
      [2 ** -25, 0],
      [2 ** -25 * 1.01, 1],
      [3 * 2 ** -25, 2],
      [-(2 ** -26), 0x8000],
      [6.103515625e-5, 0x0400],
      [6.1e-5, 0x03ff],
    ];
    for (const [value, bits] of cases) expect([value, floatToHalf(value)]).toEqual([value, bits]);
    expect(floatToHalf(NaN) & 0x7fff).toBe(0x7e00);
  });

  it('never rounds past a neighbour', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, min: Math.fround(-65_000), max: Math.fround(65_000) }), (value) => {
        const bits = floatToHalf(value);
        const error = Math.abs(halfToFloat(bits) - value);
        for (const neighbour of [bits - 1, bits + 1]) {
          if ((bits & 0x7fff) !== 0) expect(error).toBeLessThanOrEqual(Math.abs(halfToFloat(neighbour) - value));
        }
      }),
    );
  });

  it('knows which values are exact', () => {
    expect([1, -0, 0.1, 65_504, 65_505, 2 ** -24, 2 ** -25, NaN].map(isExactHalf)).toEqual([
      true,
      true,
      false,
      true,
      false,
      true,
      false,
      true,
    ]);
  });
});
