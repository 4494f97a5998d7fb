import { describe, expect, it } from 'vitest';
import { canonicalPattern, derivedCandidates, splitRules } from '../../../src/models/tokenizer/derive-pre-tokenizer.ts';
import { preTokenizer } from '../../../src/models/tokenizer/pre-tokenizers.ts';
import { PRE_TOKENIZER_RULES } from '../../../src/models/tokenizer/llama-cpp-pre-tokenizers.ts';
import { rankRules } from '../../../src/models/tokenizer/rank-pre-tokenizers.ts';
import { NAME_BY_FINGERPRINT } from '../../../src/models/tokenizer/reference-fingerprints.ts';
import { parseTokenizerJson, type TokenizerJsonFile } from '../../../src/models/tokenizer/tokenizer-files.ts';

const SUFFIXES = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)`;
const split = (pattern: string, behavior = 'Isolated', invert = false): object => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior,
  invert,
});
const BYTES = { type: 'ByteLevel', add_prefix_space: false, use_regex: false };

function tokenizer(steps: readonly object[], ignoreMerges = false): TokenizerJsonFile {
  const model = { type: 'BPE', vocab: { a: 0 }, merges: [], ignore_merges: ignoreMerges };
  return parseTokenizerJson({ model, pre_tokenizer: { type: 'Sequence', pretokenizers: steps } }, 'tokenizer.json');
}

function names(steps: readonly object[], { ignoreMerges = false, known = null as string | null } = {}): string[] {
  return derivedCandidates(tokenizer(steps, ignoreMerges), known).map(({ name }) => name);
}

const LLAMA3 = String.raw`${SUFFIXES}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const WORD = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const SMALL = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const REST = String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

describe('names by the rules that models ship', () => {
  it('Llama 3 and its relatives differ in ignore_merges: the one that has the file’s comes first', () => {
    expect(names([split(LLAMA3), BYTES], { ignoreMerges: true })).toEqual(['llama-bpe', 'dbrx']);
    expect(names([split(LLAMA3), BYTES])).toEqual(['dbrx', 'llama-bpe']);
  });

  it('a name that the converter knows goes before others with the same rules', () => {
    expect(names([split(LLAMA3), BYTES], { ignoreMerges: true, known: 'falcon3' })[0]).toBe('falcon3');
    expect(names([split(LLAMA3), BYTES], { ignoreMerges: true, known: 'smaug-bpe' })).toEqual([
      'llama-bpe',
      'smaug-bpe',
    ]);
  });

  it.each([
    ['qwen2', [split(LLAMA3.replace('{1,3}', '')), BYTES]],
    ['qwen2', [split(LLAMA3.replace('{1,3}', '{1}'), 'Removed', true), BYTES]],
    ['gpt-2', [{ type: 'ByteLevel', add_prefix_space: false }]],
    [
      'smollm',
      [
        { type: 'Digits', individual_digits: true },
        { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
      ],
    ],
    [
      'falcon',
      [
        { type: 'Punctuation', behavior: 'Contiguous' },
        { type: 'ByteLevel', add_prefix_space: false },
        split('[0-9][0-9][0-9]'),
      ],
    ],
    [
      'gpt-4o',
      [
        split(
          String.raw`[^\r\n\p{L}\p{N}]?${WORD}*${SMALL}+${SUFFIXES}?|[^\r\n\p{L}\p{N}]?${WORD}+${SMALL}*${SUFFIXES}?|\p{N}{1,3}|${REST}`,
        ),
        BYTES,
      ],
    ],
    [
      'tekken',
      [split(String.raw`[^\r\n\p{L}\p{N}]?${WORD}*${SMALL}+|[^\r\n\p{L}\p{N}]?${WORD}+${SMALL}*|\p{N}|${REST}`), BYTES],
    ],
    [
      'bailingmoe',
      [
        split(
          String.raw`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`,
        ),
        BYTES,
      ],
    ],
  ])('%s', (name, steps) => {
    expect(names(steps)[0]).toBe(name);
  });

  it.each([
    ['whitespace splitting', [{ type: 'Whitespace' }]],
    ['a space that is put in front', [{ type: 'ByteLevel', add_prefix_space: true }]],
    ['a regex of its own', [split(String.raw`\p{L}{1,4}`), BYTES]],
    ['matches merged with their neighbours', [split(LLAMA3, 'MergedWithNext'), BYTES]],
  ])('%s has none', (_, steps) => {
    expect(names(steps)).toEqual([]);
  });
});

it('steps that llama.cpp has no word for are named', () => {
  expect(splitRules({ type: 'Sequence', pretokenizers: [{ type: 'BertPreTokenizer' }, split('a')] })).toEqual({
    patterns: ['a'],
    foreign: ['BertPreTokenizer'],
  });
});

describe('one spelling of regexes', () => {
  it.each([
    [String.raw`(?i:'s|'ll)x`, String.raw`('[sS]|'[lL][lL])x`],
    [String.raw`[\u4e00-\u9fa5\x{3040}]`, '[一-龥\u3040]'],
    ['[\r\n]', String.raw`[\r\n]`],
    [String.raw`a++|b?+|c{1,3}+|\p{L}+`, String.raw`a+|b?|c{1,3}|\p{L}+`],
    [String.raw`\++`, String.raw`\++`],
    [String.raw`\/\-\.`, String.raw`/\-\.`],
    [String.raw`x|\s+(?!\S)|\s+`, String.raw`x|\s+(?!\S)`],
  ])('%s', (pattern, canonical) => {
    expect(canonicalPattern(pattern)).toBe(canonical);
  });
});

describe('the table', () => {
  const all = PRE_TOKENIZER_RULES.flatMap(({ families }) => families.flatMap(({ names: list }) => list));

  it('has the 92 names of llama.cpp b11434, each once', () => {
    expect([all.length, new Set(all).size, PRE_TOKENIZER_RULES.length]).toEqual([92, 92, 31]);
  });

  it('has every name that the converter gives to byte-level tokenizers', () => {
    // The others belong to WordPiece models.
    const others = [...new Set(NAME_BY_FINGERPRINT.values())].filter((name) => !all.includes(name));
    expect(others).toMatchInlineSnapshot(`
      [
        "jina-v2-en",
        "bert-bge-large",
      ]
    `);
  });
});

describe('the way back from a name', () => {
  it('is llama.cpp’s rules for every name that regexes can say', () => {
    expect(preTokenizer('deepseek-v3')).toMatchObject({
      patterns: [String.raw`\p{N}{1,3}`, expect.anything(), expect.anything()],
      ignoreMerges: false,
    });
    expect(preTokenizer('glm4')).toMatchObject({ ignoreMerges: true });
    const all = PRE_TOKENIZER_RULES.flatMap(({ families }) => families.flatMap(({ names: list }) => list));
    expect(all.filter((name) => preTokenizer(name).warning !== undefined)).toEqual(WITHOUT_RULES);
  });
});

/** `default` may stand for anything; the others need code, or are no byte-level tokenizers. */
const WITHOUT_RULES = [
  'default',
  'gemma4',
  'granite-embed-multi-311m',
  'mmbert',
  'sarvam-moe',
  'whitespace',
  'superbpe',
  'kimi-k2',
  'afmoe',
];

describe('likeness', () => {
  const nearest = (steps: readonly object[]): string | undefined => {
    const place = rankRules({ type: 'Sequence', pretokenizers: steps })[0] ?? -1;
    return PRE_TOKENIZER_RULES[place]?.families[0]?.names[0];
  };

  it('finds rules that are spelled differently', () => {
    const other = LLAMA3.replace(String.raw`\p{N}{1,3}`, String.raw`\p{N}\p{N}?\p{N}?`);
    expect(nearest([split(other), BYTES])).toBe('llama-bpe');
  });

  it('takes the one with the fewest texts that are cut differently', () => {
    expect(nearest([split(LLAMA3.replace('{1,3}', '{1,2}')), BYTES])).toBe('llama-bpe');
  });

  it('ends for regexes that JavaScript does not know', () => {
    expect(rankRules({ type: 'Split', pattern: { Regex: '(?<=[' }, behavior: 'Isolated' })).toHaveLength(31);
  });
});
