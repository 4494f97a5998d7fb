import { describe, expect, test } from 'vitest';
import { simulate } from './simulation.ts';
import type { Fault } from './simulation.ts';

const PLAN = { blocks: 4, iterations: 3, budgetMs: 600_000 } as const;

const VOIDING: readonly (readonly [Fault, string])[] = [
  ['truncate', 'truncation'],
  ['counted-cache', 'prompt-cache'],
  ['hidden-cache', 'prompt-cache'],
  ['early-end', 'early-end'],
  ['double-bos', 'double-bos'],
  ['miscount', 'token-count'],
  ['small-context', 'context-per-slot'],
  ['other-vocabulary', 'wrong-model'],
];

describe('a fault in the check', () => {
  test('honest engines pass every gate', async () => {
    const { record } = await simulate({ engines: [{ id: 'alpha' }, { id: 'beta' }], plan: PLAN });
    expect(record.gates.filter(({ outcome }) => outcome !== 'passed')).toEqual([]);
    expect(record.gates.map(({ gate }) => gate).filter((gate, index, all) => all.indexOf(gate) === index)).toHaveLength(
      8,
    );
    expect(record.verdict.state).not.toBe('void');
  });

  test.each(VOIDING)('%s voids the comparison by the %s gate', async (fault, gate) => {
    const { record } = await simulate({ engines: [{ id: 'alpha' }, { id: 'beta', fault }], plan: PLAN });
    const failed = record.gates.filter(({ outcome }) => outcome === 'failed');
    expect(failed.map(({ engine }) => engine).every((engine) => engine === 'beta')).toBe(true);
    expect(failed.map((event) => event.gate)).toContain(gate);
    expect(record.verdict.state).toBe('void');
    expect(record.verdict.winner).toBeNull();
    expect(record.comparisons.map(({ verdict }) => verdict).every((verdict) => verdict === 'VOID')).toBe(true);
  });

  test('without log-probabilities, enough text is compared for the needles to show', async () => {
    const { record } = await simulate({
      engines: [{ id: 'alpha' }, { id: 'beta', fault: 'slow-to-differ' }],
      plan: PLAN,
    });
    expect(record.gates.filter(({ gate }) => gate === 'truncation').map(({ outcome }) => outcome)).toEqual([
      'passed',
      'passed',
    ]);
  });

  test('other threads than asked are labelled, not voided', async () => {
    const { record } = await simulate({
      engines: [{ id: 'alpha' }, { id: 'beta', fault: 'fewer-threads' }],
      plan: PLAN,
    });
    expect(record.verdict.state).not.toBe('void');
    expect(record.certificate.settings.state).toBe('as-shipped');
    expect(record.certificate.settings.differences.join()).toContain('threads: 2 asked, 1 used');
  });
});

describe('a fault that begins after the check', () => {
  test.each([
    ['counted-cache', 'prompt-cache'],
    ['early-end', 'early-end'],
    ['double-bos', 'token-count'],
    ['miscount', 'token-count'],
    ['shift', 'truncation'],
  ] as const)('%s is found in the measured answers, by the %s gate', async (fault, gate) => {
    const { record } = await simulate({ engines: [{ id: 'alpha' }, { id: 'beta', fault, faultFrom: 4 }], plan: PLAN });
    expect(
      record.gates.filter(({ outcome }) => outcome === 'failed').map((event) => `${event.engine} ${event.gate}`),
    ).toContain(`beta ${gate}`);
    expect(record.verdict.state).toBe('void');
  });
});

test('with three engines, the one that cheats is out and the two others are compared', async () => {
  const engines = [{ id: 'alpha' }, { id: 'beta', slowdown: 1.5 }, { id: 'gamma', fault: 'early-end' as const }];
  const { record } = await simulate({
    engines,
    plan: { ...PLAN, blocks: 8 },
    noise: { process: 0.005, request: 0.005 },
  });
  expect(record.verdict.state).toBe('winner');
  expect(record.verdict.winner).toBe('alpha');
  const withGamma = record.comparisons.filter(({ a, b }) => [a, b].includes('gamma'));
  expect(withGamma.map(({ verdict }) => verdict).filter((verdict) => verdict !== 'VOID')).toEqual([]);
});
