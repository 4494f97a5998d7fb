import { expect, test } from 'vitest';
import { architectureSince, parseLlamaBuild } from '../../../src/core/doctor/architectures.ts';
import { LLAMA_PRE_TOKENIZERS } from '../../../src/core/doctor/pre-tokenizer-names.ts';

// The threads that name a release: llama.cpp issue 8195 says that b3259 is the first with gemma2, pull request 12343 became b4875.
test.each([
  ['llama', 1_041],
  ['gemma2', 3_259],
  ['gemma3', 4_875],
  ['qwen3', 5_092],
  ['gpt-oss', 6_096],
])('%s came with b%i', (architecture, build) => {
  expect(architectureSince(architecture)?.build).toBe(build);
  expect(architectureSince(architecture)?.source).toMatch(/^llama\.cpp pull request \d+$/);
});

test('names of objects are no architectures', () => {
  expect(architectureSince('brand-new')).toBeNull();
  expect(architectureSince('constructor')).toBeNull();
});

test.each([
  ['b6384', 6_384],
  ['6384 (fb15d64)', 6_384],
  ['version: 4875 (7841fc72)\nbuilt with cc', 4_875],
  ['0.1.0-dev-b10335', 10_335],
  ['v0.4.0', 10_335],
  ['0.3.0 (80fb11a)', 10_335],
  ['version: 0.3.0 (80fb11a)', 10_335],
  ['(unknown version)', null],
  ['b0-unknown', null],
  ['', null],
])('the build of "%s"', (text, expected) => {
  expect(parseLlamaBuild(text)).toBe(expected);
});

test('names of pre-tokenizers', () => {
  expect(LLAMA_PRE_TOKENIZERS.size).toBe(87);
  expect([...LLAMA_PRE_TOKENIZERS].filter((name) => !/^[a-z0-9._-]+$/.test(name))).toEqual([]);
  for (const name of ['llama-bpe', 'qwen2', 'smollm', 'gpt-4o', 'tekken', 'default'])
    expect(LLAMA_PRE_TOKENIZERS.has(name)).toBe(true);
});
