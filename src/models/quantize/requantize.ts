/**
 * A copy of a GGUF with every Q4_1 tensor as Q4_0: x86 builds of llama.cpp have fast repacked kernels for Q4_0 and none for
 * Q4_1. The weights change (that is said in every report); everything else is kept.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { AppError, messageOf } from '../../core/errors.ts';
import { alignedBuffer, readFully, writeFully, writeThenRename } from '../file-io.ts';
import { dequantize } from '../gguf/dequantize.ts';
import { readGgufHeader, type GgufHeader, type GgufTensor } from '../gguf/read-header.ts';
import { tensorTypeNamed } from '../gguf/tensor-types.ts';
import { encodeMetadata, layoutGguf, type EncodedMetadata } from '../gguf/write.ts';
import { RowReader } from '../hugging-face/row-reader.ts';
import { quantizeQ4_0 } from './q4-0.ts';

/** llama.cpp's LLAMA_FTYPE_MOSTLY_Q4_0. */
const FILE_TYPE_Q4_0 = 2;
/** Longer metadata does not exist: vocabularies of 262,144 tokens take 15 MB. */
const METADATA_BYTES_MAX = 256 << 20;

const Q4_0 = tensorTypeNamed('Q4_0');

export interface RequantizeOptions {
  readonly onProgress?: (progress: { readonly doneBytes: number; readonly totalBytes: number }) => void;
  readonly signal?: AbortSignal;
}

export interface RequantizeResult {
  readonly path: string;
  readonly requantizedTensorCount: number;
  readonly copiedTensorCount: number;
  readonly outputBytes: number;
}

/** Overwrites `outPath` only when complete. Rejects with `conversion-failed` when there is nothing to requantise. */
export async function requantizeToQ4_0(
  inPath: string,
  outPath: string,
  options: RequantizeOptions = {},
): Promise<RequantizeResult> {
  if (resolve(inPath) === resolve(outPath)) {
    throw new AppError('conversion-failed', `Input and output are the same file: ${inPath}.`, {
      hint: 'Choose another output.',
    });
  }
  const header = await readGgufHeader(inPath);
  const requantizedTensorCount = header.tensors.filter(isQ4_1).length;
  if (requantizedTensorCount === 0) {
    throw new AppError('conversion-failed', `${inPath} has no Q4_1 tensor: nothing to requantise.`, {
      hint: 'Use the model as it is.',
    });
  }
  const source = await open(inPath, 'r');
  try {
    const outputBytes = await writeThenRename(resolve(outPath), (temporary) =>
      write(header, { source, temporary, options }),
    );
    return {
      path: resolve(outPath),
      requantizedTensorCount,
      copiedTensorCount: header.tensors.length - requantizedTensorCount,
      outputBytes,
    };
  } catch (error) {
    if (error instanceof AppError || options.signal?.aborted === true) throw error;
    throw new AppError('conversion-failed', `Requantising ${inPath} to ${outPath} failed: ${messageOf(error)}.`, {
      hint: 'Check the free space and the permissions of the output folder.',
      cause: error,
    });
  } finally {
    await source.close();
  }
}

function isQ4_1({ type }: GgufTensor): boolean {
  return type.name === 'Q4_1';
}

async function write(
  header: GgufHeader,
  { source, temporary, options }: { source: FileHandle; temporary: string; options: RequantizeOptions },
): Promise<number> {
  const plans = header.tensors.map((tensor) => ({
    name: tensor.name,
    dimensions: tensor.dimensions,
    type: isQ4_1(tensor) ? Q4_0 : tensor.type,
  }));
  const layout = layoutGguf(patchedMetadata(header, source), plans, header.alignment);
  const target = await open(temporary, 'wx');
  try {
    // Also the padding after the last tensor, which nobody writes.
    await target.truncate(layout.totalBytes);
    writeFully(target, layout.header, 0);
    await copyTensors(header, { source, target, offsets: layout.offsets, options });
  } finally {
    await target.close();
  }
  return layout.totalBytes;
}

interface CopyRequest {
  readonly source: FileHandle;
  readonly target: FileHandle;
  readonly offsets: readonly number[];
  readonly options: RequantizeOptions;
}

async function copyTensors({ tensors }: GgufHeader, { source, target, offsets, options }: CopyRequest): Promise<void> {
  const totalBytes = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const reader = new RowReader({ of: () => source }, options.signal);
  let doneBytes = 0;
  for (const [i, tensor] of tensors.entries()) {
    const offset = offsets[i] as number;
    for await (const { bytes, firstRow } of reader.chunks({ ...tensor, permutedHeadRows: null })) {
      const converted = isQ4_1(tensor) ? requantizeBlocks(tensor, bytes) : bytes;
      const outRowBytes = isQ4_1(tensor) ? (tensor.columns / Q4_0.blockValues) * Q4_0.blockBytes : tensor.rowBytes;
      writeFully(target, converted, offset + firstRow * outRowBytes);
      doneBytes += bytes.byteLength;
      options.onProgress?.({ doneBytes, totalBytes });
    }
  }
}

function requantizeBlocks({ type }: GgufTensor, bytes: Uint8Array): Uint8Array {
  const blocks = bytes.byteLength / type.blockBytes;
  const values = new Float32Array(blocks * type.blockValues);
  dequantize(type, bytes, { out: values, values: values.length });
  const out = new Uint8Array(blocks * Q4_0.blockBytes);
  quantizeQ4_0(values, out);
  return out;
}

/** The metadata as it lies in the file, byte for byte, but for general.file_type. */
function patchedMetadata(
  { path, metadata, metadataRange, valueOffsets }: GgufHeader,
  source: FileHandle,
): EncodedMetadata {
  const length = metadataRange.end - metadataRange.start;
  if (length > METADATA_BYTES_MAX) {
    throw new AppError(
      'model-unsupported',
      `${path} has ${length} bytes of metadata; up to ${METADATA_BYTES_MAX} are handled.`,
    );
  }
  const bytes = alignedBuffer(length);
  readFully(source, bytes, { position: metadataRange.start, length });
  const fileType = valueOffsets.get('general.file_type');
  if (fileType === undefined) {
    const added = encodeMetadata(new Map([['general.file_type', { type: 'u32', value: FILE_TYPE_Q4_0 }]]));
    return { count: metadata.size + added.count, bytes: Buffer.concat([bytes, added.bytes]) };
  }
  if (metadata.get('general.file_type')?.type !== 'u32') {
    throw new AppError('model-invalid', `${path}: general.file_type is not a u32.`, {
      hint: 'Download or convert the model again.',
    });
  }
  new DataView(bytes.buffer).setUint32(fileType - metadataRange.start, FILE_TYPE_Q4_0, true);
  return { count: metadata.size, bytes };
}
