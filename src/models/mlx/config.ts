/** config.json and generation_config.json of an MLX folder. */
import { textOf } from '../gguf/metadata.ts';
import type { GgufHeader } from '../gguf/read-header.ts';
import { TWIN_CONFIG_KEY, TWIN_OF_KEY } from '../gguf/twin-of-key.ts';
import type { Vocabulary } from '../gguf/vocabulary.ts';
import type { Architecture } from '../hugging-face/architecture.ts';
import type { MappedModel } from '../hugging-face/tensor-map.ts';
import { familyConfig } from './family-config.ts';
import { moduleOf, type ModelDtype, type PlannedTensor } from './plan.ts';
import type { BlockFormat } from './block-format.ts';
import type { RopeScaling } from './rope-scaling.ts';

export interface ConfigRequest {
  readonly header: GgufHeader;
  readonly model: MappedModel;
  readonly modelDtype: ModelDtype;
  /** Null for a dense model. */
  readonly quantization: Readonly<Record<string, unknown>> | null;
  readonly vocabulary: Vocabulary | null;
  readonly ropeScaling: RopeScaling | null;
}

export function modelConfig({
  header,
  model,
  modelDtype,
  quantization,
  vocabulary,
  ropeScaling,
}: ConfigRequest): Record<string, unknown> {
  const { architecture, tensors } = model;
  const names = new Set(tensors.map(({ name }) => name));
  const twinOf = textOf(header.metadata, TWIN_OF_KEY);
  const embedding = tensors.find(({ name }) => name === 'model.embed_tokens.weight');
  return {
    architectures: [architecture.family.className],
    model_type: architecture.family.modelType,
    hidden_size: architecture.hiddenSize,
    intermediate_size: architecture.feedForwardSize,
    num_hidden_layers: architecture.layerCount,
    num_attention_heads: architecture.headCount,
    num_key_value_heads: architecture.keyValueHeadCount,
    head_dim: architecture.headSize,
    hidden_act: 'silu',
    rms_norm_eps: shortestDecimal(architecture.normEpsilon),
    rope_theta: shortestDecimal(architecture.ropeBase),
    rope_traditional: false,
    rope_scaling: ropeScaling,
    max_position_embeddings: maxPositions(architecture),
    vocab_size: embedding?.shape[0],
    attention_bias: names.has('model.layers.0.self_attn.q_proj.bias'),
    mlp_bias: names.has('model.layers.0.mlp.up_proj.bias'),
    tie_word_embeddings: !names.has('lm_head.weight'),
    bos_token_id: vocabulary?.bosTokenId ?? null,
    eos_token_id: vocabulary?.eosTokenId ?? null,
    torch_dtype: modelDtype,
    ...familyConfig(header, architecture),
    ...(quantization === null ? {} : { quantization, quantization_config: quantization }),
    // Random weights stay known as such.
    ...(twinOf === null ? {} : { [TWIN_CONFIG_KEY]: { of: twinOf } }),
  };
}

export function generationConfig(vocabulary: Vocabulary): Record<string, unknown> {
  return {
    ...(vocabulary.bosTokenId === null ? {} : { bos_token_id: vocabulary.bosTokenId }),
    eos_token_id: vocabulary.endTokenIds.length === 1 ? vocabulary.endTokenIds[0] : vocabulary.endTokenIds,
    ...(vocabulary.paddingTokenId === null ? {} : { pad_token_id: vocabulary.paddingTokenId }),
  };
}

function maxPositions({ contextTokens }: Architecture): number {
  return contextTokens > 0 ? contextTokens : 2048;
}

export interface LayerQuantization {
  readonly group_size: number;
  readonly bits: number;
  readonly mode: 'affine' | 'mxfp4';
}

/** The commonest packing for all, and an entry for every matrix that differs; `false` keeps a matrix dense. Null when all are dense. */
export function quantizationConfig(
  tensors: readonly PlannedTensor[],
): (LayerQuantization & Record<string, unknown>) | null {
  const matrices = tensors.filter(({ tensor }) => tensor.shape.length > 1);
  const counts = new Map<string, { count: number; layer: LayerQuantization }>();
  for (const { conversion } of matrices) {
    if (conversion.kind !== 'packed') continue;
    const layer = packingOf(conversion.format);
    const key = JSON.stringify(layer);
    counts.set(key, { count: (counts.get(key)?.count ?? 0) + 1, layer });
  }
  const [commonest] = [...counts.values()].sort((a, b) => b.count - a.count);
  if (commonest === undefined) return null;
  const overrides: Record<string, LayerQuantization | false> = {};
  for (const { tensor, conversion } of matrices) {
    const layer = conversion.kind === 'packed' ? packingOf(conversion.format) : false;
    if (JSON.stringify(layer) !== JSON.stringify(commonest.layer)) overrides[moduleOf(tensor.name)] = layer;
  }
  return { ...commonest.layer, ...overrides };
}

function packingOf({ groupSize, bits, mode }: BlockFormat): LayerQuantization {
  return { group_size: groupSize, bits, mode };
}

/** The header stores float32: 9.999999747378752e-6 was written as 1e-5, and the shortest decimal gives it back. */
export function shortestDecimal(value: number): number {
  for (let digits = 1; digits <= 9; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === Math.fround(value)) return candidate;
  }
  return value;
}
