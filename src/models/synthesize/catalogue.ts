/**
 * Shapes of models that people ask for: numbers from the models' own config.json, each with where they were read.
 * A data table; only models whose numbers could be checked are in it.
 */
import type { ModelShape } from './shape.ts';

export interface CatalogueEntry {
  /** The value of `runoff models twin ID` and `runoff run --twin ID`. */
  readonly id: string;
  /** Whose shape it is. */
  readonly model: string;
  readonly shape: ModelShape;
  /** Where the numbers come from. */
  readonly source: string;
  /** Whose vocabulary the twin takes where it is in runoff's cache; else it gets a stand-in. */
  readonly tokenizer?: 'smollm2';
}

/** The columns of the table, in the order of a config.json. */
function sizes(
  layerCount: number,
  hiddenSize: number,
  feedForwardSize: number,
  headCount: number,
  keyValueHeadCount: number,
): Pick<ModelShape, 'layerCount' | 'hiddenSize' | 'feedForwardSize' | 'headCount' | 'keyValueHeadCount'> {
  return { layerCount, hiddenSize, feedForwardSize, headCount, keyValueHeadCount };
}

const LITGPT = 'as listed in github:Lightning-AI/litgpt, litgpt/config.py at 26857050';

/** What the families share. */
const PLAIN = {
  namedHeadSize: null,
  ropeScaling: null,
  slidingWindow: null,
  attentionSoftcap: null,
  finalSoftcap: null,
} as const;
const LLAMA3 = {
  ...PLAIN,
  architecture: 'llama',
  vocabularySize: 128_256,
  normEpsilon: 1e-5,
  ropeBase: 500_000,
} as const;
const llama3Rope = (factor: number): ModelShape['ropeScaling'] => ({
  type: 'llama3',
  factor,
  originalContextTokens: 8_192,
});
const SMOLLM2 = {
  ...PLAIN,
  architecture: 'llama',
  vocabularySize: 49_152,
  contextTokens: 8_192,
  normEpsilon: 1e-5,
  tiedEmbeddings: true,
} as const;
const QWEN25 = {
  ...PLAIN,
  architecture: 'qwen2',
  contextTokens: 32_768,
  normEpsilon: 1e-6,
  ropeBase: 1_000_000,
} as const;
const QWEN3 = {
  ...PLAIN,
  architecture: 'qwen3',
  namedHeadSize: 128,
  vocabularySize: 151_936,
  contextTokens: 40_960,
  normEpsilon: 1e-6,
  ropeBase: 1_000_000,
} as const;
const GEMMA2 = {
  ...PLAIN,
  architecture: 'gemma2',
  namedHeadSize: 256,
  vocabularySize: 256_000,
  contextTokens: 8_192,
  normEpsilon: 1e-6,
  ropeBase: 10_000,
  tiedEmbeddings: true,
  slidingWindow: 4_096,
  attentionSoftcap: 50,
  finalSoftcap: 30,
} as const;
const GEMMA3 = {
  ...PLAIN,
  architecture: 'gemma3',
  namedHeadSize: 256,
  // config.json of the 4B says 262,208; the converter drops the rows beyond the vocabulary.
  vocabularySize: 262_144,
  normEpsilon: 1e-6,
  ropeBase: 1_000_000,
  tiedEmbeddings: true,
} as const;

export const CATALOGUE: readonly CatalogueEntry[] = [
  {
    id: 'llama-3.2-1b',
    model: 'Llama 3.2 1B',
    source: `meta-llama/Llama-3.2-1B config.json, ${LITGPT}`,
    shape: {
      ...LLAMA3,
      ...sizes(16, 2_048, 8_192, 32, 8),
      namedHeadSize: 64,
      contextTokens: 131_072,
      ropeScaling: llama3Rope(32),
      tiedEmbeddings: true,
    },
  },
  {
    id: 'llama-3.2-3b',
    model: 'Llama 3.2 3B',
    source: `meta-llama/Llama-3.2-3B config.json, ${LITGPT}`,
    shape: {
      ...LLAMA3,
      ...sizes(28, 3_072, 8_192, 24, 8),
      namedHeadSize: 128,
      contextTokens: 131_072,
      ropeScaling: llama3Rope(32),
      tiedEmbeddings: true,
    },
  },
  {
    id: 'llama-3-8b',
    model: 'Llama 3 8B',
    source: `meta-llama/Meta-Llama-3-8B config.json, ${LITGPT}`,
    shape: {
      ...LLAMA3,
      ...sizes(32, 4_096, 14_336, 32, 8),
      contextTokens: 8_192,
      tiedEmbeddings: false,
    },
  },
  {
    id: 'llama-3.1-8b',
    model: 'Llama 3.1 8B',
    source: `meta-llama/Meta-Llama-3.1-8B config.json, ${LITGPT}`,
    shape: {
      ...LLAMA3,
      ...sizes(32, 4_096, 14_336, 32, 8),
      contextTokens: 131_072,
      ropeScaling: llama3Rope(8),
      tiedEmbeddings: false,
    },
  },
  {
    id: 'study-300m',
    model: 'the 300M model of the original study',
    source:
      'an assumption: the study names 300 million parameters and 2,048 tokens of context; the rest is a common Llama of that size',
    shape: {
      ...PLAIN,
      architecture: 'llama',
      ...sizes(24, 1_024, 2_304, 16, 16),
      vocabularySize: 32_768,
      contextTokens: 2_048,
      normEpsilon: 1e-5,
      ropeBase: 10_000,
      tiedEmbeddings: true,
    },
  },
  {
    id: 'smollm2-135m',
    model: 'SmolLM2 135M',
    source: `HuggingFaceTB/SmolLM2-135M config.json, ${LITGPT}; equal to the header of the demonstration model`,
    tokenizer: 'smollm2',
    shape: {
      ...SMOLLM2,
      ...sizes(30, 576, 1_536, 9, 3),
      ropeBase: 100_000,
    },
  },
  {
    id: 'smollm2-360m',
    model: 'SmolLM2 360M',
    source: `HuggingFaceTB/SmolLM2-360M config.json, ${LITGPT}`,
    tokenizer: 'smollm2',
    shape: {
      ...SMOLLM2,
      ...sizes(32, 960, 2_560, 15, 5),
      ropeBase: 100_000,
    },
  },
  {
    id: 'smollm2-1.7b',
    model: 'SmolLM2 1.7B',
    source: `HuggingFaceTB/SmolLM2-1.7B config.json, ${LITGPT}`,
    tokenizer: 'smollm2',
    shape: {
      ...SMOLLM2,
      ...sizes(24, 2_048, 8_192, 32, 32),
      ropeBase: 130_000,
    },
  },
  {
    id: 'smollm3-3b',
    model: 'SmolLM3 3B',
    source:
      'HuggingFaceTB/SmolLM3-3B config.json, as copied by koutch/0.json_train_grpo_v1_dev and sweatSmile/HF-SmolLM3-3B-Math-Formulas-4bit; heads, vocabulary and rope base as in two public ports of the model',
    shape: {
      ...PLAIN,
      architecture: 'smollm3',
      ...sizes(36, 2_048, 11_008, 16, 4),
      vocabularySize: 128_256,
      contextTokens: 65_536,
      normEpsilon: 1e-6,
      ropeBase: 5_000_000,
      tiedEmbeddings: true,
    },
  },
  {
    id: 'qwen2.5-0.5b',
    model: 'Qwen2.5 0.5B',
    source: `Qwen/Qwen2.5-0.5B config.json, ${LITGPT}`,
    shape: {
      ...QWEN25,
      ...sizes(24, 896, 4_864, 14, 2),
      vocabularySize: 151_936,
      tiedEmbeddings: true,
    },
  },
  {
    id: 'qwen2.5-1.5b',
    model: 'Qwen2.5 1.5B Instruct',
    source: `Qwen/Qwen2.5-1.5B-Instruct config.json, ${LITGPT}, and as copied by onnx-community/Qwen2.5-1.5B-Instruct`,
    shape: {
      ...QWEN25,
      ...sizes(28, 1_536, 8_960, 12, 2),
      vocabularySize: 151_936,
      tiedEmbeddings: true,
    },
  },
  {
    id: 'qwen2.5-3b',
    model: 'Qwen2.5 3B Instruct',
    source: `Qwen/Qwen2.5-3B config.json, ${LITGPT}`,
    shape: {
      ...QWEN25,
      ...sizes(36, 2_048, 11_008, 16, 2),
      vocabularySize: 151_936,
      tiedEmbeddings: true,
    },
  },
  {
    id: 'qwen2.5-7b',
    model: 'Qwen2.5 7B Instruct',
    source: `Qwen/Qwen2.5-7B config.json, ${LITGPT}`,
    shape: {
      ...QWEN25,
      ...sizes(28, 3_584, 18_944, 28, 4),
      vocabularySize: 152_064,
      tiedEmbeddings: false,
    },
  },
  {
    id: 'qwen3-0.6b',
    model: 'Qwen3 0.6B',
    source: `Qwen/Qwen3-0.6B config.json, ${LITGPT}`,
    shape: {
      ...QWEN3,
      ...sizes(28, 1_024, 3_072, 16, 8),
      tiedEmbeddings: true,
    },
  },
  {
    id: 'qwen3-1.7b',
    model: 'Qwen3 1.7B',
    source: `Qwen/Qwen3-1.7B config.json, ${LITGPT}`,
    shape: {
      ...QWEN3,
      ...sizes(28, 2_048, 6_144, 16, 8),
      tiedEmbeddings: true,
    },
  },
  {
    id: 'qwen3-4b',
    model: 'Qwen3 4B',
    source: `Qwen/Qwen3-4B config.json, ${LITGPT}, and as copied by MultiRL/qwen3_4b_instruct_sft`,
    shape: {
      ...QWEN3,
      ...sizes(36, 2_560, 9_728, 32, 8),
      tiedEmbeddings: true,
    },
  },
  {
    id: 'qwen3-8b',
    model: 'Qwen3 8B',
    source: `Qwen/Qwen3-8B config.json, ${LITGPT}, and as copied by thejaminator/qwen-hook-layer-9`,
    shape: {
      ...QWEN3,
      ...sizes(36, 4_096, 12_288, 32, 8),
      tiedEmbeddings: false,
    },
  },
  {
    id: 'gemma-2-2b',
    model: 'Gemma 2 2B',
    source: `google/gemma-2-2b config.json, ${LITGPT}`,
    shape: {
      ...GEMMA2,
      ...sizes(26, 2_304, 9_216, 8, 4),
    },
  },
  {
    id: 'gemma-2-9b',
    model: 'Gemma 2 9B',
    source: `google/gemma-2-9b config.json, ${LITGPT}`,
    shape: {
      ...GEMMA2,
      ...sizes(42, 3_584, 14_336, 16, 8),
    },
  },
  {
    id: 'gemma-3-1b',
    model: 'Gemma 3 1B',
    source: `google/gemma-3-1b-it config.json, ${LITGPT}; context as copied by vishnurchityala/sql-gemma3`,
    shape: {
      ...GEMMA3,
      ...sizes(26, 1_152, 6_912, 4, 1),
      contextTokens: 32_768,
      slidingWindow: 512,
    },
  },
  {
    id: 'gemma-3-4b',
    model: 'Gemma 3 4B, text part',
    source: `google/gemma-3-4b-it config.json, ${LITGPT}, and as copied by Creekside/gemma-3`,
    shape: {
      ...GEMMA3,
      ...sizes(34, 2_560, 10_240, 8, 4),
      contextTokens: 131_072,
      slidingWindow: 1_024,
      ropeScaling: { type: 'linear', factor: 8 },
    },
  },
  {
    id: 'mistral-7b-v0.3',
    model: 'Mistral 7B v0.3',
    source: `mistralai/Mistral-7B-v0.3 config.json, ${LITGPT}`,
    shape: {
      ...PLAIN,
      architecture: 'llama',
      ...sizes(32, 4_096, 14_336, 32, 8),
      vocabularySize: 32_768,
      contextTokens: 32_768,
      normEpsilon: 1e-5,
      ropeBase: 1_000_000,
      tiedEmbeddings: false,
    },
  },
  {
    id: 'phi-3-mini',
    model: 'Phi-3 mini 4k',
    source:
      'microsoft/Phi-3-mini-4k-instruct config.json, as listed in github:Lightning-AI/litgpt, litgpt/config.py at 26857050; window and epsilon as copied by github:ThanatosShinji/onnx-tool',
    shape: {
      ...PLAIN,
      architecture: 'phi3',
      ...sizes(32, 3_072, 8_192, 32, 32),
      vocabularySize: 32_064,
      contextTokens: 4_096,
      normEpsilon: 1e-5,
      ropeBase: 10_000,
      tiedEmbeddings: false,
      slidingWindow: 2_047,
    },
  },
];
