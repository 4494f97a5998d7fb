import { describe, expect, test } from 'vitest';
import { buildPrompts } from '../../../src/core/workload/build-prompts.ts';

/** A tokenizer of pairs: two letters that follow each other become one token, like words that meet at a seam. */
const LETTERS = 'abcdefghij ';
const PAIRS = ['ab', 'bc', 'cd', 'de', 'ja', ' a'];
const VOCABULARY = [...LETTERS.split(''), ...PAIRS];

function encode(text: string): number[] {
  const tokens: number[] = [];
  for (let at = 0; at < text.length;) {
    const pair = VOCABULARY.indexOf(text.slice(at, at + 2), LETTERS.length);
    tokens.push(pair === -1 ? VOCABULARY.indexOf(text[at] ?? '') : pair);
    at += pair === -1 ? 1 : 2;
  }
  return tokens;
}

function decode(tokens: readonly number[]): string {
  return tokens.map((token) => VOCABULARY[token]).join('');
}

const INPUT = {
  tokenizerEncode: encode,
  bodyText: 'abcdefghij abcdefghij',
  prompts: [5, 32, 70].map((tokenCount) => ({ name: `${tokenCount}-tokens`, tokenCount })),
  seed: 7,
  vocabularySize: VOCABULARY.length,
  bannedTokens: [],
  // Letters that merge with the start of the body.
  nonceTokens: [0, 1, 2, 3, 9],
  addBos: false,
  bosToken: null,
};
const key = (prompt: string, iteration: number) => ({ block: 0, prompt, iteration, kind: 'measured' }) as const;

describe('prompts for engines that take text', () => {
  const workload = buildPrompts({ ...INPUT, tokenizerDecode: decode });

  test.each(INPUT.prompts)(
    '$name: the text encodes to exactly the ids, at exactly the length',
    ({ name, tokenCount }) => {
      for (let iteration = 0; iteration < 9; iteration++) {
        const tokens = workload.promptTokens(key(name, iteration));
        expect(tokens).toHaveLength(tokenCount);
        expect(encode(workload.promptText(tokens))).toEqual(tokens);
      }
    },
  );

  test('without a text engine, ids stay what they were built as, seams included', () => {
    const plain = buildPrompts(INPUT);
    const tokens = Array.from({ length: 9 }, (_, iteration) => plain.promptTokens(key('32-tokens', iteration)));
    expect(tokens.some((ids) => encode(decode(ids)).length !== ids.length)).toBe(true);
  });

  test('a BOS counts in the length and is not in the text', () => {
    const withBos = buildPrompts({
      ...INPUT,
      addBos: true,
      bosToken: VOCABULARY.length,
      vocabularySize: 100,
      tokenizerDecode: decode,
    });
    const tokens = withBos.promptTokens(key('32-tokens', 1));
    expect(tokens[0]).toBe(VOCABULARY.length);
    expect(tokens).toHaveLength(32);
    expect(encode(withBos.promptText(tokens))).toEqual(tokens.slice(1));
  });

  test.each([-2, -1, 1, 2])('a server that adds %i tokens gets a text that makes up for it', (added) => {
    for (let iteration = 0; iteration < 9; iteration++) {
      const tokens = workload.promptTokens(key('32-tokens', iteration));
      expect(encode(workload.promptText(tokens, added))).toHaveLength(32 - added);
      // The nonce stays at the start.
      expect(workload.promptText(tokens, added).startsWith(decode(tokens.slice(0, 4)))).toBe(true);
    }
  });

  test('a changed prompt is mended to the same length', () => {
    const tokens = workload.promptTokens(key('32-tokens', 0));
    const changed = workload.canonical([...tokens.slice(0, 8), ...tokens.slice(0, 8), ...tokens.slice(16)]);
    expect(changed).toHaveLength(32);
    expect(encode(decode(changed))).toEqual(changed);
  });

  test('a tokenizer that no text of this length satisfies is told', () => {
    const never = buildPrompts({ ...INPUT, tokenizerDecode: () => '' });
    expect(() => never.promptTokens(key('5-tokens', 0))).toThrow(/no text has exactly 5 tokens/);
  });
});
