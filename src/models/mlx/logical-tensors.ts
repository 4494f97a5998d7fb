/** The tensors of an MLX or Hugging Face folder as the model means them: a packed matrix with its scales and biases is one. */
import { AppError } from '../../core/errors.ts';
import type { MlxModel, MlxTensor, Packing } from './read-model.ts';

export interface LogicalTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly rows: number;
  readonly columns: number;
  readonly weight: MlxTensor;
  readonly packed: { readonly packing: Packing; readonly scales: MlxTensor; readonly biases: MlxTensor | null } | null;
  /** Added to every value: Gemma's norms multiply by 1 + weight, and a GGUF holds the sum. */
  readonly offset: 0 | 1;
}

/** Model types whose norms multiply by 1 + weight. */
const OFFSET_NORM_TYPES: ReadonlySet<unknown> = new Set(['gemma', 'gemma2', 'gemma3', 'gemma3_text']);

/** Scales and biases belong to their weight; a real bias of a linear layer (`.bias`) stands for itself. */
export function logicalTensors(path: string, { tensors, packingOf, config }: MlxModel): LogicalTensor[] {
  const logical: LogicalTensor[] = [];
  const tied = config['tie_word_embeddings'] === true && tensors.has('model.embed_tokens.weight');
  const hasOffset = OFFSET_NORM_TYPES.has(config['model_type']);
  for (const weight of tensors.values()) {
    const { name, shape } = weight;
    if (isDerived(name, tied)) continue;
    if (/\.(scales|biases)$/.test(name)) {
      requireOwner(path, name, tensors);
      continue;
    }
    const module = name.replace(/\.weight$/, '');
    const scales = name.endsWith('.weight') ? tensors.get(`${module}.scales`) : undefined;
    if (scales === undefined) {
      const offset = hasOffset && name.endsWith('norm.weight') ? 1 : 0;
      logical.push({ name, shape, ...rowsOf(shape), weight, packed: null, offset });
      continue;
    }
    const packing = packingOf(module);
    const biases = tensors.get(`${module}.biases`) ?? null;
    if (packing.mode === 'affine' && biases === null) throw invalid(path, `${module} has scales but no biases`);
    logical.push(packedTensor(path, weight, { packing, scales, biases: packing.mode === 'affine' ? biases : null }));
  }
  return logical;
}

/** Scales or biases of nothing would be left out in silence, and the weights with them that they are named after. */
function requireOwner(path: string, name: string, tensors: MlxModel['tensors']): void {
  const module = name.replace(/\.(scales|biases)$/, '');
  const isPacked = tensors.has(`${module}.weight`) && tensors.has(`${module}.scales`);
  if (!isPacked) throw invalid(path, `${name} belongs to no packed matrix`);
}

/** Old files store rotary frequencies, and some a second copy of a tied output matrix. */
function isDerived(name: string, tied: boolean): boolean {
  return name.endsWith('rotary_emb.inv_freq') || (tied && name.startsWith('lm_head.'));
}

function packedTensor(path: string, weight: MlxTensor, packed: NonNullable<LogicalTensor['packed']>): LogicalTensor {
  const { packing, scales, biases } = packed;
  const { bits, groupSize } = packing;
  const columns = (scales.shape.at(-1) ?? 0) * groupSize;
  const shape = [...weight.shape.slice(0, -1), columns];
  const { rows } = rowsOf(shape);
  const expected = [...shape.slice(0, -1), columns / groupSize].join('x');
  const fits =
    weight.dtype === 'U32' &&
    (weight.shape.at(-1) ?? 0) * 32 === columns * bits &&
    scales.shape.join('x') === expected &&
    (biases === null ? scales.dtype === 'U8' : biases.shape.join('x') === expected);
  if (!fits || columns === 0) {
    throw invalid(
      path,
      `${weight.name} (${weight.dtype} ${weight.shape.join('x')}, scales ${scales.shape.join('x')}) does not fit ${bits} bits in groups of ${groupSize}`,
    );
  }
  return { name: weight.name, shape, rows, columns, weight, packed, offset: 0 };
}

function rowsOf(shape: readonly number[]): { rows: number; columns: number } {
  const columns = shape.at(-1) ?? 1;
  return { rows: shape.slice(0, -1).reduce((product, size) => product * size, 1), columns };
}

/** Scales, biases and what is not packed: the floats that can be read. */
export function checkDtype(tensor: MlxTensor): void {
  if (tensor.dtype === 'F32' || tensor.dtype === 'F16' || tensor.dtype === 'BF16') return;
  throw new AppError(
    'model-unsupported',
    `${tensor.file}: ${tensor.name} is ${tensor.dtype}; F32, F16 and BF16 can be read.`,
    { hint: 'Take the model in one of these, or as a GGUF.' },
  );
}

function invalid(path: string, reason: string): AppError {
  return new AppError('model-invalid', `${path} is not a usable model folder: ${reason}.`, {
    hint: 'Download or convert the model again.',
  });
}
