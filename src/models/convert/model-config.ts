/** config.json of a Hugging Face folder, checked, with the defaults of its family filled in. */
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { familyOfClass, knownClasses, type Family } from './model-families.ts';

/** The largest model has 126 layers and a hidden size of 18,432; beyond these a file is nonsense. */
const LAYERS_MAX = 1_024;
const SIZE_MAX = 1 << 20;
const TOKENS_MAX = 1 << 28;
/** Phi-3's factors: half a head's size. */
const FACTORS_MAX = 4_096;

const size = z.int().positive().max(SIZE_MAX);
const tokens = z.int().positive().max(TOKENS_MAX);
const finite = z.number();

const ropeSchema = z.looseObject({
  type: z.string().nullish(),
  rope_type: z.string().nullish(),
  rope_theta: finite.positive().nullish(),
  factor: finite.positive().nullish(),
  low_freq_factor: finite.positive().nullish(),
  high_freq_factor: finite.positive().nullish(),
  original_max_position_embeddings: tokens.nullish(),
  partial_rotary_factor: finite.positive().max(1).nullish(),
  attention_factor: finite.nullish(),
  beta_fast: finite.nullish(),
  beta_slow: finite.nullish(),
  long_factor: z.array(finite).max(FACTORS_MAX).nullish(),
  short_factor: z.array(finite).max(FACTORS_MAX).nullish(),
});

export type RopeParameters = z.infer<typeof ropeSchema>;

const configSchema = z.looseObject({
  architectures: z.array(z.string().max(200)).max(16).nullish(),
  model_type: z.string().max(200).nullish(),
  vocab_size: z.int().positive().max(10_000_000).nullish(),
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: z.int().positive().max(LAYERS_MAX),
  num_attention_heads: z.int().positive().max(4_096),
  num_key_value_heads: z.int().positive().max(4_096).nullish(),
  head_dim: z.int().positive().max(16_384).nullish(),
  max_position_embeddings: tokens.nullish(),
  rms_norm_eps: finite.nonnegative().nullish(),
  rope_theta: finite.positive().nullish(),
  rope_local_base_freq: finite.positive().nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  sliding_window: z.int().nonnegative().max(TOKENS_MAX).nullish(),
  sliding_window_pattern: z.int().nonnegative().nullish(),
  attn_logit_softcapping: finite.nullish(),
  final_logit_softcapping: finite.nullish(),
  partial_rotary_factor: finite.positive().max(1).nullish(),
  original_max_position_embeddings: tokens.nullish(),
  quantization_config: z.looseObject({ quant_method: z.string().max(100).nullish() }).nullish(),
  num_local_experts: z.unknown().optional(),
  num_experts: z.unknown().optional(),
});

export interface ModelConfig {
  readonly family: Family;
  readonly className: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly feedForwardSize: number;
  readonly layerCount: number;
  readonly headCount: number;
  readonly keyValueHeadCount: number;
  /** As configured or by default; null where the family's configuration has none. */
  readonly headSize: number | null;
  readonly contextTokens: number;
  readonly normEpsilon: number;
  readonly ropeBase: number;
  readonly localRopeBase: number | null;
  readonly rope: RopeParameters;
  readonly slidingWindow: number | null;
  readonly slidingWindowPattern: number | null;
  readonly attentionSoftcap: number | null;
  readonly finalSoftcap: number | null;
}

const BY_REFERENCE =
  'Add --with-reference: llama.cpp’s own converter then makes it, in an environment that runoff installs after asking.';

/** @throws AppError `model-unsupported` with the architecture's name, `model-invalid` with the field that is wrong */
export function readModelConfig(value: unknown, path: string): ModelConfig {
  const root = z.looseObject({}).safeParse(value);
  if (!root.success) throw invalid(path, 'it is not an object');
  const className = classNameOf(root.data, path);
  const family = familyOfClass(className);
  if (family === null) throw unsupported(path, className);
  // Models with vision keep the language model's configuration apart.
  const text = z.looseObject({}).safeParse(root.data['text_config']);
  const parsed = configSchema.safeParse({ ...root.data, ...(text.success ? text.data : {}) });
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(path, `${issue?.path.join('.') ?? 'it'}: ${issue?.message ?? 'not as expected'}`);
  }
  refuseOther(parsed.data, className, path);
  return fill(family, className, parsed.data, path);
}

function classNameOf(root: Readonly<Record<string, unknown>>, path: string): string {
  const names = z.array(z.string()).safeParse(root['architectures']);
  const name = names.success ? names.data[0] : undefined;
  if (name === undefined) throw invalid(path, 'it names no architecture ("architectures" is missing or empty)');
  return name.slice(0, 200);
}

function refuseOther(config: z.infer<typeof configSchema>, className: string, path: string): void {
  const method = config.quantization_config?.quant_method;
  if (config.quantization_config != null) {
    throw new AppError(
      'model-unsupported',
      `${path}: the weights are quantised already (${method ?? 'unknown method'}); F32, F16 and BF16 weights can be converted.`,
      { hint: "Take the model's original, unquantised weights." },
    );
  }
  const experts = config.num_local_experts ?? config.num_experts;
  if (experts == null || experts === 0) return;
  throw new AppError('model-unsupported', `${path}: ${className} with a mixture of experts cannot be converted.`, {
    hint: BY_REFERENCE,
    context: { architecture: className },
  });
}

function fill(family: Family, className: string, config: z.infer<typeof configSchema>, path: string): ModelConfig {
  const { defaults } = family;
  const headCount = config.num_attention_heads;
  const divided = Math.floor(config.hidden_size / headCount);
  // A null head_dim means the default where the class computes it, and stays null elsewhere.
  const headSize = config.head_dim ?? (defaults.head_dim === 'divide' ? divided : defaults.head_dim);
  const keyValueHeadCount =
    config.num_key_value_heads ??
    (config['num_key_value_heads'] === null ? null : defaults.num_key_value_heads) ??
    headCount;
  if (headSize === null && config.hidden_size % headCount !== 0)
    throw invalid(path, `hidden_size ${config.hidden_size} is not a multiple of num_attention_heads ${headCount}`);
  if (headCount % keyValueHeadCount !== 0)
    throw invalid(
      path,
      `num_attention_heads ${headCount} is not a multiple of num_key_value_heads ${keyValueHeadCount}`,
    );
  const rope = config.rope_parameters ?? config.rope_scaling ?? {};
  return {
    family,
    className,
    vocabularySize: config.vocab_size ?? defaults.vocab_size,
    hiddenSize: config.hidden_size,
    feedForwardSize: config.intermediate_size,
    layerCount: config.num_hidden_layers,
    headCount,
    keyValueHeadCount,
    headSize,
    contextTokens: config.max_position_embeddings ?? defaults.max_position_embeddings,
    normEpsilon: config.rms_norm_eps ?? defaults.rms_norm_eps,
    ropeBase: rope.rope_theta ?? config.rope_theta ?? defaults.rope_theta,
    localRopeBase: config.rope_local_base_freq ?? defaults.rope_local_base_freq,
    rope: {
      ...rope,
      partial_rotary_factor: rope.partial_rotary_factor ?? config.partial_rotary_factor,
      original_max_position_embeddings:
        rope.original_max_position_embeddings ??
        config.original_max_position_embeddings ??
        defaults.original_max_position_embeddings,
    },
    slidingWindow: config.sliding_window === undefined ? defaults.sliding_window : config.sliding_window,
    slidingWindowPattern: config.sliding_window_pattern ?? null,
    attentionSoftcap: config.attn_logit_softcapping ?? defaults.attn_logit_softcapping,
    finalSoftcap: config.final_logit_softcapping ?? defaults.final_logit_softcapping,
  };
}

function unsupported(path: string, className: string): AppError {
  return new AppError(
    'model-unsupported',
    `${path}: the architecture ${className} cannot be converted; these can: ${knownClasses().join(', ')}.`,
    { hint: BY_REFERENCE, context: { architecture: className } },
  );
}

function invalid(path: string, reason: string): AppError {
  return new AppError('model-invalid', `${path} is not a usable configuration: ${reason}.`, {
    hint: 'Download the model again.',
  });
}
