/** The tensors of a GGUF as fingerprint.ts specifies them. */
import { open } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';
import { canDequantize, dequantize } from '../gguf/dequantize.ts';
import { readGgufHeader } from '../gguf/read-header.ts';
import { rowSourceOf, RowReader } from '../hugging-face/row-reader.ts';
import { mapTensors, type MappedTensor } from '../hugging-face/tensor-map.ts';
import { TensorHash, type FingerprintOptions, type TensorFingerprint } from './tensor-hash.ts';

export async function fingerprintGgufTensors(
  path: string,
  { onProgress, signal }: FingerprintOptions,
): Promise<TensorFingerprint[]> {
  const { tensors } = mapTensors(await readGgufHeader(path));
  for (const tensor of tensors) checkType(path, tensor);
  const totalBytes = tensors.reduce((sum, { source }) => sum + source.byteLength, 0);
  const handle = await open(path, 'r');
  try {
    const reader = new RowReader(handle, signal);
    const results: TensorFingerprint[] = [];
    let doneBytes = 0;
    const onChunk = (bytes: number): void => {
      doneBytes += bytes;
      onProgress?.({ doneBytes, totalBytes });
    };
    for (const tensor of tensors) results.push(await hashTensor(reader, tensor, onChunk));
    return results;
  } finally {
    await handle.close();
  }
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

async function hashTensor(
  reader: RowReader,
  tensor: MappedTensor,
  onChunk: (bytes: number) => void,
): Promise<TensorFingerprint> {
  const { name, shape, source } = tensor;
  const hash = new TensorHash();
  const valuesPerByte = source.type.blockValues / source.type.blockBytes;
  let out = new Float32Array(0);
  for await (const { bytes } of reader.chunks(rowSourceOf(tensor))) {
    const values = Math.round(bytes.byteLength * valuesPerByte);
    if (out.length < values) out = new Float32Array(values);
    dequantize(source.type, bytes, { out, values });
    hash.update(out.subarray(0, values));
    onChunk(bytes.byteLength);
  }
  return { name, shape, sha256: hash.digest() };
}
