import { expect, it } from 'vitest';
import { largeTokenizerJson, MERGE_COUNT, TOKEN_COUNT } from '../../bench/large-tokenizer.ts';
import { allCandidates } from '../../src/models/tokenizer/derive-pre-tokenizer.ts';
import { parseTokenizerJson } from '../../src/models/tokenizer/tokenizer-files.ts';

it("the bench's tokenizer has Llama 3's numbers and rules, and every merge joins two tokens into a third", () => {
  const tokenizer = parseTokenizerJson(JSON.parse(largeTokenizerJson()) as Record<string, unknown>, 'tokenizer.json');
  const ids = [...tokenizer.vocabulary.values(), ...tokenizer.addedTokens.map(({ id }) => id)];
  expect([new Set(ids).size, Math.max(...tokenizer.addedTokens.map(({ id }) => id))]).toEqual([
    TOKEN_COUNT,
    TOKEN_COUNT - 1,
  ]);
  expect([tokenizer.merges.length, new Set(Array.from(tokenizer.merges, (pair) => pair.join(' '))).size]).toEqual([
    MERGE_COUNT,
    MERGE_COUNT,
  ]);
  const same = allCandidates(tokenizer).filter(({ sameRules, sameMerging }) => sameRules && sameMerging);
  expect(same.map(({ name }) => name)).toContain('llama-bpe');
});
