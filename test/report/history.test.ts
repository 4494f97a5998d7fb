import { expect, test } from 'vitest';
import { compareRuns } from '../../src/core/derive/compare-runs.ts';
import { renderComparison, renderGate, renderHistory } from '../../src/report/history.ts';
import { noisy, tie, winner } from './fixtures/records.ts';

test('history: a line per run, a damaged one with its problem', () => {
  const text = renderHistory([
    { folder: 'runs/1', record: winner, problem: null },
    { folder: 'runs/2', record: null, problem: 'runs/2/manifest.json is not JSON' },
  ]);
  const lines = text.trimEnd().split('\n');
  expect(lines).toHaveLength(3);
  expect(lines[1]).toContain('runs/1');
  expect(lines[2]).toContain('cannot be read: runs/2/manifest.json');
});

test('history of nothing says what to do', () => {
  expect(renderHistory([])).toMatch(/runoff run/);
});

test('a run against itself: no change, and every metric is there', () => {
  const text = renderComparison('runs/1', 'runs/1', compareRuns(tie, tie), 100);
  expect(text).toContain('no change that the runs can show');
  for (const metric of ['request', 'ttft', 'decode']) expect(text).toContain(metric);
  expect(text).not.toContain('NaN');
});

test('a noisy run is not compared', () => {
  const text = renderComparison('runs/1', 'runs/2', compareRuns(tie, noisy), 100);
  expect(text).toContain('Not compared');
});

test('the gate says what it decided on', () => {
  const change = {
    metric: 'request',
    prompt: 'mix',
    ratio: 1.2,
    low: 1.1,
    high: 1.3,
    blocksBefore: 8,
    blocksAfter: 8,
    control: null,
  } as const;
  expect(renderGate('alpha', change, 'failed', 1.05)).toBe(
    'alpha: FAILED: slower by more than 5.0% (interval 1.100-1.300)',
  );
});
