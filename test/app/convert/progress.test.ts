import { expect, test } from 'vitest';
import { conversionProgress, describeProgress } from '../../../src/app/convert/progress.ts';

test('amount, rate and remaining time', () => {
  expect(describeProgress({ doneBytes: 800e6, totalBytes: 2_400e6 }, 2_000)).toBe('800 of 2400 MB, 400 MB/s, 4 s left');
});

test('minutes where it takes long', () => {
  expect(describeProgress({ doneBytes: 100e6, totalBytes: 16_000e6 }, 10_000)).toBe(
    '100 of 16000 MB, 10 MB/s, 27 min left',
  );
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
