/** What a repack writes: which MLX tensors each GGUF tensor becomes, in which shard, at which offset. */
import type { FileHandle } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, readFully } from '../file-io.ts';
import type { GgufHeader } from '../gguf/read-header.ts';
import { isExactHalf } from '../half.ts';
import type { MappedModel, MappedTensor } from '../hugging-face/tensor-map.ts';
import { layoutSafetensors, planBytes, type Dtype, type TensorPlan } from '../safetensors/format.ts';
import { BLOCK_FORMATS, type BlockFormat } from './kernels.ts';

/** As mlx_lm.convert: a shard holds at most 5 GiB, a larger tensor gets its own. */
const SHARD_BYTES_MAX = 5 * 2 ** 30;
/** Weights that share one scale: ggml's block length and the smallest group of MLX. */
export const GROUP_SIZE = 32;
/** A norm or a bias has a few thousand values; they are read whole to see whether they fit a narrower type. */
const VECTOR_BYTES_MAX = 16 << 20;

export type Conversion =
  | { readonly kind: 'affine'; readonly format: BlockFormat }
  | { readonly kind: 'copy' }
  | { readonly kind: 'narrow'; readonly dtype: 'F16' | 'BF16' };

export interface PlannedTensor {
  readonly tensor: MappedTensor;
  readonly conversion: Conversion;
  /** One tensor, or weight, scales and biases. */
  readonly outputs: readonly PlacedOutput[];
}

export interface PlacedOutput extends TensorPlan {
  readonly shard: number;
  readonly offset: number;
}

export interface ShardPlan {
  readonly fileName: string;
  readonly header: Uint8Array;
  readonly totalBytes: number;
}

export interface RepackPlan {
  readonly tensors: readonly PlannedTensor[];
  readonly shards: readonly ShardPlan[];
  /** Type of activations that the weights ask for. */
  readonly modelDtype: 'float32' | 'float16' | 'bfloat16';
  readonly warnings: readonly string[];
}

export function planRepack(
  header: GgufHeader,
  model: MappedModel,
  { scales, handle }: { scales: 'f32' | 'f16'; handle: FileHandle },
): RepackPlan {
  const narrow = scales === 'f32' ? null : narrowDtype(model.tensors);
  const warnings: string[] = [];
  const converted: { tensor: MappedTensor; conversion: Conversion; outputs: TensorPlan[] }[] = [];
  for (const tensor of model.tensors) {
    const conversion = chooseConversion(header.path, tensor, { narrow, handle, warnings });
    converted.push({ tensor, conversion, outputs: outputsOf(tensor, conversion, scales) });
  }
  const shardOf = assignShards(converted.map(({ outputs }) => outputs));
  const shardCount = (shardOf.at(-1) ?? 0) + 1;
  const layouts = Array.from({ length: shardCount }, (_, shard) =>
    layoutSafetensors(
      converted.filter((_entry, i) => shardOf[i] === shard).flatMap(({ outputs }) => outputs),
      { format: 'mlx' },
    ),
  );
  const next = layouts.map(({ offsets }) => offsets.values());
  const tensors = converted.map(({ tensor, conversion, outputs }, i) => {
    const shard = shardOf[i] as number;
    return {
      tensor,
      conversion,
      outputs: outputs.map((output) => ({ ...output, shard, offset: next[shard]?.next().value as number })),
    };
  });
  const shards = layouts.map(({ header: bytes, totalBytes }, shard) => ({
    fileName: shardName(shard, shardCount),
    header: bytes,
    totalBytes,
  }));
  const modelDtype = narrow === null ? 'float32' : narrow === 'F16' ? 'float16' : 'bfloat16';
  return { tensors, shards, modelDtype, warnings };
}

/** Norms follow the matrices: a mix of f16 and bf16 would raise every activation to f32. */
function narrowDtype(tensors: readonly MappedTensor[]): 'F16' | 'BF16' {
  const matrices = tensors.filter(({ shape }) => shape.length > 1);
  return matrices.length > 0 && matrices.every(({ source }) => source.type.name === 'BF16') ? 'BF16' : 'F16';
}

interface Choice {
  readonly narrow: 'F16' | 'BF16' | null;
  readonly handle: FileHandle;
  readonly warnings: string[];
}

function chooseConversion(path: string, tensor: MappedTensor, { narrow, handle, warnings }: Choice): Conversion {
  const type = tensor.source.type.name;
  const isVector = tensor.shape.length === 1;
  const format = isVector ? undefined : BLOCK_FORMATS[type];
  if (format !== undefined) return { kind: 'affine', format };
  if (type !== 'F32' && type !== 'F16' && type !== 'BF16') throw unsupportedType(path, tensor);
  if (type !== 'F32' || !isVector || narrow === null) return { kind: 'copy' };
  if (isExactIn(narrow, tensor, handle)) return { kind: 'narrow', dtype: narrow };
  warnings.push(
    `${tensor.name} stays F32: its values are not exact in ${narrow}. MLX then computes in float32 from that layer on.`,
  );
  return { kind: 'copy' };
}

function isExactIn(dtype: 'F16' | 'BF16', { source }: MappedTensor, handle: FileHandle): boolean {
  if (source.byteLength > VECTOR_BYTES_MAX) return false;
  const bytes = alignedBuffer(source.byteLength);
  readFully(handle, bytes, { position: source.offset, length: source.byteLength });
  if (dtype === 'BF16')
    return new Uint32Array(bytes.buffer, 0, source.byteLength / 4).every((word) => (word & 0xffff) === 0);
  return new Float32Array(bytes.buffer, 0, source.byteLength / 4).every(isExactHalf);
}

/** What MLX can hold exactly is in BLOCK_FORMATS; for the rest, say what comes nearest. */
function unsupportedType(path: string, { source }: MappedTensor): AppError {
  const nearest = /^Q[2345]_K$|^IQ|^TQ|^MXFP4$|^NVFP4$|^Q1_0$/.test(source.type.name) ? 'Q4_1 or Q5_1' : 'Q8_0';
  return new AppError(
    'model-unsupported',
    `${path}: tensor ${source.name} is ${source.type.name}, which has no exact MLX form here; ${Object.keys(BLOCK_FORMATS).join(', ')}, F16, BF16 and F32 have one.`,
    {
      hint: `Take the same model in ${nearest} (nearest in size), or compare only engines that read GGUF.`,
      context: { tensor: source.name, type: source.type.name },
    },
  );
}

function outputsOf(tensor: MappedTensor, conversion: Conversion, scales: 'f32' | 'f16'): TensorPlan[] {
  const { name, shape, source } = tensor;
  if (conversion.kind === 'copy') return [{ name, dtype: source.type.name as Dtype, shape }];
  if (conversion.kind === 'narrow') return [{ name, dtype: conversion.dtype, shape }];
  const module = moduleOf(name);
  const groups = [...shape.slice(0, -1), source.columns / GROUP_SIZE];
  const dtype = scales === 'f32' ? 'F32' : 'F16';
  return [
    { name, dtype: 'U32', shape: [...shape.slice(0, -1), (source.columns * conversion.format.bits) / 32] },
    { name: `${module}.scales`, dtype, shape: groups },
    { name: `${module}.biases`, dtype, shape: groups },
  ];
}

/** `model.norm.weight` -> `model.norm`. */
export function moduleOf(tensorName: string): string {
  return tensorName.replace(/\.weight$/, '');
}

/** Shard of each group of outputs; a group stays together, so that a matrix and its scales load from one file. */
export function assignShards(groups: readonly (readonly TensorPlan[])[]): number[] {
  let shard = 0;
  let shardBytes = 0;
  return groups.map((outputs) => {
    const bytes = outputs.reduce((sum, output) => sum + planBytes(output), 0);
    if (shardBytes > 0 && shardBytes + bytes > SHARD_BYTES_MAX) {
      shard++;
      shardBytes = 0;
    }
    shardBytes += bytes;
    return shard;
  });
}

export function shardName(shard: number, count: number): string {
  if (count === 1) return 'model.safetensors';
  const padded = (value: number): string => String(value).padStart(5, '0');
  return `model-${padded(shard + 1)}-of-${padded(count)}.safetensors`;
}
