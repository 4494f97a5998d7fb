import { describe, expect, it } from 'vitest';
import { floatToHalf, halfToFloat } from '../../../src/models/half.ts';
import { commonStep } from '../../../src/models/mlx/common-step.ts';

const UNSIGNED = { min: 0, max: 63 };
const SIGNED = { min: -32, max: 31 };

function found(values: readonly number[], range: typeof UNSIGNED): { step: number | null; integers: number[] } {
  const integers = new Int8Array(8);
  const step = commonStep(Float32Array.from(values), integers, range);
  return { step, integers: [...integers] };
}

function half(value: number): number {
  return halfToFloat(floatToHalf(value));
}

describe('the common step of the scales of a super-block', () => {
  it('gives the largest value the largest integer, as ggml does', () => {
    const step = half(0.0123);
    const integers = [63, 1, 0, 17, 62, 63, 5, 30];
    expect(
      found(
        integers.map((integer) => integer * step),
        UNSIGNED,
      ),
    ).toEqual({ step, integers });
  });

  it('finds another where the largest integer is not used', () => {
    const step = half(0.0123);
    const integers = [47, 1, 0, 17, 46, 11, 5, 30];
    const result = found(
      integers.map((integer) => integer * step),
      UNSIGNED,
    );
    expect(result).toEqual({ step, integers });
  });

  it('divides a divisor that half precision cannot hold', () => {
    // 3 * 2049: 2049 has 12 bits, a third of their product has 11.
    const values = [2 * 3 * 1025, 4 * 3 * 1025, 0, 0, 0, 0, 0, 0];
    const { step, integers } = found(values, UNSIGNED);
    expect(step).not.toBeNull();
    expect(half(step!)).toBe(step);
    expect(integers.map((integer) => integer * step!)).toEqual(values);
  });

  it('takes both signs, or only one', () => {
    const step = half(0.5);
    const integers = [-32, 31, 0, -1, 5, 6, 7, 8];
    const values = integers.map((integer) => integer * step);
    expect(found(values, SIGNED)).toEqual({ step, integers });
    expect(found(values, UNSIGNED).step).toBeNull();
    expect(found([-1, -2, 0, 0, 0, 0, 0, 0], UNSIGNED).step).toBeLessThan(0);
  });

  it('finds none in numbers that have none', () => {
    expect(found([1, Math.fround(1 / 3), 0, 0, 0, 0, 0, 0], UNSIGNED).step).toBeNull();
    expect(found([64, 1, 0, 0, 0, 0, 0, 0], UNSIGNED).step).toBeNull();
    expect(found([Infinity, 1, 0, 0, 0, 0, 0, 0], UNSIGNED).step).toBeNull();
    expect(found([NaN, 1, 0, 0, 0, 0, 0, 0], UNSIGNED).step).toBeNull();
  });

  it('is 0 for zeros', () => {
    expect(found([0, 0, -0, 0, 0, 0, 0, 0], UNSIGNED)).toEqual({ step: 0, integers: [0, 0, 0, 0, 0, 0, 0, 0] });
  });
});
