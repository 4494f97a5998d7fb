import { expect, test } from 'vitest';
import { describeTokenizer } from '../../src/app/tokenizer-text.ts';
import type { TokenizerReport } from '../../src/app/tokenizer.ts';

const COMPARISON = {
  name: 'qwen2',
  textCount: 12_927,
  entryCount: 150_195,
  differenceCount: 0,
  textDifferenceCount: 0,
  normalizationCount: 426,
  byKind: {},
  examples: [],
};
const PROOF = {
  state: 'proven',
  reason: null,
  comparisons: [COMPARISON],
  refused: [],
  release: 'v0.4.0',
  seconds: 23.4,
} as const;
const REPORT: TokenizerReport = {
  path: '/models/qwen3',
  against: null,
  model: 'gpt2',
  preTokenizer: 'qwen2',
  origin: 'rules',
  tokenCount: 151_936,
  proof: PROOF,
};

test('a proved tokenizer, with what llama.cpp does not normalise', () => {
  expect(describeTokenizer(REPORT, 90)).toMatchInlineSnapshot(`
    "tokenizer        /models/qwen3
    kind             byte-level BPE, 151,936 tokens
    pre-tokenizer    qwen2, by the rules of tokenizer.json
    proof            proved: the same tokens in both (llama.cpp v0.4.0 and Hugging Face's
                     tokenizer, 23.4 s)
    as qwen2         no difference in 12,927 texts (0.00%), no difference in 150,195 entries
                     of the vocabulary; 426 texts more only because llama.cpp does not
                     normalise (they agree once normalised)"
  `);
});

test('a name that the user gave and that differs: the first differences are shown', () => {
  const examples = [
    {
      kind: 'vocabulary',
      text: ' vi\u1ec7c\u001b[2J',
      huggingFace: ['\u0120vi\u1ec7c'],
      llamaCpp: ['\u0120vi', '\u1ec7', 'c'],
    },
  ];
  const comparison = {
    ...COMPARISON,
    name: 'smaug-bpe',
    differenceCount: 591,
    textDifferenceCount: 3,
    normalizationCount: 0,
    examples,
  };
  const proof = { ...PROOF, state: 'differs', comparisons: [comparison], refused: ['glm4'] } as const;
  expect(describeTokenizer({ ...REPORT, preTokenizer: 'smaug-bpe', origin: 'given', proof }, 90))
    .toMatchInlineSnapshot(`
    "tokenizer        /models/qwen3
    kind             byte-level BPE, 151,936 tokens
    pre-tokenizer    smaug-bpe, as you said
    proof            NOT the same tokens (llama.cpp v0.4.0 and Hugging Face's tokenizer, 23.4
                     s)
    as smaug-bpe     3 differences in 12,927 texts (0.02%), 588 differences in 150,195 entries
                     of the vocabulary
    as glm4          this llama.cpp does not load the vocabulary under this name
    text             " việc [2J"
      original       Ġviệc
      llama.cpp      Ġvi | ệ | c"
  `);
});

test('without llama.cpp nothing is called proved', () => {
  const proof = {
    ...PROOF,
    state: 'not-run',
    reason: 'node-llama-cpp is not installed (runoff engines install llama-cpp)',
    comparisons: [],
    release: null,
  } as const;
  expect(describeTokenizer({ ...REPORT, proof }, 90)).toMatchInlineSnapshot(`
    "tokenizer        /models/qwen3
    kind             byte-level BPE, 151,936 tokens
    pre-tokenizer    qwen2, by the rules of tokenizer.json
    proof            NOT proved: node-llama-cpp is not installed (runoff engines install
                     llama-cpp)"
  `);
});

test('a .gguf file against its original', () => {
  const report = { ...REPORT, path: '/models/q.gguf', against: '/models/qwen3', model: null, origin: null };
  expect(describeTokenizer(report, 90).split('\n').slice(0, 3)).toMatchInlineSnapshot(`
    [
      "tokenizer        /models/q.gguf",
      "against          /models/qwen3",
      "pre-tokenizer    qwen2",
    ]
  `);
});
