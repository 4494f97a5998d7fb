/** Model folders of Llama's kind for benches: real shapes, random weights. */
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFully } from '../src/models/file-io.ts';
import { layoutSafetensors, planBytes, type TensorPlan } from '../src/models/safetensors/format.ts';

export type LlamaConfig = Omit<typeof LLAMA_1B, 'rope_scaling'> & Partial<Pick<typeof LLAMA_1B, 'rope_scaling'>>;

/** config.json and model.safetensors, with one megabyte of random weights, repeated: the values do not change the speed. */
export async function writeLlamaFolder(folder: string, config: LlamaConfig): Promise<void> {
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  const { hidden_size: hidden, intermediate_size: feed, num_hidden_layers: layers, head_dim: head } = config;
  const [queries, keys] = [head * config.num_attention_heads, head * config.num_key_value_heads];
  const plan = (name: string, ...shape: number[]): TensorPlan => ({ name, dtype: 'BF16', shape });
  const plans = [plan('model.embed_tokens.weight', config.vocab_size, hidden), plan('model.norm.weight', hidden)];
  if (!config.tie_word_embeddings) plans.push(plan('lm_head.weight', config.vocab_size, hidden));
  for (let layer = 0; layer < layers; layer++) {
    const add = (name: string, ...shape: number[]): number =>
      plans.push(plan(`model.layers.${layer}.${name}.weight`, ...shape));
    add('input_layernorm', hidden);
    add('post_attention_layernorm', hidden);
    add('self_attn.q_proj', queries, hidden);
    add('self_attn.k_proj', keys, hidden);
    add('self_attn.v_proj', keys, hidden);
    add('self_attn.o_proj', hidden, queries);
    add('mlp.gate_proj', feed, hidden);
    add('mlp.up_proj', feed, hidden);
    add('mlp.down_proj', hidden, feed);
  }
  const layout = layoutSafetensors(plans, { format: 'pt' });
  const handle = await open(join(folder, 'model.safetensors'), 'w');
  try {
    writeFully(handle, layout.header, 0);
    const pattern = randomWeights(1 << 20);
    for (const [i, tensor] of plans.entries()) {
      for (let done = 0, total = planBytes(tensor); done < total; done += pattern.length)
        writeFully(
          handle,
          pattern.subarray(0, Math.min(pattern.length, total - done)),
          (layout.offsets[i] as number) + done,
        );
    }
  } finally {
    await handle.close();
  }
}

/** bfloat16, about normal with a deviation of 0.02: real weights have all kinds of mantissas and few exponents. */
function randomWeights(bytes: number): Uint8Array {
  const halves = new Uint16Array(bytes / 2);
  let state = 1;
  const uniform = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
  const value = new Float32Array(1);
  const word = new Uint32Array(value.buffer);
  for (let i = 0; i < halves.length; i++) {
    value[0] = (uniform() + uniform() + uniform() + uniform() - 2) * 0.035;
    halves[i] = (word[0] as number) >>> 16;
  }
  return new Uint8Array(halves.buffer);
}

export const LLAMA_1B = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  // mlx_lm.convert takes it for the type of the weights.
  torch_dtype: 'bfloat16',
  vocab_size: 128_256,
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 64,
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-5,
  rope_theta: 500_000,
  rope_scaling: {
    factor: 32,
    high_freq_factor: 4,
    low_freq_factor: 1,
    original_max_position_embeddings: 8192,
    rope_type: 'llama3',
  },
  tie_word_embeddings: true,
};

/** Llama 3 8B. */
export const LLAMA_8B: LlamaConfig = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  torch_dtype: 'bfloat16',
  vocab_size: 128_256,
  hidden_size: 4096,
  intermediate_size: 14_336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 128,
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 500_000,
  tie_word_embeddings: false,
};
