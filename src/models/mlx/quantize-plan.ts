/** What a conversion to MLX writes: each tensor's packing and place, as mlx_lm.convert decides them. */
import { AppError } from '../../core/errors.ts';
import type { TensorPlan } from '../safetensors/format.ts';
import { moduleOf, type ModelDtype } from './plan.ts';
import type { AffineOptions, FloatDtype, Rounding } from './quantize-kernel.ts';
import { placeInShards, type PlacedOutput, type Placement } from './shards.ts';
import type { ConversionSource, SourceTensor } from './source.ts';

export type Recipe = 'mixed_2_6' | 'mixed_3_4' | 'mixed_3_6' | 'mixed_4_6';
const RECIPE_BITS: Readonly<Record<Recipe, { readonly low: number; readonly high: number }>> = {
  mixed_2_6: { low: 2, high: 6 },
  mixed_3_4: { low: 3, high: 4 },
  mixed_3_6: { low: 3, high: 6 },
  mixed_4_6: { low: 4, high: 6 },
};

/** mlx_lm.convert's own. */
export const DEFAULT_BITS = 4;
export const DEFAULT_GROUP_SIZE = 64;

export interface QuantizeRequest {
  /** Null: dense. */
  readonly affine: { readonly bits: number; readonly groupSize: number; readonly recipe: Recipe | null } | null;
  /** Of dense tensors, scales and biases; null: what the configuration says, else as stored. */
  readonly dtype: FloatDtype | null;
  readonly rounding: Rounding;
}

export interface PlannedConversion {
  readonly tensor: SourceTensor;
  readonly dtype: FloatDtype;
  readonly affine: AffineOptions | null;
  readonly outputs: readonly PlacedOutput[];
}

export interface QuantizePlan {
  readonly tensors: readonly PlannedConversion[];
  readonly placement: Placement;
  readonly parameterCount: number;
  readonly modelDtype: ModelDtype;
  /** `quantization` of config.json; null when dense. */
  readonly quantization: Readonly<Record<string, unknown>> | null;
}

const DTYPE_NAMES: Readonly<Record<FloatDtype, ModelDtype>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };

export function planQuantize(source: ConversionSource, request: QuantizeRequest): QuantizePlan {
  const modelDtype = request.dtype ?? configuredDtype(source);
  const entries: Record<string, unknown> = {};
  const chosen = source.tensors.map((tensor) => {
    const dtype = modelDtype ?? storedDtype(tensor);
    const affine = chooseAffine(tensor, { request, layerCount: source.layerCount });
    if (affine !== null && request.affine?.recipe != null) entries[moduleOf(tensor.name)] = layerEntry(affine);
    return { tensor, dtype, affine };
  });
  if (request.affine !== null && chosen.every(({ affine }) => affine === null)) {
    throw new AppError(
      'model-unsupported',
      `No matrix of ${source.path} has rows that groups of ${request.affine.groupSize} divide: nothing would be quantised.`,
      { hint: 'Use --group 32, or leave --bits out for a dense conversion.' },
    );
  }
  const placement = placeInShards(chosen.map(outputsOf));
  return {
    tensors: chosen.map((entry, i) => ({ ...entry, outputs: placement.outputs[i] ?? [] })),
    placement,
    parameterCount: source.tensors.reduce((sum, { rows, columns }) => sum + rows * columns, 0),
    modelDtype: DTYPE_NAMES[modelDtype ?? majority(chosen.map(({ dtype }) => dtype))],
    quantization: request.affine === null ? null : { ...layerEntry(request.affine), ...entries },
  };
}

function layerEntry({ bits, groupSize }: { bits: number; groupSize: number }): Record<string, unknown> {
  return { group_size: groupSize, bits, mode: 'affine' };
}

/** mlx_lm.convert reads torch_dtype, else text_config.dtype; a GGUF has neither, and f16 holds its scales. */
function configuredDtype(source: ConversionSource): FloatDtype | null {
  if (source.format === 'gguf') return ggufDtype(source.tensors);
  const text = source.config['text_config'];
  const nested = typeof text === 'object' && text !== null && 'dtype' in text ? text.dtype : undefined;
  const named = source.config['torch_dtype'] ?? nested;
  const found = Object.entries(DTYPE_NAMES).find(([, name]) => name === named);
  return found === undefined ? null : (found[0] as FloatDtype);
}

function ggufDtype(tensors: readonly SourceTensor[]): FloatDtype {
  const matrices = tensors.filter(({ shape }) => shape.length > 1);
  return matrices.length > 0 && matrices.every(({ type }) => type === 'BF16') ? 'BF16' : 'F16';
}

function storedDtype({ type }: SourceTensor): FloatDtype {
  return type === 'F32' || type === 'BF16' ? type : 'F16';
}

function majority(dtypes: readonly FloatDtype[]): FloatDtype {
  const count = (dtype: FloatDtype): number => dtypes.filter((candidate) => candidate === dtype).length;
  return (['BF16', 'F16', 'F32'] as const).toSorted((a, b) => count(b) - count(a))[0] ?? 'F32';
}

/** Linear layers and embeddings, where the group size divides a row. */
function chooseAffine(
  { name, shape, columns }: SourceTensor,
  { request, layerCount }: { request: QuantizeRequest; layerCount: number },
): AffineOptions | null {
  const { affine, rounding } = request;
  if (affine === null || shape.length !== 2 || !name.endsWith('.weight')) return null;
  const { groupSize, recipe } = affine;
  if (columns % groupSize !== 0) return null;
  return { bits: recipe === null ? affine.bits : recipeBits(name, recipe, layerCount), groupSize, rounding };
}

/** More bits for values and for the way back to the residual in the first and last eighth and every third layer between. */
function recipeBits(name: string, recipe: Recipe, layerCount: number): number {
  const { low, high } = RECIPE_BITS[recipe];
  if (name.includes('lm_head')) return high;
  const layer = Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? 0);
  const eighth = Math.floor(layerCount / 8);
  const getsMore =
    layer < eighth || layer >= Math.floor((7 * layerCount) / 8) || (((layer - eighth) % 3) + 3) % 3 === 2;
  return getsMore && (name.includes('v_proj') || name.includes('down_proj')) ? high : low;
}

function outputsOf({
  tensor: { name, shape, columns },
  dtype,
  affine,
}: Pick<PlannedConversion, 'tensor' | 'dtype' | 'affine'>): TensorPlan[] {
  if (affine === null) return [{ name, dtype, shape }];
  const leading = shape.slice(0, -1);
  const groups = [...leading, columns / affine.groupSize];
  return [
    { name, dtype: 'U32', shape: [...leading, (columns * affine.bits) / 32] },
    { name: `${moduleOf(name)}.scales`, dtype, shape: groups },
    { name: `${moduleOf(name)}.biases`, dtype, shape: groups },
  ];
}
