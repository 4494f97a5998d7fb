/**
 * Importance matrices of llama.cpp's imatrix tool: how much each input column of a matrix matters. The GGUF form has sums
 * of squares and counts as tensors; the older binary form a list of named float arrays.
 */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';
import { cannotOpen } from '../cannot-open.ts';
import { alignedBuffer, readFully } from '../file-io.ts';
import { readGgufHeader, type GgufTensor } from '../gguf/read-header.ts';

/** An 80-layer model has 561 entries of up to 28,672 values: 30 MB. */
const FILE_BYTES_MAX = 512 << 20;
const ENTRIES_MAX = 100_000;
const NAME_BYTES_MAX = 256;

const SUMS = '.in_sum2';
const COUNTS = '.counts';

export type Importance = ReadonlyMap<string, Float32Array>;

/** @throws AppError `model-not-found`, `model-invalid` */
export async function readImportance(path: string): Promise<Importance> {
  // Before it is opened: opening a pipe would wait for whoever writes into it.
  if ((await stat(path).catch(() => null))?.isFile() === false) throw invalid(path, 'it is not a file');
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw cannotOpen(`importance matrix ${path}`, cause);
  });
  try {
    const { size } = await handle.stat();
    if (size < 8 || size > FILE_BYTES_MAX)
      throw invalid(path, `it has ${size} bytes, 8 to ${FILE_BYTES_MAX} are allowed`);
    const magic = Buffer.alloc(4);
    readFully(handle, magic, { position: 0, length: 4 });
    const importance =
      magic.toString('latin1') === 'GGUF' ? await readGguf(path, handle) : readLegacy(path, handle, size);
    checkFinite(path, importance);
    return importance;
  } finally {
    await handle.close();
  }
}

async function readGguf(path: string, handle: FileHandle): Promise<Importance> {
  const { tensors } = await readGgufHeader(path);
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const importance = new Map<string, Float32Array>();
  for (const sums of tensors) {
    if (!sums.name.endsWith(SUMS)) continue;
    const name = sums.name.slice(0, -SUMS.length);
    const counts = byName.get(name + COUNTS);
    if (
      counts === undefined ||
      counts.type.name !== 'F32' ||
      sums.type.name !== 'F32' ||
      counts.columns * counts.rows !== sums.rows
    )
      throw invalid(path, `${sums.name} has no counts that fit`);
    const countValues = readFloats(handle, counts);
    // NaN is not above 0, and would pass for "never used".
    if (!countValues.every(Number.isFinite)) throw invalid(path, `${counts.name} holds an infinite value or NaN`);
    importance.set(name, average(readFloats(handle, sums), countValues));
  }
  if (importance.size === 0) throw invalid(path, 'it has no tensors that end in .in_sum2');
  return importance;
}

/** A matrix that was never used counts alike everywhere, as llama-quantize does. */
function average(sums: Float32Array, counts: Float32Array): Float32Array {
  const columns = sums.length / counts.length;
  return sums.map((sum, i) => {
    const count = counts[Math.floor(i / columns)] as number;
    return count > 0 ? sum / count : 1;
  });
}

function readFloats(handle: FileHandle, { offset, byteLength }: GgufTensor): Float32Array {
  const bytes = alignedBuffer(byteLength);
  readFully(handle, bytes, { position: offset, length: byteLength });
  return new Float32Array(bytes.buffer, 0, byteLength / 4);
}

/** int32 count; each: int32 name length, name, int32 calls, int32 values, float32 values (sums of all calls). */
function readLegacy(path: string, handle: FileHandle, size: number): Importance {
  const bytes = Buffer.from(alignedBuffer(size).buffer, 0, size);
  readFully(handle, bytes, { position: 0, length: size });
  let at = 0;
  const take = (length: number, what: string): number => {
    if (length < 0 || at + length > size) throw invalid(path, `it ends inside ${what} at byte ${at}`);
    at += length;
    return at - length;
  };
  const int32 = (what: string): number => bytes.readInt32LE(take(4, what));
  const entries = int32('the entry count');
  if (entries < 1 || entries > ENTRIES_MAX) throw invalid(path, `it claims ${entries} entries`);
  const importance = new Map<string, Float32Array>();
  for (let i = 0; i < entries; i++) {
    const nameBytes = int32('a name');
    if (nameBytes < 1 || nameBytes > NAME_BYTES_MAX) throw invalid(path, `a name of ${nameBytes} bytes`);
    const start = take(nameBytes, 'a name');
    const name = bytes.toString('utf8', start, start + nameBytes);
    if (importance.has(name)) throw invalid(path, `${name} occurs twice`);
    const calls = int32('a count of calls');
    const count = int32('a count of values');
    const from = take(4 * count, name);
    if (count < 1) throw invalid(path, `${name} has ${count} values`);
    importance.set(
      name,
      Float32Array.from({ length: count }, (_, j) => legacyValue(bytes.readFloatLE(from + 4 * j), calls)),
    );
  }
  return importance;
}

function legacyValue(sum: number, calls: number): number {
  return calls > 0 ? Math.fround(sum / calls) : sum;
}

function checkFinite(path: string, importance: Importance): void {
  for (const [name, values] of importance) {
    if (!values.every(Number.isFinite)) throw invalid(path, `${name} holds an infinite value or NaN`);
  }
}

function invalid(path: string, reason: string): AppError {
  return new AppError('model-invalid', `${path} is not a usable importance matrix: ${reason}.`, {
    hint: 'Make it again with llama-imatrix.',
  });
}
