/** Reader of safetensors headers. The file is untrusted: lengths, shapes and offsets are checked before use. */
import { open, stat } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';
import { cannotOpen } from '../cannot-open.ts';
import { readFully } from '../file-io.ts';
import { isDtype, planBytes, type Dtype } from './format.ts';

/** The reference implementation's own limit. */
const HEADER_BYTES_MAX = 100_000_000;
const TENSOR_COUNT_MAX = 200_000;
const DIMENSION_COUNT_MAX = 8;

export interface SafetensorsTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Absolute, in the file. */
  readonly offset: number;
  readonly byteLength: number;
}

export async function readSafetensorsHeader(path: string): Promise<readonly SafetensorsTensor[]> {
  return parseSafetensorsHeader(path, await readJson(path));
}

/** Bytes before the header: its length. */
export const LENGTH_BYTES = 8;

/** Pure: how long the header is. @throws AppError `model-invalid` for what no header can be */
export function safetensorsHeaderBytes(path: string, bytes: Buffer, fileBytes: number): number {
  const length = bytes.readBigUInt64LE();
  if (length > BigInt(HEADER_BYTES_MAX))
    throw invalid(path, `its header claims ${length} bytes, ${HEADER_BYTES_MAX} are allowed`);
  const headerBytes = Number(length);
  if (LENGTH_BYTES + headerBytes > fileBytes)
    throw invalid(path, `its header needs ${headerBytes} bytes, ${LENGTH_BYTES + headerBytes - fileBytes} are missing`);
  return headerBytes;
}

/** Pure: the tensors of a header. @param path for messages. @throws AppError `model-invalid` */
export function parseSafetensorsHeader(
  path: string,
  { json, dataOffset, fileBytes }: { readonly json: string; readonly dataOffset: number; readonly fileBytes: number },
): readonly SafetensorsTensor[] {
  const entries = parseEntries(path, json);
  const tensors = entries.map(([name, entry]) => readEntry(name, entry, { path, dataOffset, fileBytes }));
  checkCoverage(path, tensors, { dataOffset, fileBytes });
  return tensors;
}

/**
 * The format allows neither overlaps nor holes nor a rest: two tensors on the same bytes are an attack or a fault, and a hole
 * is what a name that occurs twice leaves behind.
 */
function checkCoverage(
  path: string,
  tensors: readonly SafetensorsTensor[],
  { dataOffset, fileBytes }: Omit<Place, 'path'>,
): void {
  let end = dataOffset;
  for (const { name, offset, byteLength } of tensors.toSorted(
    (a, b) => a.offset - b.offset || a.byteLength - b.byteLength,
  )) {
    if (offset < end) throw invalid(path, `${name} starts at byte ${offset}, inside the tensor before it`);
    if (offset > end)
      throw invalid(path, `the ${offset - end} bytes before ${name} belong to no tensor (does a name occur twice?)`);
    end = offset + byteLength;
  }
  if (end !== fileBytes)
    throw invalid(path, `the last ${fileBytes - end} bytes belong to no tensor (does a name occur twice?)`);
}

async function readJson(path: string): Promise<{ json: string; dataOffset: number; fileBytes: number }> {
  // Before it is opened: opening a pipe would wait for whoever writes into it.
  if ((await stat(path).catch(() => null))?.isFile() === false) throw invalid(path, 'it is not a file');
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw cannotOpen(`file ${path}`, cause);
  });
  try {
    const fileBytes = (await handle.stat()).size;
    if (fileBytes < LENGTH_BYTES) throw invalid(path, `it has ${fileBytes} bytes`);
    const lengthBytes = Buffer.alloc(LENGTH_BYTES);
    readFully(handle, lengthBytes, { position: 0, length: LENGTH_BYTES });
    const headerBytes = safetensorsHeaderBytes(path, lengthBytes, fileBytes);
    const bytes = Buffer.alloc(headerBytes);
    readFully(handle, bytes, { position: LENGTH_BYTES, length: headerBytes });
    return { json: bytes.toString('utf8'), dataOffset: LENGTH_BYTES + headerBytes, fileBytes };
  } finally {
    await handle.close();
  }
}

function parseEntries(path: string, json: string): [string, Record<string, unknown>][] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (cause) {
    throw new AppError('model-invalid', `${path} is not a usable safetensors file: its header is not JSON.`, {
      hint: 'Download or convert the model again.',
      cause,
    });
  }
  if (!isRecord(parsed)) throw invalid(path, 'its header is not an object');
  const entries = Object.entries(parsed).filter(([name]) => name !== '__metadata__');
  if (entries.length > TENSOR_COUNT_MAX)
    throw invalid(path, `it lists ${entries.length} tensors, ${TENSOR_COUNT_MAX} are allowed`);
  const records = entries.map(([name, entry]): [string, Record<string, unknown>] => {
    if (!isRecord(entry)) throw invalid(path, `the entry of ${name} is not an object`);
    return [name, entry];
  });
  // JSON.parse keeps the last of two equal keys: the text has more places than the object then.
  const places = json.match(/(?<!\\)"data_offsets"\s*:/g)?.length ?? 0;
  const notes = parsed['__metadata__'];
  const others = [parsed, isRecord(notes) ? notes : {}].filter((record) => Object.hasOwn(record, 'data_offsets'));
  if (places - others.length > records.length) throw invalid(path, 'a tensor occurs twice in its header');
  return records;
}

interface Place {
  readonly path: string;
  readonly dataOffset: number;
  readonly fileBytes: number;
}

function readEntry(
  name: string,
  entry: Record<string, unknown>,
  { path, dataOffset, fileBytes }: Place,
): SafetensorsTensor {
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isDtype(dtype)) throw invalid(path, `${name} has the unknown dtype ${JSON.stringify(dtype)}`);
  if (!isCounts(shape) || shape.length > DIMENSION_COUNT_MAX)
    throw invalid(path, `${name} has the shape ${JSON.stringify(shape)}`);
  if (!isCounts(offsets) || offsets.length !== 2)
    throw invalid(path, `${name} has the offsets ${JSON.stringify(offsets)}`);
  const [start, end] = offsets as [number, number];
  const byteLength = planBytes({ name, dtype, shape });
  if (end - start !== byteLength)
    throw invalid(path, `${name} occupies ${end - start} bytes, its shape and dtype need ${byteLength}`);
  const missing = dataOffset + end - fileBytes;
  if (missing > 0)
    throw invalid(
      path,
      `it is incomplete: ${name} ends at byte ${dataOffset + end} of ${fileBytes}, ${missing} bytes are missing`,
    );
  return { name, dtype, shape, offset: dataOffset + start, byteLength };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function invalid(path: string, reason: string): AppError {
  return new AppError('model-invalid', `${path} is not a usable safetensors file: ${reason}.`, {
    hint: 'Download or convert the model again.',
  });
}
