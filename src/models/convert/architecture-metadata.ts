/** The keys that describe the architecture, in the reference's order. */
import { AppError } from '../../core/errors.ts';
import type { GgufValue } from '../gguf/metadata.ts';
import type { ModelConfig } from './model-config.ts';
import { ropeType, rotarySize } from './rope-factors.ts';

type Entries = Map<string, GgufValue>;

const u32 = (value: number): GgufValue => ({ type: 'u32', value });
const f32 = (value: number): GgufValue => ({ type: 'f32', value });
const text = (value: string): GgufValue => ({ type: 'string', value });

/** A key that is set twice keeps its first place, as in the reference. */
export function architectureMetadata(config: ModelConfig, fileType: number, path: string): Entries {
  const entries: Entries = new Map();
  const { family } = config;
  if (family.name === 'gemma' || family.name === 'gemma2') addGemma(entries, config, fileType);
  else if (family.name === 'phi3') addPhi3(entries, config, fileType);
  else {
    addCommon(entries, config, fileType, path);
    if (family.name === 'gemma3') addGemma3(entries, config);
    if (family.permutesQueryAndKey) {
      entries.set(`${family.architecture}.vocab_size`, u32(config.vocabularySize));
      entries.set(`${family.architecture}.rope.dimension_count`, u32(rotarySize(config)));
    }
  }
  return entries;
}

/** Phi-3's converter adds this one before everything else. */
export function leadingMetadata(config: ModelConfig, path: string): Entries {
  const { family, rope, contextTokens } = config;
  if (family.name !== 'phi3' || rope.long_factor == null || rope.long_factor.length === 0) return new Map();
  const original = rope.original_max_position_embeddings ?? contextTokens;
  const scale = contextTokens / original;
  const type = ropeType(config)?.toLowerCase();
  if (type !== 'su' && type !== 'longrope' && type !== 'yarn') throw unsupportedRope(path, type ?? 'none');
  const factor = type === 'yarn' ? 0.1 * Math.log(scale) + 1 : Math.sqrt(1 + Math.log(scale) / Math.log(original));
  return new Map([['phi3.rope.scaling.attn_factor', f32(scale > 1 ? factor : 1)]]);
}

function addCommon(entries: Entries, config: ModelConfig, fileType: number, path: string): void {
  const { architecture: name } = config.family;
  entries.set(`${name}.block_count`, u32(config.layerCount));
  entries.set(`${name}.context_length`, u32(config.contextTokens));
  entries.set(`${name}.embedding_length`, u32(config.hiddenSize));
  entries.set(`${name}.feed_forward_length`, u32(config.feedForwardSize));
  entries.set(`${name}.attention.head_count`, u32(config.headCount));
  entries.set(`${name}.attention.head_count_kv`, u32(config.keyValueHeadCount));
  addRopeScaling(entries, config, path);
  entries.set(`${name}.rope.freq_base`, f32(config.ropeBase));
  if (config.localRopeBase !== null) entries.set(`${name}.rope.freq_base_swa`, f32(config.localRopeBase));
  entries.set(`${name}.attention.layer_norm_rms_epsilon`, f32(config.normEpsilon));
  if (config.headSize !== null) addHeadSize(entries, name, config.headSize);
  entries.set('general.file_type', u32(fileType));
}

function addHeadSize(entries: Entries, name: string, headSize: number): void {
  entries.set(`${name}.attention.key_length`, u32(headSize));
  entries.set(`${name}.attention.value_length`, u32(headSize));
}

function addRopeScaling(entries: Entries, config: ModelConfig, path: string): void {
  const { rope, family } = config;
  const type = ropeType(config);
  const prefix = `${family.architecture}.rope.scaling`;
  if (type === null || type === 'default' || type === 'llama3') return;
  if ((type !== 'linear' && type !== 'yarn') || rope.factor == null) throw unsupportedRope(path, type);
  entries.set(`${prefix}.type`, text(type));
  entries.set(`${prefix}.factor`, f32(rope.factor));
  if (type === 'linear') return;
  const original = rope.original_max_position_embeddings;
  if (original == null) throw unsupportedRope(path, 'yarn without original_max_position_embeddings');
  entries.set(`${prefix}.original_context_length`, u32(original));
  if (rope.attention_factor != null) entries.set(`${prefix}.yarn_attn_factor`, f32(rope.attention_factor));
  if (rope.beta_fast != null) entries.set(`${prefix}.yarn_beta_fast`, f32(rope.beta_fast));
  if (rope.beta_slow != null) entries.set(`${prefix}.yarn_beta_slow`, f32(rope.beta_slow));
}

function addGemma(entries: Entries, config: ModelConfig, fileType: number): void {
  const { architecture: name } = config.family;
  entries.set(`${name}.context_length`, u32(config.contextTokens));
  entries.set(`${name}.embedding_length`, u32(config.hiddenSize));
  entries.set(`${name}.block_count`, u32(config.layerCount));
  entries.set(`${name}.feed_forward_length`, u32(config.feedForwardSize));
  entries.set(`${name}.attention.head_count`, u32(config.headCount));
  entries.set(`${name}.attention.head_count_kv`, u32(config.keyValueHeadCount));
  entries.set(`${name}.attention.layer_norm_rms_epsilon`, f32(config.normEpsilon));
  if (config.headSize !== null) addHeadSize(entries, name, config.headSize);
  entries.set('general.file_type', u32(fileType));
  if (config.family.name !== 'gemma2') return;
  if (config.attentionSoftcap !== null) entries.set(`${name}.attn_logit_softcapping`, f32(config.attentionSoftcap));
  if (config.finalSoftcap !== null) entries.set(`${name}.final_logit_softcapping`, f32(config.finalSoftcap));
  if (config.slidingWindow !== null) entries.set(`${name}.attention.sliding_window`, u32(config.slidingWindow));
}

function addGemma3(entries: Entries, config: ModelConfig): void {
  if (config.finalSoftcap) entries.set('gemma3.final_logit_softcapping', f32(config.finalSoftcap));
  if (config.slidingWindowPattern !== 1 && config.slidingWindow !== null)
    entries.set('gemma3.attention.sliding_window', u32(config.slidingWindow));
}

function addPhi3(entries: Entries, config: ModelConfig, fileType: number): void {
  entries.set('phi3.context_length', u32(config.contextTokens));
  entries.set(
    'phi3.rope.scaling.original_context_length',
    u32(config.rope.original_max_position_embeddings ?? config.contextTokens),
  );
  entries.set('phi3.embedding_length', u32(config.hiddenSize));
  entries.set('phi3.feed_forward_length', u32(config.feedForwardSize));
  entries.set('phi3.block_count', u32(config.layerCount));
  entries.set('phi3.attention.head_count', u32(config.headCount));
  entries.set('phi3.attention.head_count_kv', u32(config.keyValueHeadCount));
  entries.set('phi3.attention.layer_norm_rms_epsilon', f32(config.normEpsilon));
  entries.set('phi3.rope.dimension_count', u32(rotarySize(config)));
  entries.set('phi3.rope.freq_base', f32(config.ropeBase));
  entries.set('general.file_type', u32(fileType));
  // 0 tells Phi-4 from the others.
  entries.set('phi3.attention.sliding_window', u32(config.slidingWindow ?? 0));
}

function unsupportedRope(path: string, type: string): AppError {
  return new AppError(
    'model-unsupported',
    `${path}: the rotary scaling ${type} cannot be converted for this architecture.`,
    {
      hint: 'Use llama.cpp’s convert_hf_to_gguf.py for this model.',
    },
  );
}
