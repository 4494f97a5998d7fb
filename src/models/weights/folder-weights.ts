/** Weights of an MLX or Hugging Face folder, or of one .safetensors file. */
import { open, type FileHandle } from 'node:fs/promises';
import { alignedBuffer, readFully } from '../file-io.ts';
import { dequantize } from '../gguf/dequantize.ts';
import { tensorTypeNamed } from '../gguf/tensor-types.ts';
import { dequantizeAffine, dequantizeMxfp4Rows } from '../mlx/dequantize-affine.ts';
import { checkDtype, logicalTensors, type LogicalTensor } from '../mlx/logical-tensors.ts';
import { readMlxModel, type MlxTensor } from '../mlx/read-model.ts';
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
