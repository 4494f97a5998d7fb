/** Planned looks: when the result may be tested, and at which level (alpha spending, total .05). */
import { assert } from '../assert.ts';

/** A run tests at 5%, shared out over its looks. */
export const ALPHA = 0.05;
/** From here on a run is tested at even counts only, and its verdict is firm at any level of a planned look. */
const EVEN_FROM = 6;
/**
 * A look for what is plain to see: at its level a t test of four blocks needs six standard errors beyond the margin, which a
 * true 30% has on a quiet machine, and mostly where three processes in ten are 8% slower. The last look pays for it.
 */
const EARLY_LOOK = 4;
export const EARLY_ALPHA = 0.01;

/** Levels by number of looks, the early one not counted. Type I 2.5-4.7% in the protocol's simulations; 11-23% when peeking after every block. */
const ALPHAS: Readonly<Record<number, readonly number[]>> = { 1: [0.05], 2: [0.01, 0.04], 3: [0.005, 0.01, 0.035] };

export interface Look {
  /** Accepted blocks at which the result is tested. */
  readonly blocks: number;
  readonly alpha: number;
}

/**
 * Looks to register for a run of `blocks` planned blocks: {4, 6, ceil(2N/3) up to even, N} from 12 on, {4, 6, N} from 8 on,
 * {4, N} from 6 on, else {N}; without an early look, the 4 is left out. Looks are at even counts, because blocks are
 * mirrored in pairs; only runs under 6 blocks may end odd.
 */
export function registerLooks(blocks: number, { earlyLook }: { readonly earlyLook: boolean }): Look[] {
  const last = blocks < EVEN_FROM ? blocks : blocks - (blocks % 2);
  if (last < 1) return [];
  const early = earlyLook && last >= EVEN_FROM ? [EARLY_LOOK] : [];
  if (last < 8) return withAlphas([...early, last]);
  if (last < 12) return withAlphas([...early, EVEN_FROM, last]);
  const second = Math.ceil((2 * last) / 3);
  return withAlphas([...early, EVEN_FROM, second + (second % 2), last]);
}

/**
 * Levels of looks that a plan registered. A number of looks that we never register gets equal shares.
 * @param retirementAlpha spent at every look but the last on retiring engines; the last look pays for it
 */
export function withAlphas(counts: readonly number[], retirementAlpha = 0): Look[] {
  const isEarly = counts.length > 1 && (counts[0] ?? EVEN_FROM) < EVEN_FROM;
  const others = isEarly ? counts.slice(1) : counts;
  const last = others.length - 1;
  const spent = (counts.length - 1) * retirementAlpha + (isEarly ? EARLY_ALPHA : 0);
  const looks = others.map((blocks, index) => {
    const alpha = ALPHAS[others.length]?.[index] ?? ALPHA / others.length;
    // At most half of it: what a strange record claims must not leave nothing.
    return { blocks, alpha: index === last ? Math.max(alpha / 2, alpha - spent) : alpha };
  });
  return isEarly ? [{ blocks: counts[0] ?? EARLY_LOOK, alpha: EARLY_ALPHA }, ...looks] : looks;
}

export interface Analysis {
  /** Accepted blocks that enter, in order of acceptance. */
  readonly blocks: number;
  readonly alpha: number;
  /** Level to use instead where the run is over and `alpha` leaves a pair unresolved; equal to `alpha` otherwise. */
  readonly alphaIfUnresolved: number;
}

/** With fewer blocks there is no verdict, and nothing to read. */
const TESTED_BLOCKS_MIN = 3;
/** Of the level that is left, what a stopped run is tested with: the rest is for when it is resumed. */
const STOPPED_SHARE = 0.5;

/**
 * A run that was stopped could be read then, and so was tested: the looks after that pay for it with half of their
 * level each time, so that the sum stays 5% however often a run is stopped and resumed.
 * @param stoppedAt accepted blocks at each stop that was followed by a resumption
 */
export function chargeStops(looks: readonly Look[], stoppedAt: readonly number[]): Look[] {
  // The same blocks tested twice are one test.
  const stops = [...new Set(stoppedAt.filter((accepted) => accepted >= TESTED_BLOCKS_MIN).map(testable))];
  return looks.map(({ blocks, alpha }) => ({
    blocks,
    alpha: alpha * STOPPED_SHARE ** stops.filter((stop) => stop < blocks).length,
  }));
}

/** An odd block has no mirror image; a run of five is tested with all it has. */
function testable(accepted: number): number {
  return accepted < EVEN_FROM ? accepted : accepted - (accepted % 2);
}

/**
 * How a run with `accepted` blocks may be tested. While it runs: at the last look that it passed; null before the first.
 * After it ended early: with everything that is left of .05 (correction 14). Stopped, so that it may be resumed: with the
 * look that it has reached, and half of what is left for later ones.
 */
export function analysisFor(input: {
  readonly looks: readonly Look[];
  readonly accepted: number;
  readonly state: 'running' | 'stopped' | 'ended';
}): Analysis | null {
  const { looks, accepted, state } = input;
  assert(looks.length > 0, 'a run registers at least one look');
  const usable = testable(accepted);
  const current = looks.findLast((look) => look.blocks <= usable);
  if (state === 'running') {
    return current === undefined ? null : { ...current, alphaIfUnresolved: current.alpha };
  }
  const share = state === 'stopped' ? STOPPED_SHARE : 1;
  const left = looks
    .filter((look) => look.blocks >= usable)
    .reduce((sum, look) => sum + (look.blocks === usable ? 1 : share) * look.alpha, 0);
  // Past the last look there is nothing left but its own level.
  const alphaIfUnresolved = left > 0 ? left : (looks.at(-1)?.alpha ?? ALPHA);
  return { blocks: usable, alpha: current?.blocks === usable ? current.alpha : alphaIfUnresolved, alphaIfUnresolved };
}
