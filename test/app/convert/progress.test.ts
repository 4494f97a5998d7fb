import { expect, test } from 'vitest';
import { conversionProgress, describeProgress } from '../../../src/app/convert/progress.ts';

test('amount, rate and remaining time', () => {
  expect(describeProgress({ doneBytes: 800e6, totalBytes: 2_400e6 }, 2_000)).toBe('800 of 2400 MB, 400 MB/s, 4 s left');
});

test('minutes where it takes long', () => {
  expect(describeProgress({ doneBytes: 400e6, totalBytes: 16_000e6 }, 40_000)).toBe(
    '400 of 16000 MB, 10 MB/s, 26 min left',
  );
});

test('no rate before two percent are done', () => {
  expect(describeProgress({ doneBytes: 19e6, totalBytes: 1_000e6 }, 9_000)).toBe('19 of 1000 MB');
});

test('no rate in the first second', () => {
  expect(describeProgress({ doneBytes: 800e6, totalBytes: 2_400e6 }, 999)).toBe('800 of 2400 MB');
});

test('the status line says what is done', () => {
  const lines: string[] = [];
  let nowMs = 0;
  const tell = conversionProgress(
    { line() {}, done() {}, status: (text) => lines.push(text) },
    'Converting',
    () => nowMs,
  );
  nowMs = 4_000;
  tell({ doneBytes: 2e6, totalBytes: 4e6 });
  expect(lines).toEqual(['Converting (2 of 4 MB, 1 MB/s, 4 s left)']);
});
