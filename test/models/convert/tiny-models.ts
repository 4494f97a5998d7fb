/**
 * Tiny models of every family, the same bytes on every machine: what the reference made of them is recorded in
 * recorded.json. `node test/models/convert/tiny-models.ts FOLDER` writes them for the reference.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { layoutSafetensors, planBytes, type TensorPlan } from '../../../src/models/safetensors/format.ts';

export interface TinyModel {
  readonly config: Readonly<Record<string, unknown>>;
  readonly dtype: 'F32' | 'F16' | 'BF16';
  readonly shards: number;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly files?: Readonly<Record<string, unknown>>;
}

interface Sizes {
  readonly layers: number;
  readonly hidden: number;
  readonly feed: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly vocabulary: number;
}

const SIZES: Sizes = { layers: 2, hidden: 256, feed: 512, heads: 8, keyValueHeads: 2, headSize: 32, vocabulary: 320 };

function configOf(sizes: Sizes, more: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return {
    vocab_size: sizes.vocabulary,
    hidden_size: sizes.hidden,
    intermediate_size: sizes.feed,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.keyValueHeads,
    ...more,
  };
}

type Extra = 'output' | 'biases' | 'qk-norms' | 'four-norms' | 'fused';

function shapesOf(sizes: Sizes, extras: readonly Extra[], prefix = ''): Record<string, readonly number[]> {
  const { layers, hidden, feed, heads, keyValueHeads, headSize, vocabulary } = sizes;
  const shapes: Record<string, readonly number[]> = {
    [`${prefix}model.embed_tokens.weight`]: [vocabulary, hidden],
    [`${prefix}model.norm.weight`]: [hidden],
  };
  if (extras.includes('output')) shapes['lm_head.weight'] = [vocabulary, hidden];
  const [q, kv] = [heads * headSize, keyValueHeads * headSize];
  for (let layer = 0; layer < layers; layer++) {
    const add = (name: string, ...shape: number[]): void => {
      shapes[`${prefix}model.layers.${layer}.${name}`] = shape;
    };
    add('input_layernorm.weight', hidden);
    add('post_attention_layernorm.weight', hidden);
    add('self_attn.o_proj.weight', hidden, q);
    add('mlp.down_proj.weight', hidden, feed);
    if (extras.includes('fused')) {
      add('self_attn.qkv_proj.weight', q + 2 * kv, hidden);
      add('mlp.gate_up_proj.weight', 2 * feed, hidden);
      continue;
    }
    add('self_attn.q_proj.weight', q, hidden);
    add('self_attn.k_proj.weight', kv, hidden);
    add('self_attn.v_proj.weight', kv, hidden);
    add('mlp.gate_proj.weight', feed, hidden);
    add('mlp.up_proj.weight', feed, hidden);
    if (extras.includes('biases')) {
      add('self_attn.q_proj.bias', q);
      add('self_attn.k_proj.bias', kv);
      add('self_attn.v_proj.bias', kv);
    }
    if (extras.includes('qk-norms')) {
      add('self_attn.q_norm.weight', headSize);
      add('self_attn.k_norm.weight', headSize);
    }
    if (extras.includes('four-norms')) {
      add('pre_feedforward_layernorm.weight', hidden);
      add('post_feedforward_layernorm.weight', hidden);
    }
  }
  return shapes;
}

const LLAMA3_ROPE = {
  factor: 32,
  high_freq_factor: 4,
  low_freq_factor: 1,
  original_max_position_embeddings: 8192,
  rope_type: 'llama3',
};

function factors(count: number, step: number): number[] {
  return Array.from({ length: count }, (_, i) => 1 + Math.round(i * step * 1000) / 1000);
}

const NINE_LAYERS: Sizes = { ...SIZES, layers: 9, feed: 256 };
/** SmolLM2's rows: no multiple of 256. */
const NARROW: Sizes = { ...SIZES, hidden: 192, feed: 320, heads: 6, keyValueHeads: 2 };
const WIDE_HEADS: Sizes = { ...SIZES, heads: 4, keyValueHeads: 1, headSize: 64 };
const PLAIN = { max_position_embeddings: 4096, rms_norm_eps: 1e-5 };

export const TINY_MODELS: Readonly<Record<string, TinyModel>> = {
  'llama-3': {
    config: configOf(NINE_LAYERS, {
      ...PLAIN,
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      head_dim: 32,
      rope_theta: 500_000,
      rope_scaling: LLAMA3_ROPE,
      tie_word_embeddings: true,
    }),
    dtype: 'BF16',
    shards: 2,
    shapes: shapesOf(NINE_LAYERS, []),
    files: { 'generation_config.json': { do_sample: true, temperature: 0.6, top_p: 0.9, top_k: 20, bos_token_id: 1 } },
  },
  'llama-2': {
    config: configOf({ ...SIZES, keyValueHeads: 8 }, { architectures: ['LlamaForCausalLM'], model_type: 'llama' }),
    dtype: 'F16',
    shards: 1,
    shapes: shapesOf({ ...SIZES, keyValueHeads: 8 }, ['output', 'biases']),
  },
  'smollm-2': {
    config: configOf(NARROW, {
      ...PLAIN,
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      rope_theta: 100_000,
      tie_word_embeddings: true,
    }),
    dtype: 'BF16',
    shards: 1,
    shapes: shapesOf(NARROW, []),
  },
  'smollm-3': {
    config: configOf(SIZES, { architectures: ['SmolLM3ForCausalLM'], model_type: 'smollm3' }),
    dtype: 'BF16',
    shards: 1,
    shapes: shapesOf(SIZES, []),
  },
  mistral: {
    config: configOf(SIZES, {
      ...PLAIN,
      architectures: ['MistralForCausalLM'],
      model_type: 'mistral',
      sliding_window: null,
    }),
    dtype: 'F32',
    shards: 1,
    shapes: shapesOf(SIZES, ['output']),
  },
  'mistral-nemo': {
    config: configOf(WIDE_HEADS, {
      ...PLAIN,
      architectures: ['MistralForCausalLM'],
      model_type: 'mistral',
      head_dim: 64,
      rope_theta: 1_000_000,
    }),
    dtype: 'BF16',
    shards: 1,
    shapes: shapesOf(WIDE_HEADS, ['output']),
  },
  'qwen-2': {
    config: configOf(SIZES, {
      architectures: ['Qwen2ForCausalLM'],
      model_type: 'qwen2',
      max_position_embeddings: 32_768,
      rope_theta: 1_000_000,
      rope_scaling: { type: 'yarn', factor: 4, original_max_position_embeddings: 32_768 },
    }),
    dtype: 'BF16',
    shards: 1,
    shapes: shapesOf(SIZES, ['output', 'biases']),
  },
  'qwen-3': {
    config: configOf(WIDE_HEADS, {
      architectures: ['Qwen3ForCausalLM'],
      model_type: 'qwen3',
      head_dim: 64,
      rope_theta: 1_000_000,
      tie_word_embeddings: true,
    }),
    dtype: 'BF16',
    shards: 1,
    shapes: shapesOf(WIDE_HEADS, ['qk-norms']),
  },
  gemma: {
    config: configOf(SIZES, { architectures: ['GemmaForCausalLM'], model_type: 'gemma', head_dim: 32 }),
    dtype: 'F16',
    shards: 1,
    shapes: shapesOf(SIZES, ['output']),
  },
  'gemma-2': {
    config: configOf(SIZES, { architectures: ['Gemma2ForCausalLM'], model_type: 'gemma2', head_dim: 32 }),
    dtype: 'BF16',
    shards: 1,
    shapes: shapesOf(SIZES, ['four-norms']),
  },
  'gemma-3': {
    config: configOf(SIZES, {
      architectures: ['Gemma3ForCausalLM'],
      model_type: 'gemma3_text',
      head_dim: 32,
      rope_scaling: { rope_type: 'linear', factor: 8 },
    }),
    dtype: 'BF16',
    shards: 1,
    shapes: shapesOf(SIZES, ['four-norms', 'qk-norms']),
    // 300 of the 320 rows are tokens.
    files: {
      'tokenizer.json': {
        model: { vocab: Object.fromEntries(Array.from({ length: 298 }, (_, i) => [`t${i}`, i])) },
        added_tokens: [{ id: 298 }, { id: 299 }],
      },
    },
  },
  'gemma-3-vision': {
    config: {
      architectures: ['Gemma3ForConditionalGeneration'],
      model_type: 'gemma3',
      text_config: configOf(SIZES, { model_type: 'gemma3_text', head_dim: 32, sliding_window: 1024 }),
    },
    dtype: 'BF16',
    shards: 1,
    shapes: {
      ...shapesOf(SIZES, ['four-norms', 'qk-norms'], 'language_model.'),
      'vision_tower.vision_model.embeddings.position_embedding.weight': [4, 8],
      'multi_modal_projector.mm_soft_emb_norm.weight': [8],
    },
    files: {
      'tokenizer.json': { model: { vocab: {} }, added_tokens: Array.from({ length: 400 }, (_, id) => ({ id })) },
    },
  },
  'phi-3': {
    config: configOf(
      { ...SIZES, keyValueHeads: 8 },
      {
        ...PLAIN,
        architectures: ['Phi3ForCausalLM'],
        model_type: 'phi3',
        max_position_embeddings: 131_072,
        original_max_position_embeddings: 4096,
        sliding_window: 2047,
        rope_scaling: { type: 'longrope', long_factor: factors(16, 0.37), short_factor: factors(16, 0.011) },
      },
    ),
    dtype: 'BF16',
    shards: 1,
    shapes: shapesOf({ ...SIZES, keyValueHeads: 8 }, ['output', 'fused']),
  },
};

/** Writes a folder as Hugging Face lays it out. */
export async function writeTinyModel(
  folder: string,
  { config, dtype, shards, shapes, files = {} }: TinyModel,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  for (const [name, value] of Object.entries(files)) await writeFile(join(folder, name), JSON.stringify(value));
  const names = Object.keys(shapes).sort();
  const weightMap: Record<string, string> = {};
  for (let shard = 0; shard < shards; shard++) {
    const number = (value: number): string => String(value).padStart(5, '0');
    const file = shards === 1 ? 'model.safetensors' : `model-${number(shard + 1)}-of-${number(shards)}.safetensors`;
    const mine = names.filter((_, i) => i % shards === shard);
    for (const name of mine) weightMap[name] = file;
    await writeFile(
      join(folder, file),
      shardBytes(mine.map((name) => ({ name, dtype, shape: shapes[name] as number[] }))),
    );
  }
  if (shards > 1)
    await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
}

function shardBytes(plans: readonly TensorPlan[]): Uint8Array {
  const { header, offsets, totalBytes } = layoutSafetensors(plans, { format: 'pt' });
  const bytes = Buffer.alloc(totalBytes);
  bytes.set(header);
  for (const [i, plan] of plans.entries()) bytes.set(weights(plan), offsets[i]);
  return bytes;
}

/** Uniform in +-0.05, and in 1 +- 0.05 for norms; seeded by the name. */
function weights(plan: TensorPlan): Uint8Array {
  const count = planBytes({ ...plan, dtype: 'U8' });
  let state = Buffer.from(plan.name).reduce((hash, byte) => (Math.imul(hash, 31) + byte) >>> 0, 7);
  const centre = plan.name.includes('norm') ? 1 : 0;
  const values = Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return centre + ((state >>> 8) / 2 ** 24 - 0.5) * 0.1;
  });
  const words = new Uint32Array(values.buffer);
  if (plan.dtype === 'F32') return new Uint8Array(values.buffer);
  const halves = new Uint16Array(count);
  // Cut, not rounded: nothing of the code under test is used to make its input.
  if (plan.dtype === 'BF16') for (let i = 0; i < count; i++) halves[i] = words[i]! >>> 16;
  else for (let i = 0; i < count; i++) halves[i] = cutToHalf(words[i]!);
  return new Uint8Array(halves.buffer);
}

/** For values that are normal in half precision; smaller ones become zero. */
function cutToHalf(word: number): number {
  const exponent = ((word >>> 23) & 0xff) - 112;
  return exponent <= 0 ? 0 : ((word >>> 16) & 0x8000) | (exponent << 10) | ((word >>> 13) & 0x3ff);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const folder = process.argv[2] ?? 'tiny-models';
  for (const [name, model] of Object.entries(TINY_MODELS)) await writeTinyModel(join(folder, name), model);
}
