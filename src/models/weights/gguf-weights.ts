/** Weights of a GGUF. */
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, readFully } from '../file-io.ts';
import { canDequantize, dequantize } from '../gguf/dequantize.ts';
import { readGgufModel, TensorFiles } from '../gguf/parts.ts';
import { mapTensors, unpermuteRows, type MappedTensor } from '../hugging-face/tensor-map.ts';
import type { Weights, WeightTensor } from './weights.ts';

/** A row or a head beyond this does not exist; it would break the promise of bounded memory. */
const PART_BYTES_MAX = 64 << 20;

export async function openGgufWeights(path: string): Promise<Weights> {
  const { tensors } = mapTensors(await readGgufModel(path));
  for (const tensor of tensors) checkType(path, tensor);
  const files = await TensorFiles.open(tensors.map(({ source }) => source));
  const buffers = { stored: alignedBuffer(0), ordered: alignedBuffer(0) };
  const describe = (tensor: MappedTensor): WeightTensor => {
    const { name, shape, source, rows, rowBytes, permutedHeadRows } = tensor;
    const { type } = source;
    const columns = (source.rows * source.columns) / rows;
    return {
      name,
      shape,
      rows,
      columns,
      storedAs: type.name,
      storedBytes: source.byteLength,
      unitRows: permutedHeadRows ?? 1,
      read(firstRow, rowCount, out) {
        const length = rowCount * rowBytes;
        if (length > PART_BYTES_MAX) throw tooLong(name, length);
        if (buffers.stored.byteLength < length) buffers.stored = alignedBuffer(length);
        readFully(files.of(source), buffers.stored, { position: source.offset + firstRow * rowBytes, length });
        let bytes = buffers.stored;
        if (permutedHeadRows !== null) {
          if (buffers.ordered.byteLength < length) buffers.ordered = alignedBuffer(length);
          unpermuteRows(bytes, buffers.ordered, { rows: rowCount, rowBytes, headRows: permutedHeadRows });
          bytes = buffers.ordered;
        }
        dequantize(type, bytes.subarray(0, length), { out, values: rowCount * columns });
      },
    };
  };
  return { path, format: 'gguf', tensors: tensors.map(describe), close: () => files.close() };
}

function tooLong(name: string, bytes: number): AppError {
  return new AppError(
    'model-unsupported',
    `Tensor ${name} has rows (or heads) of ${bytes} bytes; up to ${PART_BYTES_MAX} are handled.`,
  );
}

function checkType(path: string, { source }: MappedTensor): void {
  if (canDequantize(source.type)) return;
  throw new AppError(
    'model-unsupported',
    `${path}: tensor ${source.name} is ${source.type.name}, whose values this program cannot read; no fingerprint can be made.`,
    {
      hint: 'The weights of engines that read the same file are the same; other formats cannot be compared with it.',
      context: { tensor: source.name, type: source.type.name },
    },
  );
}
