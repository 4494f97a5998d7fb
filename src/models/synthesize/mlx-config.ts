/** config.json of an MLX twin, and what its weights are stored as. */
import { AppError } from '../../core/errors.ts';
import type { Vocabulary } from '../gguf/vocabulary.ts';
import { headSizeOf, type ModelShape, type TwinArchitecture } from './shape.ts';

/** mlx_lm.convert's default. */
export const GROUP_SIZE = 64;

export interface MlxFormat {
  /** Null: dense. */
  readonly bits: 2 | 3 | 4 | 5 | 6 | 8 | null;
  /** Of dense tensors, norms, scales and biases. */
  readonly dtype: 'F16' | 'BF16';
}

const BITS = [2, 3, 4, 5, 6, 8] as const;

/** `4`, `q4` and `4bit` are 4 bits with bf16 scales. @throws AppError `usage` */
export function mlxFormat(text: string): MlxFormat {
  const name = text.trim().toLowerCase();
  if (name === 'bf16' || name === 'f16') return { bits: null, dtype: name === 'f16' ? 'F16' : 'BF16' };
  const width = /^q?(\d)(?:-?bits?)?$/.exec(name)?.[1];
  const bits = BITS.find((candidate) => String(candidate) === width);
  if (bits !== undefined) return { bits, dtype: 'BF16' };
  throw new AppError('usage', `"${text}" is not a quantisation that MLX has`, {
    hint: `One of ${BITS.join(', ')} bits, bf16 or f16.`,
  });
}

/** In words. */
export function mlxFormatName({ bits, dtype }: MlxFormat): string {
  return bits === null ? dtype.toLowerCase() : `${bits} bits, MLX affine, group ${GROUP_SIZE}`;
}

const TYPES: Readonly<Record<TwinArchitecture, readonly [modelType: string, className: string]>> = {
  llama: ['llama', 'LlamaForCausalLM'],
  qwen2: ['qwen2', 'Qwen2ForCausalLM'],
  qwen3: ['qwen3', 'Qwen3ForCausalLM'],
  gemma2: ['gemma2', 'Gemma2ForCausalLM'],
  gemma3: ['gemma3_text', 'Gemma3ForCausalLM'],
  phi3: ['phi3', 'Phi3ForCausalLM'],
  smollm3: ['smollm3', 'SmolLM3ForCausalLM'],
};

export function mlxConfig(
  shape: ModelShape,
  { bits, dtype }: MlxFormat,
  vocabulary: Vocabulary | null,
): Record<string, unknown> {
  const [modelType, className] = TYPES[shape.architecture];
  const quantization = bits === null ? null : { group_size: GROUP_SIZE, bits, mode: 'affine' };
  return {
    architectures: [className],
    model_type: modelType,
    hidden_size: shape.hiddenSize,
    intermediate_size: shape.feedForwardSize,
    num_hidden_layers: shape.layerCount,
    num_attention_heads: shape.headCount,
    num_key_value_heads: shape.keyValueHeadCount,
    head_dim: headSizeOf(shape),
    hidden_act: shape.architecture.startsWith('gemma') ? 'gelu_pytorch_tanh' : 'silu',
    rms_norm_eps: shape.normEpsilon,
    rope_theta: shape.ropeBase,
    rope_scaling: ropeScaling(shape),
    max_position_embeddings: shape.contextTokens,
    vocab_size: shape.vocabularySize,
    attention_bias: false,
    mlp_bias: false,
    tie_word_embeddings: shape.tiedEmbeddings,
    ...special(shape),
    bos_token_id: vocabulary?.bosTokenId ?? null,
    eos_token_id: vocabulary?.eosTokenId ?? null,
    torch_dtype: dtype === 'F16' ? 'float16' : 'bfloat16',
    ...(quantization === null ? {} : { quantization, quantization_config: quantization }),
  };
}

function ropeScaling({ ropeScaling: scaling }: ModelShape): Record<string, unknown> | null {
  if (scaling === null) return null;
  if (scaling.type === 'linear') return { rope_type: 'linear', factor: scaling.factor };
  return {
    rope_type: 'llama3',
    factor: scaling.factor,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: scaling.originalContextTokens,
  };
}

function special(shape: ModelShape): Record<string, unknown> {
  const { architecture, slidingWindow, attentionSoftcap, finalSoftcap, contextTokens } = shape;
  switch (architecture) {
    case 'gemma2':
      return {
        query_pre_attn_scalar: headSizeOf(shape),
        sliding_window: slidingWindow,
        // transformers refuse 30 where it wants 30.0, which JSON does not tell apart: its own defaults are left out.
        ...(attentionSoftcap === 50 ? {} : { attn_logit_softcapping: attentionSoftcap }),
        ...(finalSoftcap === 30 ? {} : { final_logit_softcapping: finalSoftcap }),
      };
    case 'gemma3':
      return {
        query_pre_attn_scalar: headSizeOf(shape),
        sliding_window: slidingWindow,
        sliding_window_pattern: 6,
        rope_local_base_freq: 10_000,
      };
    case 'phi3':
      return { original_max_position_embeddings: contextTokens, sliding_window: slidingWindow };
    case 'smollm3':
      return { no_rope_layer_interval: 4 };
    default:
      return {};
  }
}
