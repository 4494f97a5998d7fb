/**
 * The model families that can be written as GGUF: how their tensors are called, what is done to them, and the defaults
 * that Hugging Face's configuration classes fill in where config.json is silent (transformers 4.57).
 */

export type FamilyName = 'llama' | 'mistral' | 'qwen2' | 'qwen3' | 'smollm3' | 'gemma' | 'gemma2' | 'gemma3' | 'phi3';

export interface FamilyDefaults {
  readonly vocab_size: number;
  readonly max_position_embeddings: number;
  readonly rms_norm_eps: number;
  readonly rope_theta: number;
  /** null: as many as query heads. */
  readonly num_key_value_heads: number | null;
  /** `divide`: hidden size by heads; null: not part of the configuration. */
  readonly head_dim: number | 'divide' | null;
  readonly sliding_window: number | null;
  readonly attn_logit_softcapping: number | null;
  readonly final_logit_softcapping: number | null;
  readonly rope_local_base_freq: number | null;
  readonly original_max_position_embeddings: number | null;
}

export interface Family {
  readonly name: FamilyName;
  /** general.architecture */
  readonly architecture: string;
  /** Names in `architectures` of config.json. */
  readonly classes: readonly string[];
  /** Rotary embeddings pair neighbours in llama.cpp and halves in Hugging Face: rows of query and key heads are interleaved. */
  readonly permutesQueryAndKey: boolean;
  /** The norm computes x * (1 + w) and llama.cpp x * w. */
  readonly shiftsNorms: boolean;
  /** Output and embedding are one tensor by definition: a copy in the file is left out. */
  readonly dropsOutput: boolean;
  readonly layerNames: Readonly<Record<string, string>>;
  readonly defaults: FamilyDefaults;
}

const ATTENTION = {
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
  input_layernorm: 'attn_norm',
} as const;

const LLAMA_NAMES = { ...ATTENTION, post_attention_layernorm: 'ffn_norm' } as const;

/** From Gemma 2 on, norms stand before and behind both parts of a layer. */
const GEMMA2_NAMES = {
  ...ATTENTION,
  post_attention_layernorm: 'post_attention_norm',
  pre_feedforward_layernorm: 'ffn_norm',
  post_feedforward_layernorm: 'post_ffw_norm',
} as const;

const QK_NORMS = { 'self_attn.q_norm': 'attn_q_norm', 'self_attn.k_norm': 'attn_k_norm' } as const;

const PHI3_NAMES = {
  input_layernorm: 'attn_norm',
  post_attention_layernorm: 'ffn_norm',
  'self_attn.qkv_proj': 'attn_qkv',
  'self_attn.o_proj': 'attn_output',
  'mlp.gate_up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
} as const;

const DEFAULTS: FamilyDefaults = {
  vocab_size: 32_000,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  num_key_value_heads: null,
  head_dim: null,
  sliding_window: null,
  attn_logit_softcapping: null,
  final_logit_softcapping: null,
  rope_local_base_freq: null,
  original_max_position_embeddings: null,
};

const PLAIN = { permutesQueryAndKey: false, shiftsNorms: false, dropsOutput: false } as const;
const QWEN_DEFAULTS = { ...DEFAULTS, vocab_size: 151_936, max_position_embeddings: 32_768, num_key_value_heads: 32 };
const GEMMA_DEFAULTS = { ...DEFAULTS, vocab_size: 256_000, max_position_embeddings: 8192, head_dim: 256 };

const FAMILIES: readonly Family[] = [
  {
    ...PLAIN,
    name: 'llama',
    architecture: 'llama',
    classes: ['LlamaForCausalLM', 'LLaMAForCausalLM'],
    permutesQueryAndKey: true,
    layerNames: LLAMA_NAMES,
    defaults: { ...DEFAULTS, head_dim: 'divide' },
  },
  {
    ...PLAIN,
    name: 'mistral',
    architecture: 'llama',
    classes: ['MistralForCausalLM'],
    permutesQueryAndKey: true,
    layerNames: LLAMA_NAMES,
    defaults: { ...DEFAULTS, max_position_embeddings: 131_072, num_key_value_heads: 8 },
  },
  {
    ...PLAIN,
    name: 'smollm3',
    architecture: 'smollm3',
    classes: ['SmolLM3ForCausalLM'],
    permutesQueryAndKey: true,
    layerNames: LLAMA_NAMES,
    defaults: {
      ...DEFAULTS,
      vocab_size: 128_256,
      max_position_embeddings: 32_768,
      rope_theta: 2_000_000,
      num_key_value_heads: 4,
    },
  },
  {
    ...PLAIN,
    name: 'qwen2',
    architecture: 'qwen2',
    classes: ['Qwen2ForCausalLM'],
    layerNames: LLAMA_NAMES,
    defaults: QWEN_DEFAULTS,
  },
  {
    ...PLAIN,
    name: 'qwen3',
    architecture: 'qwen3',
    classes: ['Qwen3ForCausalLM'],
    layerNames: { ...LLAMA_NAMES, ...QK_NORMS },
    defaults: { ...QWEN_DEFAULTS, head_dim: 128 },
  },
  {
    name: 'gemma',
    architecture: 'gemma',
    classes: ['GemmaForCausalLM'],
    permutesQueryAndKey: false,
    shiftsNorms: true,
    dropsOutput: true,
    layerNames: LLAMA_NAMES,
    defaults: { ...GEMMA_DEFAULTS, num_key_value_heads: 16 },
  },
  {
    name: 'gemma2',
    architecture: 'gemma2',
    classes: ['Gemma2ForCausalLM'],
    permutesQueryAndKey: false,
    shiftsNorms: true,
    dropsOutput: true,
    layerNames: GEMMA2_NAMES,
    defaults: {
      ...GEMMA_DEFAULTS,
      num_key_value_heads: 4,
      sliding_window: 4096,
      attn_logit_softcapping: 50,
      final_logit_softcapping: 30,
    },
  },
  {
    name: 'gemma3',
    architecture: 'gemma3',
    classes: ['Gemma3ForCausalLM', 'Gemma3ForConditionalGeneration'],
    permutesQueryAndKey: false,
    shiftsNorms: true,
    dropsOutput: false,
    layerNames: { ...GEMMA2_NAMES, ...QK_NORMS },
    defaults: {
      ...GEMMA_DEFAULTS,
      vocab_size: 262_208,
      max_position_embeddings: 131_072,
      rope_theta: 1_000_000,
      num_key_value_heads: 4,
      sliding_window: 4096,
      rope_local_base_freq: 10_000,
    },
  },
  {
    ...PLAIN,
    name: 'phi3',
    architecture: 'phi3',
    classes: ['Phi3ForCausalLM'],
    layerNames: PHI3_NAMES,
    defaults: {
      ...DEFAULTS,
      vocab_size: 32_064,
      max_position_embeddings: 4096,
      rms_norm_eps: 1e-5,
      original_max_position_embeddings: 4096,
    },
  },
];

export function familyOfClass(className: string): Family | null {
  return FAMILIES.find(({ classes }) => classes.includes(className)) ?? null;
}

export function knownClasses(): string[] {
  return FAMILIES.flatMap(({ classes }) => classes).filter((name) => name !== 'LLaMAForCausalLM');
}

export function isKnownArchitecture(name: string): boolean {
  return FAMILIES.some(({ architecture }) => architecture === name);
}
