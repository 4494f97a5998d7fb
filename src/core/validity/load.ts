/**
 * Does the ratio depend on how busy the machine is? Pairing removes what slows both engines alike; an engine that spins
 * on all cores suffers more from a neighbour than one on a single thread, and then the ratio that is measured is not that
 * of a quiet machine. The canary tells how far from quiet it was.
 */
import { REGRESSION_COUNT_MIN, regress } from '../stats/regression.ts';
import { mean } from '../stats/describe.ts';
import type { RunEvent } from '../record.ts';
import { baselineOf, blockLooks, loadOf, readingsOf } from './machine-checks.ts';

/**
 * Mean load of the blocks that are tested, over the quiet level: from here on the machine was not quiet. In simulations
 * with engines that react 1:1.5 and 1:2 to load (npm run bench -- statistics) no false FASTER is left with it.
 */
export const EXCESS_LOAD_MAX = 0.05;
/** An engine reacts at most this much more than another, so that the ratio is off by at most the excess load itself. */
const SENSITIVITY_MAX = 2;
/** More than this taken from a thread is no measurement; it keeps the logarithm finite. */
const STEAL_TOLD_MAX = 0.9;
/** The quiet level is that of the quietest tenth: the single quietest look would be luck. */
const QUIET_SHARE = 0.1;
/** Flagged: a ratio that follows the load at this level of chance. */
const SLOPE_ALPHA = 0.05;

/**
 * ln slowdown of the engines by the hypervisor, by accepted block: it took `stealShare` of all cores, and the engines
 * used `threads` of them. Null where the system does not tell.
 */
export function stolenByBlock(
  cells: readonly { readonly block: number; readonly stealShare: number | null }[],
  accepted: readonly number[],
  machine: { readonly cores: number; readonly threads: number },
): (number | null)[] {
  const perThread = Math.max(1, machine.cores / machine.threads);
  return accepted.map((block) => {
    const shares = cells.flatMap((cell) => (cell.block === block ? (cell.stealShare ?? []) : []));
    return shares.length === 0 ? null : -Math.log1p(-Math.min(STEAL_TOLD_MAX, mean(shares) * perThread));
  });
}

/**
 * ln of the error that a ratio may have because of steal. The canary does not see what is taken all the time, and an
 * engine whose threads wait for each other loses more by it than another: at most twice as much.
 */
export function stealBias(stolen: readonly (number | null)[]): number {
  const known = stolen.filter((value) => value !== null);
  return known.length === 0 ? 0 : (SENSITIVITY_MAX - 1) * mean(known);
}

export interface RunLoad {
  /** ln slowdown by accepted block, in order of acceptance, from the quiet level; null where the canary was silent. */
  readonly byBlock: readonly (number | null)[];
}

/** @param accepted blocks with the attempt that counts, in order of acceptance */
export function runLoad(
  events: readonly RunEvent[],
  accepted: readonly { readonly block: number; readonly attempt: number }[],
): RunLoad | null {
  const checks = events.filter((event) => event.type === 'machine-check');
  const baseline = baselineOf(checks);
  if (baseline === null) return null;
  const all = readingsOf(checks).map((reading) => loadOf(reading, baseline));
  const quiet = quietLevel(all);
  const blocks = blockLooks(events);
  return {
    byBlock: accepted.map((place) => {
      const found = blocks.findLast(({ block, attempt }) => block === place.block && attempt === place.attempt);
      const loads = readingsOf(found?.looks ?? []).map((reading) => loadOf(reading, baseline) - quiet);
      return loads.length === 0 ? null : mean(loads);
    }),
  };
}

/** Of loads in any order: exceeded by nine in ten. */
export function quietLevel(loads: readonly number[]): number {
  const sorted = loads.toSorted((left, right) => left - right);
  return sorted[Math.floor(QUIET_SHARE * sorted.length)] ?? 0;
}

export interface LoadEvidence {
  /** Mean load over the quiet level in the blocks of this comparison; null: not known. */
  readonly excess: number | null;
  /** Change of the log-ratio per unit of load, where it is beyond chance; null where it is not, or not known. */
  readonly slope: number | null;
}

/** @param gains log-ratios by block; `loads` of the same blocks */
export function judgeLoad(gains: readonly number[], loads: readonly (number | null)[]): LoadEvidence {
  const known = gains.flatMap((gain, index) => {
    const load = loads[index] ?? null;
    return load === null ? [] : [{ gain, load }];
  });
  if (known.length === 0) return { excess: null, slope: null };
  const excess = mean(known.map(({ load }) => load));
  if (known.length < REGRESSION_COUNT_MIN) return { excess, slope: null };
  const { slope, p } = regress(
    known.map(({ load }) => load),
    known.map(({ gain }) => gain),
  );
  return { excess, slope: p < SLOPE_ALPHA ? slope : null };
}

/**
 * May the verdict on a pair be kept? Always where the machine was quiet. On a busy one only FASTER, and only where its
 * interval stays beyond the margin when the largest error by unequal sensitivity is taken off.
 * @param interval of the log-ratio, positive in favour of the faster engine; `margin` as its logarithm
 */
export function survivesLoad(input: {
  readonly excess: number | null;
  readonly verdict: string;
  readonly nearBound: number;
  readonly logMargin: number;
}): boolean {
  const { excess, verdict, nearBound, logMargin } = input;
  if (excess === null || excess <= EXCESS_LOAD_MAX) return true;
  return verdict === 'FASTER' && nearBound - (SENSITIVITY_MAX - 1) * excess > logMargin;
}
