import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AppError } from '../../../src/core/errors.ts';
import { buildPrompts } from '../../../src/core/workload/build-prompts.ts';
import type { PromptKey, WorkloadInput } from '../../../src/core/workload/build-prompts.ts';

const BOS = 1;
const END = 2;
/** One token per word: its length + 100; a BOS first and an end token last, as some tokenizers add them. */
const encode = (text: string): number[] => [BOS, ...text.split(' ').map((word) => 100 + word.length), END];

const INPUT: WorkloadInput = {
  tokenizerEncode: encode,
  bodyText: 'the quick brown fox jumps over it',
  prompts: [
    { name: 'short', tokenCount: 5 },
    { name: 'standard', tokenCount: 512 },
  ],
  seed: 42,
  vocabularySize: 8_000,
  bannedTokens: [END],
  nonceTokens: Array.from({ length: 6_000 }, (_, index) => 1_000 + index),
  addBos: true,
  bosToken: BOS,
};

const KEY: PromptKey = { block: 0, prompt: 'standard', iteration: 0, kind: 'measured' };

test('the asked count is exact, BOS counts and comes once, end tokens never', () => {
  const workload = buildPrompts(INPUT);
  for (const [prompt, length] of [
    ['short', 5],
    ['standard', 512],
    ['warmup', 32],
  ] as const) {
    const tokens = workload.promptTokens({ ...KEY, prompt });
    expect(tokens).toHaveLength(length);
    expect(tokens[0]).toBe(BOS);
    expect(tokens.filter((token) => token === BOS)).toHaveLength(1);
    expect(tokens).not.toContain(END);
  }
  expect(buildPrompts({ ...INPUT, addBos: false }).promptTokens(KEY)).not.toContain(BOS);
});

test('the nonce stands at the start: four tokens, one in a prompt under 64; then the text, repeated', () => {
  const workload = buildPrompts(INPUT);
  const isNonce = (token: number): boolean => token >= 1_000;
  expect(workload.promptTokens(KEY).map(isNonce).slice(0, 7)).toEqual([false, true, true, true, true, false, false]);
  expect(workload.promptTokens({ ...KEY, prompt: 'short' }).map(isNonce)).toEqual([false, true, false, false, false]);
  expect(workload.promptTokens(KEY).slice(5, 14)).toEqual([103, 105, 105, 103, 105, 104, 102, 103, 105]);
});

test('the same key gives the same tokens, in any order of asking: every engine gets the same prompt', () => {
  const [left, right] = [buildPrompts(INPUT), buildPrompts(INPUT)];
  right.promptTokens({ ...KEY, block: 3 });
  expect(right.promptTokens(KEY)).toEqual(left.promptTokens(KEY));
  expect(buildPrompts({ ...INPUT, seed: 43 }).promptTokens(KEY)).not.toEqual(left.promptTokens(KEY));
});

test('a body of its own by prompt name', () => {
  const workload = buildPrompts({ ...INPUT, bodyTexts: { short: 'aaaaaaaaa' } });
  expect(workload.promptTokens({ ...KEY, prompt: 'short' }).slice(2)).toEqual([109, 109, 109]);
  expect(workload.promptTokens(KEY)[5]).toBe(103);
});

test('no nonce repeats in a whole run of 100 blocks with reruns, warm-ups included', () => {
  const workload = buildPrompts(INPUT);
  for (const prompts of [['standard'], ['short', 'warmup']]) {
    const seen = new Set<string>();
    let requests = 0;
    for (let block = 0; block < 100; block += 1) {
      for (const attempt of prompts.length === 1 ? [0, 1] : [0]) {
        for (const prompt of prompts) {
          for (const [kind, count] of [
            ['warmup', 2],
            ['measured', 9],
          ] as const) {
            for (let iteration = 0; iteration < count; iteration += 1) {
              const tokens = workload.promptTokens({ block, attempt, prompt, iteration, kind });
              seen.add(tokens.slice(1, prompt === 'standard' ? 5 : 2).join());
              requests += 1;
            }
          }
        }
      }
    }
    expect(seen.size).toBe(requests);
  }
});

test('the first nonce token of a long prompt changes with every request: no prefix is shared', () => {
  const workload = buildPrompts(INPUT);
  const firsts = Array.from({ length: 100 }, (_, block) =>
    [0, 1, 2].map((iteration) => workload.promptTokens({ ...KEY, block, iteration })[1]),
  ).flat();
  expect(new Set(firsts).size).toBe(firsts.length);
});

describe('what cannot be built says why', () => {
  const message = (changes: Partial<WorkloadInput>): string => {
    try {
      buildPrompts({ ...INPUT, ...changes });
    } catch (error) {
      if (error instanceof AppError) return `${error.code}: ${error.message}`;
      throw error;
    }
    return 'built';
  };

  test('no room, no text, no nonces', () => {
    expect(message({ prompts: [{ name: 'tiny', tokenCount: 1 }] })).toBe(
      'plan-invalid: the prompt "tiny" of 1 tokens has no room beside the BOS token',
    );
    expect(message({ tokenizerEncode: () => [END] })).toBe(
      'plan-invalid: the text of the prompt "short" has no tokens',
    );
    expect(message({ nonceTokens: [END, 5] })).toBe(
      'plan-invalid: the tokenizer offers 1 tokens for nonces, at least 2 are needed',
    );
    expect(message({ prompts: [{ name: 'tiny', tokenCount: 2 }] })).toBe('built');
  });
});

test('property: any length is exact', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 3_000 }),
      fc.boolean(),
      fc.integer({ min: 0, max: 99 }),
      (tokenCount, addBos, block) => {
        const workload = buildPrompts({ ...INPUT, addBos, prompts: [{ name: 'p', tokenCount }] });
        expect(workload.promptTokens({ ...KEY, block, prompt: 'p' })).toHaveLength(tokenCount);
      },
    ),
    { numRuns: 100, seed: 4 },
  );
});
