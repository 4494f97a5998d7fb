/** A family over the looks of a run, where engines leave on the way: their pairs keep the verdict of their last look. */
import type { Comparison } from '../record.ts';

/** A look after which engines left; the last stage is that of the verdict, where nobody leaves any more. */
export interface Stage {
  readonly retired: readonly string[];
}

/**
 * Each pair is tested as often as the looks that it was in, with their levels: one that lost an engine is never held
 * against a later look's level, and its samples are those of before.
 * @param compare the family at one stage; `settled` go into it as they are
 */
export function compareStaged<T extends Stage>(
  stages: readonly T[],
  compare: (stage: T, settled: readonly Comparison[]) => Comparison[],
): Comparison[] {
  let settled: readonly Comparison[] = [];
  let comparisons: Comparison[] = [];
  let gone: readonly string[] = [];
  for (const stage of stages) {
    comparisons = compare(stage, settled);
    gone = [...gone, ...stage.retired];
    settled = comparisons.filter(({ a, b }) => gone.includes(a) || gone.includes(b));
  }
  return comparisons;
}
