/** How far two sets of values are apart. Accumulates in float64, so that billions of values lose nothing that is shown. */

export interface DifferenceFacts {
  readonly valueCount: number;
  /** Values that are not the same number; -0 is 0, and NaN is NaN. */
  readonly differingCount: number;
  /** Largest |a - b|; Infinity where only one of them is a number. */
  readonly maxAbsolute: number;
  /** sqrt(sum (a - b)^2 / sum a^2): 0.07 is usual for 4 bits, 1.4 for unrelated weights. */
  readonly relativeRmse: number;
}

export class Difference {
  valueCount = 0;
  differingCount = 0;
  maxAbsolute = 0;
  squaredError = 0;
  squaredReference = 0;

  add(a: Float32Array, b: Float32Array): void {
    this.valueCount += a.length;
    let differing = 0;
    let max = 0;
    let squaredError = 0;
    let squared = 0;
    for (let i = 0; i < a.length; i++) {
      const left = a[i]!;
      const right = b[i]!;
      squared += left * left;
      // NaN is unequal to itself: both being NaN is the same.
      if (left === right || (left !== left && right !== right)) continue;
      differing++;
      const distance = Math.abs(left - right);
      if (distance > max) max = distance;
      else if (distance !== distance) max = Infinity;
      squaredError += distance * distance;
    }
    this.differingCount += differing;
    this.maxAbsolute = Math.max(this.maxAbsolute, max);
    this.squaredError += squaredError;
    this.squaredReference += squared;
  }

  include(other: Difference): void {
    this.valueCount += other.valueCount;
    this.differingCount += other.differingCount;
    this.maxAbsolute = Math.max(this.maxAbsolute, other.maxAbsolute);
    this.squaredError += other.squaredError;
    this.squaredReference += other.squaredReference;
  }

  facts(): DifferenceFacts {
    const { valueCount, differingCount, maxAbsolute, squaredError, squaredReference } = this;
    return { valueCount, differingCount, maxAbsolute, relativeRmse: this.#relative(squaredError, squaredReference) };
  }

  /** Where one side has no finite numbers, or only zeros, a difference has no finite measure. */
  #relative(error: number, reference: number): number {
    if (this.differingCount === 0) return 0;
    const ratio = Math.sqrt(error / reference);
    return Number.isFinite(ratio) && this.maxAbsolute < Infinity ? ratio : Infinity;
  }
}
