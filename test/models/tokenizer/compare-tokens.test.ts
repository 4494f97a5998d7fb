import { describe, expect, it } from 'vitest';
import {
  compareTokens,
  holdsSpecialTokens,
  proofTexts,
  suspectEntries,
  withSingleEntries,
  type Reference,
} from '../../../src/models/tokenizer/compare-tokens.ts';
import { parseTokenizerJson, type TokenizerJsonFile } from '../../../src/models/tokenizer/tokenizer-files.ts';
import { stressCorpus } from '../../../src/models/tokenizer/stress-corpus.ts';
import { unknownPreTokenizer } from '../../../src/models/tokenizer/unknown-pre-tokenizer.ts';

const BYTES = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };

function tokenizer(
  rest: object = {},
  vocabulary: Record<string, number> = { a: 0, Ġword: 1, Ã: 2, '..': 3 },
): TokenizerJsonFile {
  return parseTokenizerJson(
    { model: { type: 'BPE', vocab: vocabulary, merges: [] }, pre_tokenizer: BYTES, decoder: BYTES, ...rest },
    'x',
  );
}

const ids = (...list: number[]): Int32Array => Int32Array.from(list);

describe('lists of ids', () => {
  const texts = [
    { kind: 'prose', text: 'a' },
    { kind: 'prose', text: 'b' },
  ];
  const reference = (...lists: Int32Array[]): Reference => ({ tokenizer: tokenizer(), texts, ids: lists, tokens: [] });

  it.each([
    ['both end early', [ids(1)], [ids(1)]],
    ['one ends early', [ids(1), ids(2)], [ids(1)]],
    ['one goes on', [ids(1), ids(2)], [ids(1), ids(2), ids(3)]],
  ])('%s: that is no agreement', (_, own, answer) => {
    expect(() => compareTokens(reference(...own), 'x', answer)).toThrow('did not answer each text once');
  });
});

describe('the stress corpus', () => {
  const corpus = stressCorpus();

  it('is some thousand texts of every kind', () => {
    expect(corpus.length).toBeGreaterThan(10_000);
    expect([...new Set(corpus.map(({ kind }) => kind))]).toEqual([
      'prose',
      'scripts',
      'emoji',
      'code',
      'control',
      'characters',
      'whitespace',
      'numbers',
      'contractions',
      'joined',
    ]);
  });

  it('is the same in every process', () => {
    expect(
      corpus
        .filter(({ kind }) => kind === 'joined')
        .slice(0, 2)
        .map(({ text }) => text),
    ).toMatchInlineSnapshot(`
      [
        " 𖽏𖽏1 a᪰b",
        "a𐄸b aƂb",
      ]
    `);
  });

  it('holds no code point that Unicode has not assigned, and no half character', () => {
    expect(corpus.filter(({ text }) => /\p{Cn}/u.test(text) || !text.isWellFormed())).toEqual([]);
  });
});

describe('texts for a tokenizer', () => {
  const texts = (file: TokenizerJsonFile): [string, string][] =>
    proofTexts(file)
      .slice(stressCorpus().length)
      .map(({ kind, text }) => [kind, text]);

  it('are the whole entries of the vocabulary, several plain words at once', () => {
    expect(texts(tokenizer())).toEqual([
      ['vocabulary', '..'],
      ['vocabulary', 'a\n word'],
    ]);
  });

  it('show added tokens among others, but not those that trim spaces', () => {
    const added = [
      { id: 4, content: '<x>', special: true },
      { id: 5, content: '<y>', lstrip: true },
      { id: 6, content: 'a▁b' },
    ];
    const file = tokenizer({ added_tokens: added });
    expect(texts(file).slice(0, 4)).toEqual([
      ['added tokens', '<x>'],
      ['added tokens', 'a<x>b'],
      ['added tokens', '<x> c'],
      ['added tokens', '1 <x><x>'],
    ]);
    expect(proofTexts(file).filter(holdsSpecialTokens)).toHaveLength(4);
  });

  it('have a twin where the file normalises', () => {
    const file = tokenizer({ normalizer: { type: 'NFC' } }, { eÌģ: 0 });
    expect(texts(file)).toContainEqual(['twin', 'é']);
  });
});

describe('the comparison', () => {
  const reference: Reference = {
    tokenizer: tokenizer(),
    texts: [
      { kind: 'prose', text: 'ab' },
      { kind: 'vocabulary', text: 'x' },
      { kind: 'vocabulary', text: 'a\nb', entries: ['a', 'b'] },
    ],
    ids: [ids(1, 2), ids(3), ids(1, 9, 2)],
    tokens: ['', 'A', 'B', 'C'],
  };

  it('counts texts and entries apart', () => {
    expect(compareTokens(reference, 'gpt-2', [ids(1, 3), ids(3), ids(1, 9, 2)])).toEqual({
      name: 'gpt-2',
      textCount: 1,
      entryCount: 3,
      differenceCount: 1,
      textDifferenceCount: 1,
      normalizationCount: 0,
      byKind: { prose: 1 },
      examples: [{ kind: 'prose', text: 'ab', huggingFace: ['A', 'B'], llamaCpp: ['A', 'C'] }],
    });
  });

  it('takes a group apart that differs', () => {
    const answer = [ids(1, 2), ids(3), ids(1, 9, 3)];
    const texts = suspectEntries(reference, answer);
    expect(texts.map(({ text }) => text)).toEqual(['a', 'b']);
    const single = withSingleEntries(reference, answer, { texts, ids: [ids(1), ids(2)], answer: [ids(1), ids(3)] });
    expect(compareTokens(single.reference, 'x', single.answer)).toMatchObject({
      entryCount: 3,
      differenceCount: 1,
      examples: [{ text: 'b' }],
    });
  });

  it('keeps a group whose entries agree one by one', () => {
    const answer = [ids(1, 2), ids(3), ids(1, 9, 3)];
    const single = withSingleEntries(reference, answer, {
      texts: suspectEntries(reference, answer),
      ids: [ids(1), ids(2)],
      answer: [ids(1), ids(2)],
    });
    expect(compareTokens(single.reference, 'x', single.answer)).toMatchObject({
      entryCount: 3,
      differenceCount: 1,
      examples: [{ text: 'a\nb' }],
    });
  });

  it('explains a difference by the missing normalisation only where the normalised text agrees', () => {
    const texts = [
      { kind: 'scripts', text: 'e\u0301' },
      { kind: 'twin', text: 'é' },
    ];
    const normalising = {
      tokenizer: tokenizer({ normalizer: { type: 'NFC' } }),
      texts,
      ids: [ids(1), ids(1)],
      tokens: [],
    };
    expect(compareTokens(normalising, 'x', [ids(2, 3), ids(1)])).toMatchObject({
      textCount: 1,
      differenceCount: 0,
      normalizationCount: 1,
    });
    expect(compareTokens(normalising, 'x', [ids(2, 3), ids(4)])).toMatchObject({
      textCount: 1,
      differenceCount: 1,
      normalizationCount: 0,
    });
  });
});

it('an unknown pre-tokenizer: the closest, its error rate, the first difference and what to do', () => {
  const comparison = {
    name: 'gpt-2',
    textCount: 1000,
    entryCount: 500,
    differenceCount: 31,
    textDifferenceCount: 30,
    normalizationCount: 0,
    byKind: {},
    examples: [{ kind: 'prose', text: 'we have', huggingFace: ['we', ' ', 'have'], llamaCpp: ['we', ' have'] }],
  };
  const worse = { ...comparison, name: 'falcon', textDifferenceCount: 300 };
  const { code, message, hint } = unknownPreTokenizer('/m', { patterns: [], foreign: [] }, [worse, comparison]);
  expect([code, message, hint]).toMatchInlineSnapshot(`
    [
      "tokenizer-unknown",
      "/m: no pre-tokenizer of llama.cpp cuts text as this tokenizer does. The closest is gpt-2: 30 of 1000 texts differ (3.00%), and 1 of 500 entries of the vocabulary. The first: "we have" is we |   | have in the original, we |  have in llama.cpp.",
      "Decide with --pre-tokenizer NAME, for example --pre-tokenizer gpt-2; the model will then see other tokens for such texts.",
    ]
  `);
});
