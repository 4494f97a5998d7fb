/**
 * The scales of a super-block as one half times small integers: what K-quants and IQ4_XS store, and what is left to be found
 * in the float32 scales that MLX keeps of them. Exact or not at all.
 */
import { isExactHalf } from '../half.ts';

export interface IntegerRange {
  readonly min: number;
  readonly max: number;
}

/**
 * Fills `integers` so that values[i] = step * integers[i] exactly, with a step that half precision holds, and returns the
 * step; null: there is none. The step that ggml's quantisers choose comes first (the largest value gets the largest
 * integer), so that blocks of theirs come out byte for byte.
 */
export function commonStep(values: Float32Array, integers: Int8Array, range: IntegerRange): number | null {
  let top = 0;
  for (const value of values) {
    if (!Number.isFinite(value)) return null;
    if (Math.abs(value) > Math.abs(top)) top = value;
  }
  if (top === 0) {
    integers.fill(0);
    return 0;
  }
  for (const integer of [range.max, range.min]) {
    if (integer !== 0 && holds(values, top / integer, integers, range)) return top / integer;
  }
  const widest = Math.max(range.max, -range.min);
  const unit = commonDivisor(values, Math.abs(top) / widest);
  if (unit === null) return null;
  for (let part = 1; Math.abs(top) * part <= widest * unit; part++) {
    for (const step of [unit / part, -unit / part]) if (holds(values, step, integers, range)) return step;
  }
  return null;
}

function holds(values: Float32Array, step: number, integers: Int8Array, { min, max }: IntegerRange): boolean {
  if (!isExactHalf(step)) return false;
  for (let i = 0; i < values.length; i++) {
    const integer = Math.round(values[i]! / step);
    // 11 bits by 6: the product is exact.
    if (integer < min || integer > max || integer * step !== values[i]!) return false;
    integers[i] = integer;
  }
  return true;
}

/** Euclid's, on floating-point numbers: the remainder of a division is exact. Null: smaller than `least`. */
function commonDivisor(values: Float32Array, least: number): number | null {
  let divisor = 0;
  for (const value of values) {
    let [a, b] = [divisor, Math.abs(value)];
    while (b !== 0) {
      if (b < least) return null;
      [a, b] = [b, a % b];
    }
    divisor = a;
  }
  return divisor;
}
