/** A model's shape from its config.json, as Hugging Face's transformers write it. The file is untrusted. */
import { open } from 'node:fs/promises';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { cannotOpen } from '../cannot-open.ts';
import { readFully } from '../file-io.ts';
import type { ModelShape, ShapeRopeScaling, TwinArchitecture } from './shape.ts';

/** Configurations are a few kilobytes; those with an entry for every layer reach some hundred. */
const CONFIG_BYTES_MAX = 16 << 20;
/** Far beyond any dense model: the largest have 126 layers of 16,384. */
const LAYERS_MAX = 1_000;
const SIZE_MAX = 1 << 20;
const VOCABULARY_MAX = 4_000_000;
const CONTEXT_MAX = 1 << 30;

const size = z.int().positive().max(SIZE_MAX);
const ropeSchema = z.looseObject({
  type: z.string().optional(),
  rope_type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
  factor: z.number().positive().optional(),
  low_freq_factor: z.number().optional(),
  high_freq_factor: z.number().optional(),
  original_max_position_embeddings: z.int().positive().max(CONTEXT_MAX).optional(),
});
const schema = z.looseObject({
  model_type: z.string().max(100),
  num_hidden_layers: z.int().positive().max(LAYERS_MAX),
  hidden_size: size,
  intermediate_size: size,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  vocab_size: z.int().positive().max(VOCABULARY_MAX),
  max_position_embeddings: z.int().positive().max(CONTEXT_MAX).optional(),
  rms_norm_eps: z.number().positive().max(1).optional(),
  rope_theta: z.number().positive().optional(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  tie_word_embeddings: z.boolean().optional(),
  attention_bias: z.boolean().optional(),
  mlp_bias: z.boolean().optional(),
  sliding_window: z.int().positive().max(CONTEXT_MAX).nullish(),
  use_sliding_window: z.boolean().optional(),
  attn_logit_softcapping: z.number().positive().nullish(),
  final_logit_softcapping: z.number().positive().nullish(),
  partial_rotary_factor: z.number().optional(),
  original_max_position_embeddings: z.int().positive().optional(),
});
type Config = z.infer<typeof schema>;

interface Family {
  readonly architecture: TwinArchitecture;
  /** What transformers assume where the file says nothing. */
  readonly tied: boolean;
  readonly epsilon: number;
  readonly contextTokens: number;
  readonly ropeBase: number;
  readonly headSize: number | null;
}

const DEFAULTS = { epsilon: 1e-6, contextTokens: 2_048, ropeBase: 10_000, headSize: null } as const;
const FAMILIES: Readonly<Record<string, Family>> = {
  llama: { ...DEFAULTS, architecture: 'llama', tied: false },
  mistral: { ...DEFAULTS, architecture: 'llama', tied: false, contextTokens: 131_072 },
  qwen2: { ...DEFAULTS, architecture: 'qwen2', tied: false, contextTokens: 32_768 },
  qwen3: { ...DEFAULTS, architecture: 'qwen3', tied: false, contextTokens: 32_768, headSize: 128 },
  gemma2: { ...DEFAULTS, architecture: 'gemma2', tied: true, contextTokens: 8_192, headSize: 256 },
  gemma3_text: {
    ...DEFAULTS,
    architecture: 'gemma3',
    tied: true,
    contextTokens: 131_072,
    ropeBase: 1_000_000,
    headSize: 256,
  },
  phi3: { ...DEFAULTS, architecture: 'phi3', tied: false, epsilon: 1e-5, contextTokens: 4_096 },
  smollm3: { ...DEFAULTS, architecture: 'smollm3', tied: true, contextTokens: 32_768, ropeBase: 2_000_000 },
};

/** Rejects with `model-not-found`, `model-invalid` or `model-unsupported`. */
export async function shapeOfConfigFile(path: string): Promise<ModelShape> {
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw cannotOpen(`file ${path}`, cause);
  });
  try {
    const { size: fileBytes } = await handle.stat();
    if (fileBytes > CONFIG_BYTES_MAX) throw invalid(path, `it has ${fileBytes} bytes, ${CONFIG_BYTES_MAX} are allowed`);
    const bytes = Buffer.alloc(fileBytes);
    readFully(handle, bytes, { position: 0, length: fileBytes });
    return shapeOfConfig(parseJson(path, bytes.toString('utf8')), path);
  } finally {
    await handle.close();
  }
}

function parseJson(path: string, content: string): unknown {
  try {
    return JSON.parse(content);
  } catch (cause) {
    throw new AppError('model-invalid', `${path} is not JSON.`, { hint: 'Download the config.json again.', cause });
  }
}

/** Pure. @param path for messages */
export function shapeOfConfig(content: unknown, path: string): ModelShape {
  const config = textPart(content, path);
  refuseExperts(config, path);
  const family = typeof config['model_type'] === 'string' ? familyOf(config['model_type'], path) : null;
  const parsed = schema.safeParse(config);
  if (!parsed.success || family === null) {
    const issue = parsed.error?.issues[0];
    throw invalid(path, `${issue?.path.map(String).join('.') ?? 'model_type'}: ${issue?.message ?? 'missing'}`);
  }
  return checked(toShape(parsed.data, family, path), path);
}

/** Models that also see keep the language model's numbers in text_config. */
function textPart(content: unknown, path: string): Record<string, unknown> {
  if (typeof content !== 'object' || content === null || Array.isArray(content)) throw invalid(path, 'it is no object');
  const outer = content as Record<string, unknown>;
  const inner = outer['text_config'];
  if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return outer;
  const type = (inner as Record<string, unknown>)['model_type'] ?? `${String(outer['model_type'])}_text`;
  return { ...(inner as Record<string, unknown>), model_type: type };
}

function familyOf(type: string, path: string): Family {
  const family = Object.hasOwn(FAMILIES, type) ? FAMILIES[type] : undefined;
  if (family !== undefined) return family;
  throw new AppError('model-unsupported', `${path}: no twin can be made of a model of type ${type.slice(0, 100)}`, {
    hint: `Types that a twin can have: ${Object.keys(FAMILIES).join(', ')}.`,
  });
}

function refuseExperts(config: Record<string, unknown>, path: string): void {
  const experts = ['num_local_experts', 'num_experts', 'n_routed_experts'].some((key) => Number(config[key] ?? 0) > 1);
  if (!experts) return;
  throw new AppError('model-unsupported', `${path} is a mixture of experts, of which no twin can be made`, {
    hint: 'Random weights choose experts unlike trained ones, so the speed would not be the model’s. Use a dense model.',
  });
}

function toShape(config: Config, family: Family, path: string): ModelShape {
  const { architecture } = family;
  const rope = config.rope_parameters ?? config.rope_scaling ?? null;
  const hasBias = config.attention_bias === true || config.mlp_bias === true;
  if (hasBias || (config.partial_rotary_factor ?? 1) !== 1) {
    throw new AppError(
      'model-unsupported',
      `${path}: ${hasBias ? 'biases' : 'a partial rotary embedding'} in a ${architecture} model are not understood`,
      { hint: 'Make the twin from a GGUF of the model instead: runoff models twin FILE.gguf' },
    );
  }
  // Qwen keeps a window in its configuration that it does not use; Mistral's is ignored by llama.cpp.
  const hasWindow = ['gemma2', 'gemma3', 'phi3'].includes(architecture);
  return {
    architecture,
    layerCount: config.num_hidden_layers,
    hiddenSize: config.hidden_size,
    feedForwardSize: config.intermediate_size,
    headCount: config.num_attention_heads,
    keyValueHeadCount: config.num_key_value_heads ?? config.num_attention_heads,
    namedHeadSize: config.head_dim ?? family.headSize,
    vocabularySize: config.vocab_size,
    contextTokens: config.max_position_embeddings ?? family.contextTokens,
    normEpsilon: config.rms_norm_eps ?? family.epsilon,
    ropeBase: config.rope_theta ?? config.rope_parameters?.rope_theta ?? family.ropeBase,
    ropeScaling: rope === null ? null : scalingOf(rope, path),
    tiedEmbeddings: architecture.startsWith('gemma') || (config.tie_word_embeddings ?? family.tied),
    slidingWindow: hasWindow ? (config.sliding_window ?? null) : null,
    attentionSoftcap: architecture === 'gemma2' ? (config.attn_logit_softcapping ?? 50) : null,
    finalSoftcap: architecture === 'gemma2' ? (config.final_logit_softcapping ?? 30) : null,
  };
}

function scalingOf(rope: z.infer<typeof ropeSchema>, path: string): ShapeRopeScaling | null {
  const type = rope.rope_type ?? rope.type ?? 'default';
  const { factor, low_freq_factor: low = 1, high_freq_factor: high = 4 } = rope;
  if (type === 'default') return null;
  if (type === 'linear' && factor !== undefined) return { type, factor };
  if (type === 'llama3' && factor !== undefined && low === 1 && high === 4)
    return { type, factor, originalContextTokens: rope.original_max_position_embeddings ?? 8_192 };
  throw new AppError('model-unsupported', `${path}: the rotary scaling ${type.slice(0, 40)} is not understood`, {
    hint: 'Make the twin from a GGUF of the model instead: runoff models twin FILE.gguf',
  });
}

/** Numbers that cannot be a model. */
export function checked(shape: ModelShape, path: string): ModelShape {
  const { hiddenSize, headCount, keyValueHeadCount, namedHeadSize } = shape;
  const headSize = namedHeadSize ?? hiddenSize / headCount;
  if (!Number.isInteger(headSize) || headSize % 2 !== 0 || headCount % keyValueHeadCount !== 0) {
    throw invalid(
      path,
      `${headCount} heads and ${keyValueHeadCount} key-value heads do not fit a hidden size of ${hiddenSize}`,
    );
  }
  return shape;
}

function invalid(path: string, reason: string): AppError {
  return new AppError('model-invalid', `${path} is not a usable config.json: ${reason}.`, {
    hint: 'Take the config.json of the model itself.',
  });
}
