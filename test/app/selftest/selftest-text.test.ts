import { describe, expect, test } from 'vitest';
import type { SelftestResult } from '../../../src/app/selftest/selftest.ts';
import { describeSelftest, statement } from '../../../src/app/selftest/selftest-text.ts';

const RESULT: SelftestResult = {
  schemaVersion: 1,
  runoffVersion: '0.1.0',
  startedAt: '2026-11-26T10:00:00.000Z',
  machine: 'A processor, 2 cores, an OS',
  model: 'a model',
  engine: 'llama-cpp (1.0)',
  state: 'complete',
  outcome: 'passed',
  items: [
    { id: 'same', title: 'the same engine twice is no difference', outcome: 'passed', detail: 'EQUIVALENT' },
    { id: 'slower-30', title: 'a copy slower by 30% is found', outcome: 'passed', detail: 'FASTER' },
  ],
  clocks: null,
  rejectedBlocks: 0,
  remedy: null,
  loadDependent: null,
  resolutions: [
    { blocks: 6, runMs: 120_000, different: 0.05, faster: 0.1 },
    { blocks: 20, runMs: 400_000, different: 0.02, faster: 0.07 },
  ],
};
const OPEN = { ...RESULT.items[0], outcome: 'undecided', detail: 'NOISY: steal' } as SelftestResult['items'][number];

describe('the statement', () => {
  test('on a quiet machine says what it resolves, and nothing else', () => {
    expect(statement(RESULT)).toEqual([
      'PASSED. With two engines and the default prompts, this machine resolves a difference of 5.0% in about 2.0 min, and of 2.0% in about 6.7 min.',
    ]);
  });

  test('names the remedy that belongs to what disturbed it', () => {
    const told = statement({ ...RESULT, rejectedBlocks: 1, remedy: 'Connect the power supply' });
    expect(told[1]).toBe('1 block was disturbed by other work. Connect the power supply, and try again.');
    expect(statement({ ...RESULT, rejectedBlocks: 3, remedy: 'Close cargo' })[1]).toContain('3 blocks were disturbed');
  });

  test('does not promise a winner among engines that load may slow unequally', () => {
    const reason = 'the machine was 30% slower than at its quietest';
    expect(statement({ ...RESULT, loadDependent: reason })[1]).toMatch(/no winner at a time like this.*30% slower/);
  });

  test('counts what stays open, and never calls that passed', () => {
    const told = statement({ ...RESULT, outcome: 'undecided', items: [OPEN, ...RESULT.items], resolutions: [] });
    expect(told[0]).toMatch(/^PASSED as far as it could be told; 1 of 3 checks stay open\..*unknown/);
  });

  test('says whether the time or the noise was to blame where nothing can be told', () => {
    const unknown = { ...RESULT, resolutions: [] };
    expect(statement(unknown)[0]).toContain('too few blocks were measured; --budget gives more time');
    expect(statement({ ...unknown, rejectedBlocks: 3, remedy: 'Close cargo' })[0]).toContain('other work disturbed');
  });

  test('of a failed one names what failed', () => {
    const failed = { ...OPEN, outcome: 'failed' } as const;
    expect(statement({ ...RESULT, outcome: 'failed', items: [failed] })).toEqual([
      'NOT PASSED. On this machine runoff does not hold what it promises: the same engine twice is no difference.',
    ]);
  });
});

test('the page: the statement, every check with its mark, what can be resolved, and on what', () => {
  const text = describeSelftest({ ...RESULT, items: [...RESULT.items, OPEN] }, { color: false, width: 80 });
  expect(text).toContain('✓ a copy slower by 30% is found\n    FASTER\n');
  expect(text).toContain('? the same engine twice is no difference\n    NOISY: steal\n');
  expect(text).toMatch(/20\s+6\.7 min\s+2\.0%\s+7\.0%/);
  expect(text).toContain('On A processor, 2 cores, an OS, with llama-cpp (1.0) and a model.');
});
