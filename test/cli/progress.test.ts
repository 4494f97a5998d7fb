import { expect, test } from 'vitest';
import { plainUi } from '../../src/cli/progress.ts';

function printedBy(steps: readonly (readonly [atMs: number, status: string])[]): string[] {
  const printed: string[] = [];
  let nowMs = 0;
  const write = (text: string | Uint8Array): boolean => printed.push(String(text).trimEnd()) > 0;
  const ui = plainUi({ write }, () => nowMs);
  for (const [atMs, status] of steps) {
    nowMs = atMs;
    ui.status(status);
  }
  return printed;
}

test('a status that differs in its numbers alone is printed every 30 seconds', () => {
  const steps = Array.from({ length: 62 }, (_, second): [number, string] => [
    second * 1_000,
    `llama-cpp-python 0.3.36: compiling ${second} of 200`,
  ]);
  expect(printedBy(steps)).toEqual([
    'llama-cpp-python 0.3.36: compiling 0 of 200',
    'llama-cpp-python 0.3.36: compiling 30 of 200',
    'llama-cpp-python 0.3.36: compiling 60 of 200',
  ]);
});

test('other words behind the same numbers are printed at once', () => {
  expect(
    printedBy([
      [0, 'llama-cpp-python 0.3.36: making a Python environment'],
      [1, 'llama-cpp-python 0.3.36: configuring the build'],
    ]),
  ).toHaveLength(2);
});

test('what an engine does in a block does not fill a log', () => {
  expect(
    printedBy([
      [0, 'Block 1 of 12 · llama-cpp · warming up'],
      [1_000, 'Block 1 of 12 · llama-cpp · measuring short (1 of 3)'],
      [2_000, 'Block 2 of 12 · llama-server · warming up'],
    ]),
  ).toEqual(['Block 1 of 12 · llama-cpp · warming up']);
});
