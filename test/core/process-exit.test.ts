import { expect, test } from 'vitest';
import { exitHint, exitText } from '../../src/core/process-exit.ts';

test.each([
  [{ code: null, signal: 'SIGSEGV' }, 'SIGSEGV'],
  [{ code: 3, signal: null }, 'exit code 3'],
  [{ code: null, signal: null }, 'exit code unknown'],
  [{ code: null, signal: 'SIGILL' }, 'SIGILL: this build uses an instruction that the processor refuses'],
  // STATUS_ILLEGAL_INSTRUCTION on Windows.
  [
    { code: 3_221_225_501, signal: null },
    'exit code 3221225501: this build uses an instruction that the processor refuses',
  ],
])('%j: %s', (exit, text) => {
  expect(exitText(exit)).toBe(text);
});

test('only a build for another processor has a next step', () => {
  expect(exitHint({ code: null, signal: 'SIGILL' })).toMatch(/^Take another build of it/);
  expect(exitHint({ code: null, signal: 'SIGSEGV' })).toBeNull();
});
