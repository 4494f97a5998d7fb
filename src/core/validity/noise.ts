/** Noise is gated, never normalised: a disturbed block is run again as a whole, whatever its result. */
import type { Interference } from '../record.ts';
import { median, robustDeviation } from '../stats/describe.ts';

/** Shares of all cores, from the protocol's canary study. */
const FOREIGN_CPU_MAX = 0.05;
/** Over what is taken all the time, where that is little. */
const STEAL_MAX = 0.02;

/**
 * Some hosts take a share from whatever runs, all the time: running a block again does not help, and the comparison
 * leaves room for it (see stealBias). Above this little is left to compare.
 */
const STANDING_STEAL_MAX = 0.1;
/**
 * What comes in bursts and waves is usual as far as the processes of this session spread (measured on one host: 2%, from 0 to 8%;
 * on another 4.7%, from 2.1 to 7.8%): noise as any other, which the interval holds. A disturbance stands out from it, by this
 * many standard deviations, and by this share in any case.
 */
const STEAL_SPREADS_MAX = 3;
const STEAL_BURST_MAX = 0.05;

/** Without those of reference backends, which are in no comparison: what disturbs them spoils none. All where all are such. */
export function comparedCells<Cell extends { readonly engine: string }>(
  cells: readonly Cell[],
  engines: readonly { readonly id: string; readonly referenceBackend: string | null }[],
): readonly Cell[] {
  const ranked = new Set(engines.filter(({ referenceBackend }) => referenceBackend === null).map(({ id }) => id));
  return ranked.size === 0 ? cells : cells.filter(({ engine }) => ranked.has(engine));
}

/** Shares of all cores. */
export interface UsualSteal {
  /** What the hypervisor takes in most processes. */
  readonly standing: number;
  /** Standard deviation from process to process, of which nearly half may be disturbed. */
  readonly spread: number;
}

const NONE_STOLEN: UsualSteal = { standing: 0, spread: 0 };

/** Of the processes of a session so far; 0 where it is not told. */
export function usualSteal(cells: readonly { readonly interference: Interference }[]): UsualSteal {
  const shares = cells.flatMap(({ interference: { stealShare } }) => stealShare ?? []);
  if (shares.length === 0) return NONE_STOLEN;
  const standing = Math.min(STANDING_STEAL_MAX, median(shares));
  return { standing, spread: robustDeviation(shares.map((share) => share - standing)) };
}

/**
 * Reasons to run the block again; empty when it was quiet. What the OS does not tell is no reason.
 * @param usual what the hypervisor takes anyway
 */
export function isBlockNoisy(
  cells: readonly { readonly engine: string; readonly interference: Interference }[],
  { standing, spread } = NONE_STOLEN,
): string[] {
  return cells.flatMap(({ engine, interference: { foreignCpuShare, stealShare } }) => {
    const reasons: string[] = [];
    if (foreignCpuShare !== null && foreignCpuShare > FOREIGN_CPU_MAX) {
      reasons.push(
        `other programs used ${percent(foreignCpuShare)} of the CPU beside ${engine} (limit ${percent(FOREIGN_CPU_MAX)})`,
      );
    }
    const limit = standing + Math.max(STEAL_MAX, Math.min(STEAL_BURST_MAX, STEAL_SPREADS_MAX * spread));
    if (stealShare !== null && stealShare > limit) {
      const usual = standing < STEAL_MAX ? '' : `, ${percent(standing)} is usual here`;
      reasons.push(
        `the hypervisor took ${percent(stealShare)} of the CPU from ${engine} (limit ${percent(limit)}${usual})`,
      );
    }
    return reasons;
  });
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
}

/** What one rejected block says about its cause. */
export interface Rejection {
  readonly reasons: readonly string[];
  /** Other programs at work meanwhile, the busiest first. */
  readonly busiest: readonly string[];
}

/** By words of the reasons: old records have nothing else. The first that fits. */
const REMEDIES: readonly { readonly sign: RegExp; readonly remedy: string }[] = [
  { sign: /power source/, remedy: 'connect the power supply and leave it connected' },
  { sign: /throttle|heat/, remedy: 'let the machine cool, free its air vents' },
  { sign: /swap|for memory/, remedy: 'close programs that fill the memory' },
  {
    sign: /hypervisor|own speed|machine was/,
    remedy: 'try at a quieter time, or on a machine or an instance type that does not share its cores',
  },
];

export interface RunNoise {
  readonly state: 'quiet' | 'noisy';
  /** With the values; null when quiet. */
  readonly reason: string | null;
  /** What to close or change; null when quiet. */
  readonly remedy: string | null;
}

export interface RunNoiseInput {
  readonly planned: number;
  readonly accepted: number;
  readonly rejected: readonly Rejection[];
  /** The run is over: few accepted blocks are then a result. */
  readonly ended: boolean;
}

/** Below this many accepted blocks there is no verdict anyway. */
const BLOCKS_MIN = 3;

/** NOISY when more than half of N were rejected, or when rejections left an ended run without a verdict. */
export function runNoise({ planned, accepted, rejected, ended }: RunNoiseInput): RunNoise {
  const starved = ended && accepted < Math.min(BLOCKS_MIN, planned) && rejected.length > accepted;
  if (rejected.length <= planned / 2 && !starved) return { state: 'quiet', reason: null, remedy: null };
  const reasons = rejected.flatMap((rejection) => rejection.reasons);
  const [example] = reasons;
  const because = example === undefined ? '' : `: ${example}`;
  return {
    state: 'noisy',
    reason: `${rejected.length} of ${rejected.length + accepted} blocks were disturbed${because}`,
    remedy: `${remedyOf(rejected)}, and run again.`,
  };
}

/** What would keep these from being disturbed again: the beginning of a sentence. */
export function remedyOf(rejected: readonly Rejection[]): string {
  const reasons = rejected.flatMap((rejection) => rejection.reasons);
  return upperFirst(remedies(rejected, reasons).join(', '));
}

function remedies(rejected: readonly Rejection[], reasons: readonly string[]): string[] {
  const named = [...new Set(rejected.flatMap(({ busiest }) => busiest))].slice(0, 3);
  const others = reasons.some((reason) => /other programs|waited for the/.test(reason));
  const close =
    named.length > 0 ? `close ${named.join(', ')}` : 'close other programs (browsers, indexing, updates, builds)';
  const specific = REMEDIES.filter(({ sign }) => reasons.some((reason) => sign.test(reason))).map(
    ({ remedy }) => remedy,
  );
  return others || specific.length === 0 ? [close, ...specific] : specific;
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
