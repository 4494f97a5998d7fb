/** The rank test beside the t test: where they disagree, there is no verdict. */
import { hodgesLehmann, signedRankApplies, signedRankP } from '../stats/signed-rank.ts';

type Found = 'FASTER' | 'EQUIVALENT' | 'SLIGHTLY_FASTER' | 'INCONCLUSIVE';

export interface CrossCheckInput {
  readonly verdict: Found;
  /** Level at which Holm held the pair. */
  readonly localAlpha: number;
  readonly gains: readonly number[];
  readonly margin: number;
  /** ln of the systematic error that the gains may have; see pairedTest. */
  readonly bias: number;
}

/**
 * Repeats the deciding test by ranks; a disagreement downgrades to INCONCLUSIVE. Where n is too small for ranks to
 * reach the level (2^(1-n) > local alpha, correction 7), says how consistent the signs are instead.
 */
export function crossCheck(input: CrossCheckInput): { readonly verdict: Found; readonly reason: string } {
  const { verdict, localAlpha, gains } = input;
  if (!signedRankApplies(gains.length, localAlpha)) return { verdict, reason: signConsistency(gains) };
  if (agrees(input)) return { verdict, reason: 'the signed-rank cross-check agrees' };
  return {
    verdict: 'INCONCLUSIVE',
    reason: `the t test says ${verdict}, the signed-rank test does not: a few blocks carry the result`,
  };
}

function agrees({ verdict, localAlpha, gains, margin, bias }: CrossCheckInput): boolean {
  if (verdict === 'INCONCLUSIVE') return true;
  if (verdict === 'EQUIVALENT') {
    const { low, high } = hodgesLehmann(gains, 1 - 2 * localAlpha);
    const room = Math.log(margin) - bias;
    return low !== null && high !== null && low > -room && high < room;
  }
  const { estimate } = hodgesLehmann(gains, 1 - localAlpha);
  const beyond = bias + (verdict === 'FASTER' ? Math.log(margin) : 0);
  return Math.abs(estimate) > beyond && signedRankP(gains, Math.sign(estimate) * beyond) <= localAlpha;
}

function signConsistency(gains: readonly number[]): string {
  const ahead = gains.filter((gain) => gain > 0).length;
  const share = Math.max(ahead, gains.length - ahead);
  return `${share} of ${gains.length} blocks point the same way (too few for a rank test at this level)`;
}
