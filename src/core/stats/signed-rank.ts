/** Wilcoxon's signed-rank test, exact, and the Hodges-Lehmann interval from Walsh averages. */
import { assert } from '../assert.ts';
import { median } from './describe.ts';

/** Fewest differences for which the test is used at all. */
export const SIGNED_RANK_COUNT_MIN = 6;

/** Smallest two-sided p-value that n differences can reach is 2^(1-n): the test says nothing where that is above alpha. */
export function signedRankApplies(count: number, alpha: number): boolean {
  return count >= SIGNED_RANK_COUNT_MIN && 2 ** (1 - count) <= alpha;
}

/**
 * Two-sided exact p-value of the signed-rank statistic for H0: symmetric about `center`.
 * Zero differences are dropped (Wilcoxon); ties share midranks, and the distribution is that of the midranks
 * themselves, by dynamic programming over doubled ranks, so that it stays exact with ties.
 */
export function signedRankP(differences: readonly number[], center = 0): number {
  const shifted = differences.map((value) => value - center).filter((value) => value !== 0);
  if (shifted.length === 0) return 1;
  const ranks = doubledMidranks(shifted.map(Math.abs));
  const positive = shifted.reduce((sum, value, index) => sum + (value > 0 ? (ranks[index] ?? 0) : 0), 0);
  const ways = subsetSums(ranks);
  const total = ranks.reduce((sum, rank) => sum + rank, 0);
  const smaller = Math.min(positive, total - positive);
  const below = ways.slice(0, smaller + 1).reduce((sum, count) => sum + count, 0);
  return Math.min(1, 2 * (below / 2 ** ranks.length));
}

/** Twice the midranks: integers even with ties. */
function doubledMidranks(magnitudes: readonly number[]): number[] {
  return magnitudes.map((magnitude) => {
    const smaller = magnitudes.filter((other) => other < magnitude).length;
    const equal = magnitudes.filter((other) => other === magnitude).length;
    return 2 * smaller + equal + 1;
  });
}

/** Number of subsets of `ranks` with each sum. */
function subsetSums(ranks: readonly number[]): number[] {
  const total = ranks.reduce((sum, rank) => sum + rank, 0);
  const ways = Array.from({ length: total + 1 }, () => 0);
  ways[0] = 1;
  let reached = 0;
  for (const rank of ranks) {
    reached += rank;
    for (let sum = reached; sum >= rank; sum -= 1) ways[sum] = (ways[sum] ?? 0) + (ways[sum - rank] ?? 0);
  }
  return ways;
}

/**
 * Hodges-Lehmann estimate (median of the n(n+1)/2 Walsh averages) and the interval that inverts the exact test:
 * from the k-th smallest to the k-th largest average, P(W < k) <= alpha / 2 (Hollander & Wolfe, section 3.3).
 * Null bounds where n is too small for the level.
 */
export function hodgesLehmann(
  differences: readonly number[],
  confidence: number,
): { readonly estimate: number; readonly low: number | null; readonly high: number | null } {
  assert(differences.length > 0, 'an estimate needs a difference');
  const averages = walshAverages(differences);
  const estimate = median(averages);
  const cut = criticalCount(differences.length, 1 - confidence);
  if (cut === 0) return { estimate, low: null, high: null };
  return { estimate, low: averages[cut - 1] ?? null, high: averages[averages.length - cut] ?? null };
}

function walshAverages(differences: readonly number[]): number[] {
  const averages: number[] = [];
  for (const [index, left] of differences.entries()) {
    for (const right of differences.slice(index)) averages.push((left + right) / 2);
  }
  return averages.sort((left, right) => left - right);
}

/** Largest k with P(W <= k - 1) <= alpha / 2; 0 if there is none. */
function criticalCount(count: number, alpha: number): number {
  const ways = subsetSums(Array.from({ length: count }, (_, index) => index + 1));
  let below = 0;
  let cut = 0;
  for (const waysOfSum of ways) {
    below += waysOfSum / 2 ** count;
    if (below > alpha / 2) return cut;
    cut += 1;
  }
  return cut;
}
