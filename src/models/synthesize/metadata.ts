/** The header of a shape's GGUF: the keys that llama.cpp's converter writes, in its order. */
import type { EncodedArray, GgufValue, WritableMetadata } from '../gguf/metadata.ts';
import { TWIN_OF_KEY } from '../gguf/twin-of-key.ts';
import { headSizeOf, type ModelShape } from './shape.ts';

/** Written into every twin, so that nobody takes one for the model: what runoff reads back is `runoff.twin.of`. */
export const TWIN_KEYS = {
  of: TWIN_OF_KEY,
  seed: 'runoff.twin.seed',
  tokenizer: 'runoff.twin.tokenizer',
} as const;

export interface TwinLabel {
  /** Whose shape it is, in words. */
  readonly of: string;
  readonly seed: number;
  /** Where the vocabulary comes from, in words. */
  readonly tokenizer: string;
}

export const text = (value: string): GgufValue => ({ type: 'string', value });
export const u32 = (value: number): GgufValue => ({ type: 'u32', value });
const f32 = (value: number): GgufValue => ({ type: 'f32', value });

export function twinMetadata(
  shape: ModelShape,
  { label, fileType, tokenizer }: { label: TwinLabel; fileType: number; tokenizer: WritableMetadata },
): WritableMetadata {
  return new Map<string, GgufValue | EncodedArray>([
    ['general.architecture', text(shape.architecture)],
    ['general.type', text('model')],
    ...labelEntries(label),
    ...architectureEntries(shape).map(([key, value]) => [`${shape.architecture}.${key}`, value] as const),
    ['general.file_type', u32(fileType)],
    ...tokenizer,
    ['general.quantization_version', u32(2)],
  ]);
}

export function labelEntries({ of, seed, tokenizer }: TwinLabel): [string, GgufValue][] {
  return [
    ['general.name', text(`Twin of ${of} (random weights)`)],
    [TWIN_KEYS.of, text(of)],
    [TWIN_KEYS.seed, u32(seed)],
    [TWIN_KEYS.tokenizer, text(tokenizer)],
  ];
}

function architectureEntries(shape: ModelShape): [string, GgufValue][] {
  const headSize = headSizeOf(shape);
  const { architecture, ropeScaling, namedHeadSize, slidingWindow, attentionSoftcap, finalSoftcap } = shape;
  const isLlama = architecture === 'llama' || architecture === 'smollm3';
  return [
    ['block_count', u32(shape.layerCount)],
    ['context_length', u32(shape.contextTokens)],
    ['embedding_length', u32(shape.hiddenSize)],
    ['feed_forward_length', u32(shape.feedForwardSize)],
    ['attention.head_count', u32(shape.headCount)],
    ['attention.head_count_kv', u32(shape.keyValueHeadCount)],
    ...(ropeScaling?.type === 'linear'
      ? [entry('rope.scaling.type', text('linear')), entry('rope.scaling.factor', f32(ropeScaling.factor))]
      : []),
    ...(architecture === 'phi3' ? [entry('rope.scaling.original_context_length', u32(shape.contextTokens))] : []),
    // Gemma 2 has no such key: llama.cpp knows its 10,000.
    ...(architecture === 'gemma2' ? [] : [entry('rope.freq_base', f32(shape.ropeBase))]),
    ['attention.layer_norm_rms_epsilon', f32(shape.normEpsilon)],
    ...(namedHeadSize === null
      ? []
      : [entry('attention.key_length', u32(headSize)), entry('attention.value_length', u32(headSize))]),
    ...optional('attn_logit_softcapping', attentionSoftcap),
    ...optional('final_logit_softcapping', finalSoftcap),
    ...(slidingWindow === null ? [] : [entry('attention.sliding_window', u32(slidingWindow))]),
    ...(isLlama ? [entry('vocab_size', u32(shape.vocabularySize))] : []),
    ...(isLlama || architecture === 'phi3' ? [entry('rope.dimension_count', u32(headSize))] : []),
  ];
}

function entry(key: string, value: GgufValue): [string, GgufValue] {
  return [key, value];
}

function optional(key: string, value: number | null): [string, GgufValue][] {
  return value === null ? [] : [entry(key, f32(value))];
}
