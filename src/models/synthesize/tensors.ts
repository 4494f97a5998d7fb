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
}

/** In the order of a file that llama-quantize wrote: whole-model tensors, then layer by layer, by name. */
export function tensorsOf(shape: ModelShape): ShapeTensor[] {
  const layers = Array.from({ length: shape.layerCount }, (_, layer) =>
    byName(layerTensors(shape).map((tensor) => ({ ...tensor, name: `blk.${layer}.${tensor.name}` }))),
  );
  return [...byName(globalTensors(shape)), ...layers.flat()];
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
  const normed = architecture === 'qwen3' || architecture === 'gemma3';
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
    ...(normed ? [norm('attn_q_norm', headSize), norm('attn_k_norm', headSize)] : []),
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
