/** A model's shape from the header of its GGUF. */
import { AppError } from '../../core/errors.ts';
import { numberOf, requiredCount, textOf } from '../gguf/metadata.ts';
import type { GgufHeader } from '../gguf/read-header.ts';
import { TWIN_ARCHITECTURES, type ModelShape } from './shape.ts';

/** Tensors whose values are facts about the model and not trained weights: they are copied. */
const FIXED = /^(?:blk\.\d+\.)?rope_(?:freqs|factors_long|factors_short)\.weight$/;

export function isFixed(tensorName: string): boolean {
  return FIXED.test(tensorName);
}

/** Rejects with `model-unsupported` for other architectures and mixtures of experts, `model-invalid` for missing numbers. */
export function shapeOfGguf(header: GgufHeader): ModelShape {
  const { metadata, path, tensors } = header;
  const stored = textOf(metadata, 'general.architecture');
  const architecture = TWIN_ARCHITECTURES.find((name) => name === stored);
  if (architecture === undefined) {
    throw new AppError('model-unsupported', `${path}: no twin can be made of the architecture ${stored ?? '(none)'}`, {
      hint: `Architectures that a twin can have: ${TWIN_ARCHITECTURES.join(', ')}.`,
    });
  }
  const key = (name: string): string => `${architecture}.${name}`;
  if ((numberOf(metadata, key('expert_count')) ?? 0) > 1 || tensors.some(({ name }) => name.includes('_exps'))) {
    throw new AppError('model-unsupported', `${path} is a mixture of experts, of which no twin can be made`, {
      hint: 'Random weights choose experts unlike trained ones, so the speed would not be the model’s. Use a dense model.',
    });
  }
  const count = (name: string): number => requiredCount(metadata, key(name), path);
  const embedding = tensors.find(({ name }) => name === 'token_embd.weight');
  if (embedding === undefined) {
    throw new AppError('model-invalid', `${path} has no token_embd.weight.`, { hint: 'Download the model again.' });
  }
  const headCount = count('attention.head_count');
  const linear = textOf(metadata, key('rope.scaling.type')) === 'linear';
  const factor = numberOf(metadata, key('rope.scaling.factor'));
  return {
    architecture,
    layerCount: count('block_count'),
    hiddenSize: count('embedding_length'),
    feedForwardSize: count('feed_forward_length'),
    headCount,
    keyValueHeadCount: numberOf(metadata, key('attention.head_count_kv')) ?? headCount,
    namedHeadSize: numberOf(metadata, key('attention.key_length')),
    vocabularySize: embedding.rows,
    contextTokens: count('context_length'),
    normEpsilon: numberOf(metadata, key('attention.layer_norm_rms_epsilon')) ?? 1e-5,
    ropeBase: numberOf(metadata, key('rope.freq_base')) ?? 10_000,
    ropeScaling: linear && factor !== null ? { type: 'linear', factor } : null,
    tiedEmbeddings: !tensors.some(({ name }) => name === 'output.weight'),
    slidingWindow: numberOf(metadata, key('attention.sliding_window')),
    attentionSoftcap: numberOf(metadata, key('attn_logit_softcapping')),
    finalSoftcap: numberOf(metadata, key('final_logit_softcapping')),
  };
}
