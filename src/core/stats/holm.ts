/** Holm's step-down procedure. */

export interface HolmResult {
  readonly rejected: boolean;
  /** Level that this p-value was held against: alpha / (number of hypotheses not yet rejected). */
  readonly localAlpha: number;
}

/**
 * Holm 1979 (Scand. J. Statist. 6:65): in order of p, reject while p <= alpha / (m - rank).
 * After the first acceptance everything is accepted, held against the level at which the procedure stopped.
 */
export function holm(pValues: readonly number[], alpha: number): HolmResult[] {
  const order = pValues.map((p, index) => ({ p, index })).sort((left, right) => left.p - right.p);
  const results: HolmResult[] = pValues.map(() => ({ rejected: false, localAlpha: alpha / pValues.length }));
  let stoppedAt: number | null = null;
  for (const [rank, { p, index }] of order.entries()) {
    const localAlpha: number = stoppedAt ?? alpha / (pValues.length - rank);
    const rejected = stoppedAt === null && p <= localAlpha;
    if (!rejected) stoppedAt = localAlpha;
    results[index] = { rejected, localAlpha };
  }
  return results;
}
