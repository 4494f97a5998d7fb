/** The tensors of an MLX folder as fingerprint.ts specifies them. */
import { open, type FileHandle } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, breathe, readFully } from '../file-io.ts';
import { dequantize } from '../gguf/dequantize.ts';
import { tensorTypeNamed } from '../gguf/tensor-types.ts';
import { dequantizeAffine } from '../mlx/dequantize-affine.ts';
import { readMlxModel, type AffineParameters, type MlxModel, type MlxTensor } from '../mlx/read-model.ts';
import { DTYPE_BYTES } from '../safetensors/format.ts';
import { TensorHash, type FingerprintOptions, type TensorFingerprint } from './tensor-hash.ts';

/** Values at a time: 1 MiB of float32, so that everything stays in the second-level cache. */
const CHUNK_VALUES = 1 << 18;

export async function fingerprintMlxTensors(
  folder: string,
  { onProgress, signal }: FingerprintOptions,
): Promise<TensorFingerprint[]> {
  const model = await readMlxModel(folder);
  const logical = logicalTensors(folder, model);
  const totalBytes = logical.reduce((sum, { weight }) => sum + weight.byteLength, 0);
  const files = new Map<string, FileHandle>();
  try {
    for (const { file } of model.tensors.values()) if (!files.has(file)) files.set(file, await open(file, 'r'));
    const results: TensorFingerprint[] = [];
    let doneBytes = 0;
    for (const tensor of logical) {
      results.push(await hashTensor(tensor, { files, signal }));
      doneBytes += tensor.weight.byteLength;
      onProgress?.({ doneBytes, totalBytes });
    }
    return results;
  } finally {
    for (const file of files.values()) await file.close();
  }
}

interface LogicalTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly rows: number;
  readonly columns: number;
  readonly weight: MlxTensor;
  readonly affine: (AffineParameters & { readonly scales: MlxTensor; readonly biases: MlxTensor }) | null;
}

/** Scales and biases belong to their weight; a real bias of a linear layer (`.bias`) stands for itself. */
function logicalTensors(folder: string, { tensors, affineOf }: MlxModel): LogicalTensor[] {
  const logical: LogicalTensor[] = [];
  for (const weight of tensors.values()) {
    const { name, shape } = weight;
    if (name.endsWith('.scales') || name.endsWith('.biases')) continue;
    const module = name.replace(/\.weight$/, '');
    const scales = name.endsWith('.weight') ? tensors.get(`${module}.scales`) : undefined;
    if (scales === undefined) {
      logical.push({ name, shape, ...rowsOf(shape), weight, affine: null });
      continue;
    }
    const biases = tensors.get(`${module}.biases`);
    const parameters = affineOf(module);
    if (biases === undefined) throw invalid(folder, `${module} has scales but no biases`);
    logical.push(affineTensor(folder, { weight, scales, biases, parameters }));
  }
  return logical;
}

function affineTensor(
  folder: string,
  {
    weight,
    scales,
    biases,
    parameters,
  }: { weight: MlxTensor; scales: MlxTensor; biases: MlxTensor; parameters: AffineParameters },
): LogicalTensor {
  const { bits, groupSize } = parameters;
  const columns = (scales.shape.at(-1) ?? 0) * groupSize;
  const shape = [...weight.shape.slice(0, -1), columns];
  const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const expected = [...shape.slice(0, -1), columns / groupSize].join('x');
  const fits =
    weight.dtype === 'U32' &&
    (weight.shape.at(-1) ?? 0) * 32 === columns * bits &&
    scales.shape.join('x') === expected &&
    biases.shape.join('x') === expected;
  if (!fits || columns === 0) {
    throw invalid(
      folder,
      `${weight.name} (${weight.dtype} ${weight.shape.join('x')}, scales ${scales.shape.join('x')}) does not fit ${bits} bits in groups of ${groupSize}`,
    );
  }
  return { name: weight.name, shape, rows, columns, weight, affine: { ...parameters, scales, biases } };
}

function rowsOf(shape: readonly number[]): { rows: number; columns: number } {
  const columns = shape.at(-1) ?? 1;
  return { rows: shape.slice(0, -1).reduce((product, size) => product * size, 1), columns };
}

async function hashTensor(
  tensor: LogicalTensor,
  { files, signal }: { files: ReadonlyMap<string, FileHandle>; signal: AbortSignal | undefined },
): Promise<TensorFingerprint> {
  const { name, shape, rows, columns, weight, affine } = tensor;
  const hash = new TensorHash();
  const chunkRows = Math.max(1, Math.floor(CHUNK_VALUES / columns));
  const out = new Float32Array(Math.min(chunkRows, rows) * columns);
  const slice = new SliceReader(files);
  for (let firstRow = 0; firstRow < rows; firstRow += chunkRows) {
    await breathe();
    signal?.throwIfAborted();
    const part: Part = { firstRow, rows: Math.min(chunkRows, rows - firstRow), allRows: rows };
    const values = out.subarray(0, part.rows * columns);
    if (affine === null) {
      slice.floats(weight, part, values);
    } else {
      const scales = new Float32Array((part.rows * columns) / affine.groupSize);
      const biases = new Float32Array(scales.length);
      slice.floats(affine.scales, part, scales);
      slice.floats(affine.biases, part, biases);
      const codes = slice.bytes(weight, part);
      dequantizeAffine(
        { codes, scales, biases, rows: part.rows, columns, bits: affine.bits, groupSize: affine.groupSize },
        values,
      );
    }
    hash.update(values);
  }
  return { name, shape, sha256: hash.digest() };
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
    if (tensor.dtype !== 'F32' && tensor.dtype !== 'F16' && tensor.dtype !== 'BF16') {
      throw new AppError(
        'model-unsupported',
        `${tensor.file}: ${tensor.name} is ${tensor.dtype}; F32, F16 and BF16 have a fingerprint.`,
      );
    }
    const bytes = this.bytes(tensor, part);
    dequantize(tensorTypeNamed(tensor.dtype), bytes, { out, values: bytes.byteLength / DTYPE_BYTES[tensor.dtype] });
  }
}

function invalid(folder: string, reason: string): AppError {
  return new AppError('model-invalid', `${folder} is not a usable MLX model: ${reason}.`, {
    hint: 'Download or convert the model again.',
  });
}
