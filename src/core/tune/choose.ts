/** Which candidate of a race replaces the settings in force. Pure. */
import type { Comparison } from '../record.ts';
import type { Candidate } from './knobs.ts';

export interface Raced {
  readonly candidate: Candidate;
  /** Against the settings in force; null: not measured. */
  readonly comparison: Comparison | null;
  /** Id of the candidate's arm in the comparison. */
  readonly arm: string;
}

/**
 * The fastest of those that are faster beyond doubt; null keeps what is in force: a tie is no reason to depart from it,
 * and neither is a point estimate.
 */
export function chooseWinner(raced: readonly Raced[]): Raced | null {
  const better = raced.filter(({ comparison, arm }) => isFaster(comparison, arm));
  return better.toSorted((left, right) => gainOf(right) - gainOf(left))[0] ?? null;
}

export function isFaster(comparison: Comparison | null, arm: string): boolean {
  return comparison !== null && comparison.faster !== null && comparison[comparison.faster] === arm;
}

/** Time in force over the candidate's, above 1 where the candidate is quicker; NaN where it was not measured. */
export function gainOf({ comparison, arm }: Raced): number {
  if (comparison === null || comparison.ratio === null) return Number.NaN;
  return comparison.a === arm ? comparison.ratio : 1 / comparison.ratio;
}
