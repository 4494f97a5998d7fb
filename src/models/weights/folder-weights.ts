/** Weights of an MLX or Hugging Face folder, or of one .safetensors file. */
import { open, type FileHandle } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, readFully } from '../file-io.ts';
import { dequantize } from '../gguf/dequantize.ts';
import { tensorTypeNamed } from '../gguf/tensor-types.ts';
import { dequantizeAffine, dequantizeMxfp4Rows } from '../mlx/dequantize-affine.ts';
import { readMlxModel, type MlxModel, type MlxTensor, type Packing } from '../mlx/read-model.ts';
import { DTYPE_BYTES } from '../safetensors/format.ts';
import type { Weights, WeightTensor } from './weights.ts';

export async function openFolderWeights(path: string): Promise<Weights> {
  const model = await readMlxModel(path);
  const logical = logicalTensors(path, model);
  const files = new Map<string, FileHandle>();
  const close = async (): Promise<void> => {
    for (const file of files.values()) await file.close();
  };
  try {
    for (const { file } of model.tensors.values()) if (!files.has(file)) files.set(file, await open(file, 'r'));
    const reader = new SliceReader(files);
    const tensors = logical.map((tensor) => describe(tensor, reader));
    return { path, format: model.isQuantized ? 'mlx' : 'safetensors', tensors, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface LogicalTensor {
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
function logicalTensors(path: string, { tensors, packingOf, config }: MlxModel): LogicalTensor[] {
  const logical: LogicalTensor[] = [];
  const tied = config['tie_word_embeddings'] === true && tensors.has('model.embed_tokens.weight');
  const hasOffset = OFFSET_NORM_TYPES.has(config['model_type']);
  for (const weight of tensors.values()) {
    const { name, shape } = weight;
    if (name.endsWith('.scales') || name.endsWith('.biases') || isDerived(name, tied)) continue;
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

function describe(tensor: LogicalTensor, reader: SliceReader): WeightTensor {
  const { name, shape, rows, columns, weight, packed, offset } = tensor;
  const part = (firstRow: number, rowCount: number): Part => ({ firstRow, rows: rowCount, allRows: rows });
  if (packed === null) {
    checkDtype(weight);
    return {
      name,
      shape,
      rows,
      columns,
      storedAs: weight.dtype,
      storedBytes: weight.byteLength,
      unitRows: 1,
      read(firstRow, rowCount, out) {
        reader.floats(weight, part(firstRow, rowCount), out);
        if (offset !== 0) for (let i = 0; i < rowCount * columns; i++) out[i] = out[i]! + offset;
      },
    };
  }
  const { packing, scales, biases } = packed;
  if (biases !== null) for (const floats of [scales, biases]) checkDtype(floats);
  return {
    name,
    shape,
    rows,
    columns,
    storedAs: packing.mode === 'mxfp4' ? 'mxfp4' : `${packing.bits}-bit affine, groups of ${packing.groupSize}`,
    storedBytes: weight.byteLength + scales.byteLength + (biases?.byteLength ?? 0),
    unitRows: 1,
    read: (firstRow, rowCount, out) => readPacked(reader, { tensor, part: part(firstRow, rowCount) }, out),
  };
}

function readPacked(
  reader: SliceReader,
  { tensor, part }: { tensor: LogicalTensor; part: Part },
  out: Float32Array,
): void {
  const { columns, weight, packed } = tensor;
  if (packed === null) return;
  const { packing, scales, biases } = packed;
  const groups = (part.rows * columns) / packing.groupSize;
  if (packing.mode === 'mxfp4' || biases === null) {
    const exponents = reader.bytes(scales, part).slice();
    dequantizeMxfp4Rows({ codes: reader.bytes(weight, part), exponents }, out);
    return;
  }
  const scaleValues = new Float32Array(groups);
  const biasValues = new Float32Array(groups);
  reader.floats(scales, part, scaleValues);
  reader.floats(biases, part, biasValues);
  const codes = reader.bytes(weight, part);
  const { bits, groupSize } = packing;
  dequantizeAffine({ codes, scales: scaleValues, biases: biasValues, rows: part.rows, columns, bits, groupSize }, out);
}

interface Part {
  readonly firstRow: number;
  readonly rows: number;
  readonly allRows: number;
}

/** Reads some rows of a tensor into a buffer that is used again. */
class SliceReader {
  readonly #files: ReadonlyMap<string, FileHandle>;
  #buffer = alignedBuffer(0);

  constructor(files: ReadonlyMap<string, FileHandle>) {
    this.#files = files;
  }

  bytes(tensor: MlxTensor, { firstRow, rows, allRows }: Part): Uint8Array {
    const rowBytes = tensor.byteLength / allRows;
    const length = rows * rowBytes;
    if (this.#buffer.byteLength < length) this.#buffer = alignedBuffer(length);
    const handle = this.#files.get(tensor.file) as FileHandle;
    readFully(handle, this.#buffer, { position: tensor.offset + firstRow * rowBytes, length });
    return this.#buffer.subarray(0, length);
  }

  floats(tensor: MlxTensor, part: Part, out: Float32Array): void {
    const bytes = this.bytes(tensor, part);
    dequantize(tensorTypeNamed(tensor.dtype), bytes, { out, values: bytes.byteLength / DTYPE_BYTES[tensor.dtype] });
  }
}

function checkDtype(tensor: MlxTensor): void {
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
