/** What benches usually do instead, each on the same simulated machines. All give a 95% interval or a 5% test of "no difference". */
import { createRandom } from '../../src/core/random.ts';
import type { Random } from '../../src/core/random.ts';
import { fasterMean, mean, meanInterval, standardDeviation } from '../../src/core/stats/describe.ts';
import { tQuantile } from '../../src/core/stats/student-t.ts';
import { pairedTest } from '../../src/core/stats/paired.ts';
import { ITERATIONS } from './simulate.ts';
import type { Regime } from './regimes.ts';

const RESAMPLES = 400;
const MARGIN = 1.05;

export interface Naive {
  readonly name: string;
  /** True where the claim "no difference" of two equal engines is refused. */
  readonly refusesEqual: (regime: Regime, blocks: number, seed: number) => boolean;
}

/** All of a, then all of b: llama-bench, hyperfine, LocalScore. One process each, its requests as the sample. */
const sequential: Naive = {
  name: 'a, then b',
  refusesEqual: (regime, blocks) => {
    const column = (first: number): number[] =>
      Array.from({ length: blocks }, (_, index) => regime.cell(first + index) + regime.request());
    return !welchHoldsZero(column(0), column(blocks));
  },
};

/** One process of each engine, many requests in it. */
const oneProcess: Naive = {
  name: 'one process',
  refusesEqual: (regime, blocks) => {
    const column = (position: number): number[] => {
      const cell = regime.cell(position);
      return Array.from({ length: blocks }, () => cell + regime.request());
    };
    return !welchHoldsZero(column(0), column(1));
  },
};

/** Fresh processes, but every request counted as independent. */
const pooled: Naive = {
  name: 'pooled',
  refusesEqual: (regime, blocks) => {
    const [a, b]: [number[], number[]] = [[], []];
    for (let block = 0; block < blocks; block++) {
      for (const [column, offset] of [[a, 0] as const, [b, 1] as const]) {
        const cell = regime.cell(2 * block + offset);
        for (let request = 0; request < ITERATIONS; request++) column.push(cell + regime.request());
      }
    }
    return !welchHoldsZero(a, b);
  },
};

/** The protocol's own blocks, but a percentile bootstrap of so few of them. */
const bootstrap: Naive = {
  name: 'bootstrap',
  refusesEqual: (regime, blocks, seed) => {
    const differences = pairedDifferences(regime, blocks);
    const random = createRandom('bootstrap', seed);
    const means = Array.from({ length: RESAMPLES }, () => mean(resample(differences, random))).sort((x, y) => x - y);
    const [low, high] = [means[Math.floor(0.025 * RESAMPLES)], means[Math.ceil(0.975 * RESAMPLES) - 1]];
    return (low ?? 0) > 0 || (high ?? 0) < 0;
  },
};

/** The protocol's own blocks, tested after every one until it is significant. */
const peeking: Naive = {
  name: 'peeking',
  refusesEqual: (regime, blocks) => {
    const differences = pairedDifferences(regime, blocks);
    return differences.some(
      (_, index) => index >= 2 && pairedTest(differences.slice(0, index + 1), MARGIN).pDifferent < 0.05,
    );
  },
};

export const NAIVE: readonly Naive[] = [sequential, oneProcess, pooled, bootstrap, peeking];

/** Fixed order a, b within each block: as most scripts that interleave do. */
function pairedDifferences(regime: Regime, blocks: number): number[] {
  return Array.from({ length: blocks }, (_, block) => {
    const time = (position: number): number =>
      regime.cell(position) + fasterMean(Array.from({ length: ITERATIONS }, regime.request));
    const first = time(2 * block);
    return first - time(2 * block + 1);
  });
}

function resample(values: readonly number[], random: Random): number[] {
  return values.map(() => values[random.integer(values.length)] ?? 0);
}

/** Welch's interval for the difference of two means. */
function welchHoldsZero(a: readonly number[], b: readonly number[]): boolean {
  const [varianceA, varianceB] = [standardDeviation(a) ** 2 / a.length, standardDeviation(b) ** 2 / b.length];
  const error = Math.sqrt(varianceA + varianceB);
  // Requests that never stalled took the same time to the last digit: there is no interval, and no doubt.
  if (error === 0) return mean([...a]) === mean([...b]);
  const freedom = (varianceA + varianceB) ** 2 / (varianceA ** 2 / (a.length - 1) + varianceB ** 2 / (b.length - 1));
  return Math.abs(mean([...a]) - mean([...b])) <= tQuantile(0.975, Math.max(1, freedom)) * error;
}

/** The protocol's interval at a fixed number of blocks: paired, t. */
export function pairedHolds(differences: readonly number[], truth: number): boolean {
  const { low, high } = meanInterval(differences, 0.95);
  return low <= truth && truth <= high;
}
