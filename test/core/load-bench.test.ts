/**
 * The protocol's simulations of a machine under load, smaller: engines that are equal on a quiet machine and feel its load
 * differently, with canary, reruns and the rule on load. `npm run bench -- statistics` prints the large ones.
 */
import { describe, expect, test } from 'vitest';
import { loadedRun } from '../../bench/statistics/load.ts';
import type { LoadedRun } from '../../bench/statistics/load.ts';

const RUNS = 100;

function runs(name: string, b: number, effect = 0): LoadedRun[] {
  return Array.from({ length: RUNS }, (_, seed) => loadedRun(name, { a: 1, b }, { blocks: 12, seed, effect }));
}

describe.each(['drift', 'thermal', 'neighbour', 'everything', 'self-heating', 'steal', 'bursts', 'restless'])(
  '%s',
  (name) => {
    test.each([1, 1.5, 2])('felt 1:%d by equal engines: a false FASTER in at most 2%', (b) => {
      const wrong = runs(name, b).filter(({ verdict }) => verdict === 'FASTER');
      expect(wrong.length / RUNS).toBeLessThanOrEqual(0.02);
    });

    test('a true 30% is never found the wrong way round', () => {
      expect(runs(name, 1.5, Math.log(1.3)).filter(({ faster }) => faster === 'b')).toEqual([]);
    });
  },
);

test('without the rule, heat of the engines themselves makes winners of equal engines', () => {
  const raw = runs('self-heating', 2).filter((run) => run.raw === 'FASTER');
  expect(raw.length / RUNS).toBeGreaterThan(0.9);
});

test.each(['bursts', 'restless'])('%s are no reason to give up: what is plain is found', (name) => {
  const found = runs(name, 1.5, Math.log(1.3));
  expect(found.filter(({ verdict }) => verdict === 'NOISY').length / RUNS).toBeLessThan(0.1);
  expect(found.filter(({ verdict, faster }) => verdict === 'FASTER' && faster === 'a').length / RUNS).toBeGreaterThan(
    0.85,
  );
});

test('on a quiet machine the rule takes no verdict away', () => {
  expect(runs('quiet', 2).filter(({ verdict }) => verdict === 'LOAD_DEPENDENT' || verdict === 'NOISY')).toEqual([]);
  expect(runs('quiet', 2, Math.log(1.3)).every(({ verdict }) => verdict === 'FASTER')).toBe(true);
});
