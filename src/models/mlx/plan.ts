/** What a repack writes: which MLX tensors each GGUF tensor becomes, in which shard, at which offset. */
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, readFully } from '../file-io.ts';
import type { TensorFiles } from '../gguf/parts.ts';
import type { GgufHeader } from '../gguf/read-header.ts';
import { isExactHalf } from '../half.ts';
import type { MappedModel, MappedTensor } from '../hugging-face/tensor-map.ts';
import type { Dtype, TensorPlan } from '../safetensors/format.ts';
import type { BlockFormat, ScaleType } from './block-format.ts';
import { BLOCK_FORMATS } from './kernels.ts';
import { placeInShards, type PlacedOutput, type ShardPlan } from './shards.ts';

/** A norm or a bias has a few thousand values; they are read whole to see whether they fit a narrower type. */
const VECTOR_BYTES_MAX = 16 << 20;

export type Conversion =
  | { readonly kind: 'packed'; readonly format: BlockFormat }
  | { readonly kind: 'copy' }
  /** A vector of F32 that is read whole: Gemma's norms lose the 1 that a GGUF adds, others fit a narrower type. */
  | { readonly kind: 'vector'; readonly dtype: 'F32' | 'F16' | 'BF16'; readonly offset: 0 | -1 };

export interface PlannedTensor {
  readonly tensor: MappedTensor;
  readonly conversion: Conversion;
  /** One tensor, or weight and scales and, in affine mode, biases. */
  readonly outputs: readonly PlacedOutput[];
}

export type ModelDtype = 'float32' | 'float16' | 'bfloat16';

export interface RepackPlan {
  readonly tensors: readonly PlannedTensor[];
  readonly shards: readonly ShardPlan[];
  /** As asked for, or f32 where a tensor's scales need it. */
  readonly scales: ScaleType;
  /** Type of activations that the weights ask for. */
  readonly modelDtype: ModelDtype;
  readonly warnings: readonly string[];
}

export function planRepack(
  header: GgufHeader,
  model: MappedModel,
  { scales: asked, files }: { scales: ScaleType; files: TensorFiles },
): RepackPlan {
  const scales = asked === 'f16' ? exactScales(model.tensors) : asked;
  const narrow = scales === 'f32' ? null : narrowDtype(model.tensors);
  const warnings: string[] = [];
  const converted: { tensor: MappedTensor; conversion: Conversion; outputs: TensorPlan[] }[] = [];
  for (const tensor of model.tensors) {
    const conversion = chooseConversion(header.path, tensor, { narrow, files, warnings });
    converted.push({ tensor, conversion, outputs: outputsOf(tensor, conversion, scales) });
  }
  const { outputs, shards } = placeInShards(converted.map((entry) => entry.outputs));
  const tensors = converted.map(({ tensor, conversion }, i) => ({ tensor, conversion, outputs: outputs[i] ?? [] }));
  const modelDtype = narrow === null ? 'float32' : narrow === 'F16' ? 'float16' : 'bfloat16';
  return { tensors, shards, scales, modelDtype, warnings };
}

/** A single tensor that needs float32 scales raises every activation to float32: the others then follow. */
function exactScales(tensors: readonly MappedTensor[]): ScaleType {
  const isExact = tensors.every(({ source }) => BLOCK_FORMATS[source.type.name]?.scaleTypes.includes('f16') ?? true);
  return isExact ? 'f16' : 'f32';
}

/** Norms follow the matrices: a mix of f16 and bf16 would raise every activation to f32. */
function narrowDtype(tensors: readonly MappedTensor[]): 'F16' | 'BF16' {
  const matrices = tensors.filter(({ shape }) => shape.length > 1);
  return matrices.length > 0 && matrices.every(({ source }) => source.type.name === 'BF16') ? 'BF16' : 'F16';
}

interface Choice {
  readonly narrow: 'F16' | 'BF16' | null;
  readonly files: TensorFiles;
  readonly warnings: string[];
}

function chooseConversion(path: string, tensor: MappedTensor, { narrow, files, warnings }: Choice): Conversion {
  const type = tensor.source.type.name;
  const isVector = tensor.shape.length === 1;
  const format = isVector ? undefined : BLOCK_FORMATS[type];
  if (format !== undefined) return { kind: 'packed', format };
  if (type !== 'F32' && type !== 'F16' && type !== 'BF16') throw unsupportedType(path, tensor);
  if (tensor.holdsFactor) return factorConversion(path, tensor, { narrow, files, warnings });
  if (type !== 'F32' || !isVector || narrow === null) return { kind: 'copy' };
  if (isExactIn(narrow, readVector(tensor, files))) return { kind: 'vector', dtype: narrow, offset: 0 };
  warnings.push(staysWide(tensor, narrow));
  return { kind: 'copy' };
}

/** weight = factor - 1, where adding 1 gives the factor back. */
function factorConversion(path: string, tensor: MappedTensor, { narrow, files, warnings }: Choice): Conversion {
  const factors = readVector(tensor, files);
  if (tensor.source.type.name !== 'F32' || factors === null) throw unsupportedType(path, tensor);
  const weights = factors.map((factor) => factor - 1);
  if (!weights.every((weight, i) => Object.is(Math.fround(weight + 1), factors[i]))) {
    throw new AppError(
      'model-unsupported',
      `${path}: ${tensor.source.name} holds 1 + weight, and a weight cannot be taken out of it without rounding.`,
      { hint: 'Compare only engines that read GGUF for this model.' },
    );
  }
  if (narrow === null) return { kind: 'vector', dtype: 'F32', offset: -1 };
  if (isExactIn(narrow, weights)) return { kind: 'vector', dtype: narrow, offset: -1 };
  warnings.push(staysWide(tensor, narrow));
  return { kind: 'vector', dtype: 'F32', offset: -1 };
}

function staysWide({ name }: MappedTensor, narrow: 'F16' | 'BF16'): string {
  return `${name} stays F32: its values are not exact in ${narrow}. MLX then computes in float32 from that layer on.`;
}

/** Null where it is too long to be a norm or a bias. */
function readVector({ source }: MappedTensor, files: TensorFiles): Float32Array | null {
  if (source.byteLength > VECTOR_BYTES_MAX) return null;
  const bytes = alignedBuffer(source.byteLength);
  readFully(files.of(source), bytes, { position: source.offset, length: source.byteLength });
  return new Float32Array(bytes.buffer, 0, Math.floor(source.byteLength / 4));
}

function isExactIn(dtype: 'F16' | 'BF16', values: Float32Array | null): boolean {
  if (values === null) return false;
  if (dtype === 'F16') return values.every(isExactHalf);
  return new Uint32Array(values.buffer, values.byteOffset, values.length).every((word) => (word & 0xffff) === 0);
}

/** What MLX can hold exactly is in BLOCK_FORMATS; for the rest, say why not and what comes nearest. */
function unsupportedType(path: string, { source }: MappedTensor): AppError {
  const { name } = source.type;
  const [why, nearest] = /^Q[236]_K$/.test(name)
    ? [
        'its scales are for groups of 16 weights, and the smallest group of MLX has 32',
        name === 'Q6_K' ? 'Q8_0' : 'Q4_K',
      ]
    : /^IQ[123]/.test(name)
      ? ['its values come from a codebook, and a group of MLX is an even grid', 'IQ4_XS']
      : ['MLX has no such format', 'Q4_K'];
  return new AppError(
    'model-unsupported',
    `${path}: tensor ${source.name} is ${name}, which has no lossless form in MLX: ${why}.`,
    {
      hint: `Nearest in size with one: ${nearest}. Or quantise anew, with a loss: runoff models convert --to mlx --bits 4.`,
      context: { tensor: source.name, type: name },
    },
  );
}

function outputsOf(tensor: MappedTensor, conversion: Conversion, scales: ScaleType): TensorPlan[] {
  const { name, shape, source } = tensor;
  if (conversion.kind === 'copy') return [{ name, dtype: source.type.name as Dtype, shape }];
  if (conversion.kind === 'vector') return [{ name, dtype: conversion.dtype, shape }];
  const module = moduleOf(name);
  const { bits, groupSize, mode } = conversion.format;
  const leading = shape.slice(0, -1);
  const groups = [...leading, source.columns / groupSize];
  const weight: TensorPlan = { name, dtype: 'U32', shape: [...leading, (source.columns * bits) / 32] };
  if (mode === 'mxfp4') return [weight, { name: `${module}.scales`, dtype: 'U8', shape: groups }];
  const dtype = scales === 'f32' ? 'F32' : 'F16';
  return [
    weight,
    { name: `${module}.scales`, dtype, shape: groups },
    { name: `${module}.biases`, dtype, shape: groups },
  ];
}

/** `model.norm.weight` -> `model.norm`. */
export function moduleOf(tensorName: string): string {
  return tensorName.replace(/\.weight$/, '');
}
