import { expect, test } from 'vitest';
import type { Comparison } from '../../../src/core/record.ts';
import { chooseWinner, gainOf } from '../../../src/core/tune/choose.ts';
import type { Raced } from '../../../src/core/tune/choose.ts';

/** `gain`: time in force over the candidate's time. */
function raced(label: string, gain: number | null, faster: 'candidate' | 'in force' | null): Raced {
  const candidate = { label, settings: {} };
  if (gain === null) return { candidate, arm: label, comparison: null };
  const comparison: Comparison = {
    metric: 'request',
    prompt: 'mix',
    a: 'in force',
    b: label,
    blockCount: 6,
    ratio: 1 / gain,
    low: null,
    high: null,
    confidence: 0.95,
    verdict: faster === null ? 'INCONCLUSIVE' : 'FASTER',
    faster: faster === null ? null : faster === 'candidate' ? 'b' : 'a',
    pDifferent: null,
    pBeyond: null,
    pEquivalent: null,
    detectableDifferent: null,
    detectableFaster: null,
    preliminary: false,
    reasons: [],
  };
  return { candidate, arm: label, comparison };
}

test('the fastest of those that are faster beyond doubt', () => {
  const all = [raced('1', 1.1, 'candidate'), raced('2', 1.3, 'candidate'), raced('4', 2, null)];
  expect(chooseWinner(all)?.candidate.label).toBe('2');
});

test('a better point estimate alone replaces nothing', () => {
  expect(chooseWinner([raced('1', 1.5, null), raced('2', null, null), raced('4', 0.5, 'in force')])).toBeNull();
});

test('the gain is of the candidate, whichever of the two comes first in the comparison', () => {
  const one = raced('2', 1.25, 'candidate');
  expect(gainOf(one)).toBeCloseTo(1.25, 10);
  const { comparison } = one;
  const turned = comparison === null ? null : { ...comparison, a: '2', b: 'in force', ratio: 1.25 };
  expect(gainOf({ ...one, comparison: turned })).toBeCloseTo(1.25, 10);
  expect(gainOf(raced('2', null, null))).toBeNaN();
});
