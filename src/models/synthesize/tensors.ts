/** The tensors of a shape, as llama.cpp's converter names and sizes them. */
import { llama3Factors } from '../mlx/llama3-factors.ts';
import { headSizeOf, type ModelShape } from './shape.ts';

/** What values a tensor gets: random weights, values around one, small values, or the ones that the shape prescribes. */
export type TensorKind = 'matrix' | 'norm' | 'bias' | 'fixed';

export interface ShapeTensor {
  readonly name: string;
  /** ggml's order: the first dimension is the contiguous one. */
  readonly dimensions: readonly number[];
  readonly kind: TensorKind;
  /** Of kind `fixed`: the values themselves. */
  readonly values?: Float32Array;
  /** Of kind `norm`: the mean of its weights; 1 where it is left out. */
  readonly centre?: number;
}

/**
 * Of a twin's random matrices. Trained projection matrices lie between 0.01 and 0.05; 0.02 is the initialisation of all
 * families in the catalogue.
 */
export const WEIGHT_DEVIATION = 0.02;
/**
 * Standard deviation of a trained model's attention scores, before softmax. SmolLM2 on 512 tokens of prose has 2.3, with
 * longer tails than a normal distribution: half of its probabilities are below the smallest normal f16, where a processor
 * takes a slower path; so are half of these. Scores of plain random weights are all alike, and a twin was 2-3% too fast.
 */
const SCORE_DEVIATION = 2.7;

/**
 * Mean of a norm's weights. Before attention it sets the deviation of the scores: that of query times key over the root of
 * the head's size, so WEIGHT_DEVIATION^2 * hidden size * centre^2, or with norms of query and key their centres' product.
 */
export function normCentre(name: string, shape: Pick<ModelShape, 'architecture' | 'hiddenSize'>): number {
  if (/(?:^|\.)attn_[qk]_norm\.weight$/.test(name)) return Math.sqrt(SCORE_DEVIATION);
  const isBeforeScores = /(?:^|\.)attn_norm\.weight$/.test(name) && !hasQueryNorms(shape);
  return isBeforeScores ? Math.sqrt(SCORE_DEVIATION / shape.hiddenSize) / WEIGHT_DEVIATION : 1;
}

function hasQueryNorms({ architecture }: Pick<ModelShape, 'architecture'>): boolean {
  return architecture === 'qwen3' || architecture === 'gemma3';
}

/** In the order of a file that llama-quantize wrote: whole-model tensors, then layer by layer, by name. */
export function tensorsOf(shape: ModelShape): ShapeTensor[] {
  const layers = Array.from({ length: shape.layerCount }, (_, layer) =>
    byName(layerTensors(shape).map((tensor) => ({ ...tensor, name: `blk.${layer}.${tensor.name}` }))),
  );
  return [...byName(globalTensors(shape)), ...layers.flat()].map((tensor) =>
    tensor.kind === 'norm' ? { ...tensor, centre: normCentre(tensor.name, shape) } : tensor,
  );
}

function byName(tensors: readonly ShapeTensor[]): ShapeTensor[] {
  return tensors.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function matrix(name: string, inputs: number, outputs: number): ShapeTensor {
  return { name: `${name}.weight`, dimensions: [inputs, outputs], kind: 'matrix' };
}

function norm(name: string, size: number): ShapeTensor {
  return { name: `${name}.weight`, dimensions: [size], kind: 'norm' };
}

function globalTensors(shape: ModelShape): ShapeTensor[] {
  const { hiddenSize, vocabularySize, tiedEmbeddings } = shape;
  return [
    matrix('token_embd', hiddenSize, vocabularySize),
    norm('output_norm', hiddenSize),
    ...(tiedEmbeddings ? [] : [matrix('output', hiddenSize, vocabularySize)]),
    ...ropeFactors(shape),
  ];
}

/** Llama 3.1 and later carry the divisors of their rotary frequencies as a tensor. */
function ropeFactors(shape: ModelShape): ShapeTensor[] {
  const { ropeScaling, ropeBase } = shape;
  if (ropeScaling?.type !== 'llama3') return [];
  const headSize = headSizeOf(shape);
  const { factor, originalContextTokens: original } = ropeScaling;
  const values = Float32Array.from(llama3Factors({ headSize, ropeBase, factor, original }));
  return [{ name: 'rope_freqs.weight', dimensions: [headSize / 2], kind: 'fixed', values }];
}

function layerTensors(shape: ModelShape): ShapeTensor[] {
  const { architecture, hiddenSize } = shape;
  const isGemma = architecture === 'gemma2' || architecture === 'gemma3';
  return [
    norm('attn_norm', hiddenSize),
    norm('ffn_norm', hiddenSize),
    ...(isGemma ? [norm('post_attention_norm', hiddenSize), norm('post_ffw_norm', hiddenSize)] : []),
    ...attentionTensors(shape),
    ...feedForwardTensors(shape),
  ];
}

function attentionTensors(shape: ModelShape): ShapeTensor[] {
  const { architecture, hiddenSize, headCount, keyValueHeadCount } = shape;
  const headSize = headSizeOf(shape);
  const queries = headCount * headSize;
  const keys = keyValueHeadCount * headSize;
  const output = matrix('attn_output', queries, hiddenSize);
  if (architecture === 'phi3') return [matrix('attn_qkv', hiddenSize, queries + 2 * keys), output];
  const bias = (name: string, size: number): ShapeTensor => ({
    name: `${name}.bias`,
    dimensions: [size],
    kind: 'bias',
  });
  return [
    matrix('attn_q', hiddenSize, queries),
    matrix('attn_k', hiddenSize, keys),
    matrix('attn_v', hiddenSize, keys),
    output,
    ...(hasQueryNorms(shape) ? [norm('attn_q_norm', headSize), norm('attn_k_norm', headSize)] : []),
    ...(architecture === 'qwen2' ? [bias('attn_q', queries), bias('attn_k', keys), bias('attn_v', keys)] : []),
  ];
}

function feedForwardTensors({ architecture, hiddenSize, feedForwardSize }: ModelShape): ShapeTensor[] {
  const down = matrix('ffn_down', feedForwardSize, hiddenSize);
  // Phi-3 keeps gate and up in one matrix.
  if (architecture === 'phi3') return [matrix('ffn_up', hiddenSize, 2 * feedForwardSize), down];
  return [matrix('ffn_gate', hiddenSize, feedForwardSize), matrix('ffn_up', hiddenSize, feedForwardSize), down];
}

/** Weights of a shape, rotary factors left out: what a model card calls its parameters. */
export function parameterCountOf(tensors: readonly ShapeTensor[]): number {
  return tensors
    .filter(({ kind }) => kind !== 'fixed')
    .reduce((sum, { dimensions }) => sum + dimensions.reduce((product, size) => product * size, 1), 0);
}
