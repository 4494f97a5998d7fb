/** What distinguishes the dense architectures: tensor names, row order, norms. Keys are llama.cpp's `general.architecture`. */

export type ArchitectureName = 'llama' | 'qwen2' | 'qwen3' | 'smollm3' | 'gemma2' | 'gemma3' | 'phi3';

export interface Family {
  /** `model_type` and class in config.json. */
  readonly modelType: string;
  readonly className: string;
  /**
   * llama.cpp's converter interleaves the two halves of every query and key head (its rotary embedding pairs neighbours);
   * Hugging Face's order pairs across halves. Mistral and SmolLM2 are stored as `llama`.
   */
  readonly permutesQueryAndKey: boolean;
  /** Norms multiply by 1 + weight; a GGUF holds the sum. */
  readonly normsHoldFactor: boolean;
  /** GGUF name to Hugging Face's, inside a layer. */
  readonly layerNames: Readonly<Record<string, string>>;
  /** Matrices without which a layer is incomplete, by Hugging Face's name. */
  readonly neededParts: readonly string[];
}

const ATTENTION = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
} as const;
const FEED_FORWARD = { ffn_gate: 'mlp.gate_proj', ffn_up: 'mlp.up_proj', ffn_down: 'mlp.down_proj' } as const;
const LLAMA_NAMES = { ...ATTENTION, ...FEED_FORWARD, ffn_norm: 'post_attention_layernorm' } as const;
const GEMMA_NAMES = {
  ...ATTENTION,
  ...FEED_FORWARD,
  post_attention_norm: 'post_attention_layernorm',
  ffn_norm: 'pre_feedforward_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
} as const;
/** Query, key and value in one matrix, gate and up in another, in both formats. */
const PHI3_NAMES = {
  attn_norm: 'input_layernorm',
  attn_qkv: 'self_attn.qkv_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_up: 'mlp.gate_up_proj',
  ffn_down: 'mlp.down_proj',
} as const;

const NEEDED = [
  ...['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((part) => `self_attn.${part}`),
  ...['gate_proj', 'up_proj', 'down_proj'].map((part) => `mlp.${part}`),
];
const PHI3_NEEDED = ['self_attn.qkv_proj', 'self_attn.o_proj', 'mlp.gate_up_proj', 'mlp.down_proj'];

const PLAIN = {
  permutesQueryAndKey: false,
  normsHoldFactor: false,
  layerNames: LLAMA_NAMES,
  neededParts: NEEDED,
} as const;
const GEMMA = { ...PLAIN, normsHoldFactor: true, layerNames: GEMMA_NAMES } as const;

export const FAMILIES: Readonly<Record<ArchitectureName, Family>> = {
  llama: { ...PLAIN, modelType: 'llama', className: 'LlamaForCausalLM', permutesQueryAndKey: true },
  qwen2: { ...PLAIN, modelType: 'qwen2', className: 'Qwen2ForCausalLM' },
  qwen3: { ...PLAIN, modelType: 'qwen3', className: 'Qwen3ForCausalLM' },
  smollm3: { ...PLAIN, modelType: 'smollm3', className: 'SmolLM3ForCausalLM', permutesQueryAndKey: true },
  gemma2: { ...GEMMA, modelType: 'gemma2', className: 'Gemma2ForCausalLM' },
  gemma3: { ...GEMMA, modelType: 'gemma3_text', className: 'Gemma3ForCausalLM' },
  phi3: {
    ...PLAIN,
    modelType: 'phi3',
    className: 'Phi3ForCausalLM',
    layerNames: PHI3_NAMES,
    neededParts: PHI3_NEEDED,
  },
};

export function isArchitectureName(text: string | null): text is ArchitectureName {
  return text !== null && Object.hasOwn(FAMILIES, text);
}
