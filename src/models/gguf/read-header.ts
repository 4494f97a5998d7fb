/** Reader of GGUF version 2 and 3 headers. The file is untrusted: every count, length and offset is checked. */
import { statSync } from 'node:fs';
import { assert } from '../../core/assert.ts';
import { AppError } from '../../core/errors.ts';
import { cannotOpen } from '../cannot-open.ts';
import { ByteCursor, HeadTooShort, type FileHead, type FilePart } from './byte-cursor.ts';
import {
  numberOf,
  VALUE_BYTES,
  VALUE_TYPES,
  type EncodedArray,
  type GgufArray,
  type GgufMetadata,
  type GgufNumberType,
  type GgufScalarType,
  type GgufValue,
  type WritableMetadata,
} from './metadata.ts';
import { tensorTypeById, type TensorType } from './tensor-types.ts';

/** "GGUF", little-endian. */
const MAGIC = 0x4655_4747;
/** Real files have 20 to 60 entries; llama.cpp's own have under 200. */
const METADATA_COUNT_MAX = 10_000;
/** DeepSeek-V3, one of the largest, has about 1,000; unmerged experts reach tens of thousands. */
const TENSOR_COUNT_MAX = 100_000;
/** llama.cpp refuses keys of 64 KiB and more. */
const KEY_BYTES_MAX = 65_535;
/** Long chat templates reach 100 KB; nothing legitimate comes near this. */
const STRING_BYTES_MAX = 16 << 20;
/** The largest vocabularies have 262,144 tokens and about 520,000 merges. */
const ARRAY_COUNT_MAX = 8_000_000;
/** ggml's own limit (GGML_MAX_DIMS). */
const DIMENSION_COUNT_MAX = 4;
/** ggml allows 64; a little slack for forks. */
const TENSOR_NAME_BYTES_MAX = 256;
const ALIGNMENT_DEFAULT = 32;
/** A page; larger alignments do not occur and would only waste space. */
const ALIGNMENT_MAX = 1 << 16;

export interface GgufTensor {
  readonly name: string;
  /** The file that holds it: of a model in several files not always that of the header. */
  readonly path: string;
  readonly type: TensorType;
  /** ggml's order: the first dimension is the contiguous one. */
  readonly dimensions: readonly number[];
  /** Values in a row (the first dimension). */
  readonly columns: number;
  /** Product of the other dimensions. */
  readonly rows: number;
  readonly rowBytes: number;
  /** Absolute, in the file. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface GgufHeader {
  readonly path: string;
  readonly fileBytes: number;
  readonly version: number;
  readonly alignment: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** Items of every array, also of those that were stepped over. */
  readonly arrayLengths: ReadonlyMap<string, number>;
  /** Where each value's bytes start in the file, for changing one in place. */
  readonly valueOffsets: ReadonlyMap<string, number>;
  /** The encoded metadata entries: [start, end) in the file. */
  readonly metadataRange: { readonly start: number; readonly end: number };
  readonly dataOffset: number;
  readonly tensors: readonly GgufTensor[];
}

/**
 * With `part`, the header of a GGUF inside another file; all offsets and `fileBytes` are then those of the part.
 * Arrays of more than `arrayItemsMax` items are checked and left out of `metadata`: a vocabulary is most of a header.
 * Rejects with `model-not-found`, `model-invalid` (with the number of missing bytes for a cut file) or `model-unsupported`.
 */
export async function readGgufHeader(
  path: string,
  part?: FilePart,
  arrayItemsMax = ARRAY_COUNT_MAX,
): Promise<GgufHeader> {
  const cursor = openCursor(path, part);
  try {
    return parse(cursor, arrayItemsMax);
  } finally {
    cursor.close();
  }
}

export type HeadReading =
  | { readonly state: 'complete'; readonly header: GgufHeader }
  /** At least so many bytes are needed. */
  | { readonly state: 'short'; readonly neededBytes: number };

/** The header from the first bytes of a file; its tensors are checked against the announced size. Throws as `readGgufHeader` rejects. */
export function readGgufHead(head: FileHead): HeadReading {
  try {
    return { state: 'complete', header: parse(new ByteCursor(head), ARRAY_COUNT_MAX) };
  } catch (error) {
    if (error instanceof HeadTooShort) return { state: 'short', neededBytes: error.neededBytes };
    throw error;
  }
}

/** An array from the form that it has in a file. */
export function decodeArray({ bytes }: EncodedArray): GgufArray {
  const head = { path: 'an encoded array', bytes: Buffer.from(bytes), fileBytes: bytes.length };
  const { array } = readArray(new ByteCursor(head), 'it', ARRAY_COUNT_MAX);
  assert(array !== null, 'no array is longer than the limit');
  return array;
}

/** Everything as values, for reading what was made for writing. */
export function decodeMetadata(metadata: WritableMetadata): GgufMetadata {
  return new Map([...metadata].map(([key, value]) => [key, value.type === 'encoded' ? decodeArray(value) : value]));
}

function openCursor(path: string, part: FilePart | undefined): ByteCursor {
  try {
    // Before it is opened: opening a pipe would wait for whoever writes into it.
    if (statSync(path).isFile()) return new ByteCursor(path, part);
  } catch (cause) {
    throw cannotOpen(`model ${path}`, cause);
  }
  throw new AppError('model-unsupported', `${path} is not a file.`, { hint: 'Give the path of one .gguf file.' });
}

function parse(cursor: ByteCursor, arrayItemsMax: number): GgufHeader {
  const version = readVersion(cursor);
  const tensorCount = bounded(cursor, 'tensor count', TENSOR_COUNT_MAX);
  const metadataCount = bounded(cursor, 'metadata count', METADATA_COUNT_MAX);
  const start = cursor.offset;
  const metadata = new Map<string, GgufValue>();
  const valueOffsets = new Map<string, number>();
  const arrayLengths = new Map<string, number>();
  for (let i = 0; i < metadataCount; i++) {
    const key = readString(cursor, 'a metadata key', KEY_BYTES_MAX);
    if (valueOffsets.has(key)) throw cursor.invalid(`the metadata key ${key} occurs twice`);
    const type = readValueType(cursor, key);
    valueOffsets.set(key, cursor.offset);
    if (type !== 'array') {
      metadata.set(key, readValue(cursor, key, type));
      continue;
    }
    const { length, array } = readArray(cursor, key, arrayItemsMax);
    arrayLengths.set(key, length);
    if (array !== null) metadata.set(key, array);
  }
  const metadataRange = { start, end: cursor.offset };
  const alignment = readAlignment(cursor, metadata);
  const infos = Array.from({ length: tensorCount }, () => readTensorInfo(cursor));
  const dataOffset = Math.ceil(cursor.offset / alignment) * alignment;
  const tensors = infos.map((info) => placeTensor(cursor, info, { dataOffset, alignment }));
  checkNames(cursor, tensors);
  checkComplete(cursor, tensors);
  checkOverlaps(cursor, tensors);
  const { path, fileBytes } = cursor;
  const values = { metadata, arrayLengths, valueOffsets, metadataRange };
  return { path, fileBytes, version, alignment, ...values, dataOffset, tensors };
}

function readVersion(cursor: ByteCursor): number {
  if (cursor.fileBytes < 24) throw cursor.invalid(`it has ${cursor.fileBytes} bytes, a header has at least 24`);
  const magic = cursor.u32();
  if (magic !== MAGIC) {
    throw cursor.invalid(`it starts with 0x${magic.toString(16).padStart(8, '0')}, not with "GGUF"`);
  }
  const version = cursor.u32();
  if (version === 2 || version === 3) return version;
  const bigEndian = (version & 0xffff) === 0;
  throw new AppError(
    'model-unsupported',
    `${cursor.path} is GGUF ${bigEndian ? 'in big-endian order' : `version ${version}`}; versions 2 and 3 in little-endian order are supported.`,
    {
      hint: 'Convert the model again with a current llama.cpp.',
    },
  );
}

function bounded(cursor: ByteCursor, what: string, max: number): number {
  const value = cursor.count(what);
  if (value > max) throw cursor.invalid(`its ${what} is ${value}, more than the ${max} that are allowed`);
  return value;
}

function readString(cursor: ByteCursor, what: string, bytesMax: number): string {
  return cursor.text(stringBytes(cursor, what, bytesMax));
}

function stringBytes(cursor: ByteCursor, what: string, bytesMax: number): number {
  const length = cursor.count(what);
  if (length > bytesMax)
    throw cursor.invalid(`${what} claims ${length} bytes, more than the ${bytesMax} that are allowed`);
  cursor.expect(length, what);
  return length;
}

function readValueType(cursor: ByteCursor, key: string): GgufScalarType | 'array' {
  const code = cursor.u32();
  const type = VALUE_TYPES[code];
  if (type === undefined) throw cursor.invalid(`${key} has the unknown value type ${code}`);
  return type;
}

function readValue(cursor: ByteCursor, key: string, type: GgufScalarType): GgufValue {
  switch (type) {
    case 'string':
      return { type, value: readString(cursor, key, STRING_BYTES_MAX) };
    case 'bool':
      return { type, value: cursor.u8() !== 0 };
    case 'u64':
      return { type, value: cursor.u64() };
    case 'i64':
      return { type, value: BigInt.asIntN(64, cursor.u64()) };
    default: {
      const bytes = cursor.bytes(VALUE_BYTES[type]);
      return { type, value: readNumbers(bytes, type, 1)[0] as number };
    }
  }
}

function readArray(
  cursor: ByteCursor,
  key: string,
  arrayItemsMax: number,
): { length: number; array: GgufArray | null } {
  const itemType = readValueType(cursor, key);
  if (itemType === 'array') throw cursor.invalid(`${key} is an array of arrays, which llama.cpp does not know either`);
  const length = bounded(cursor, `length of ${key}`, ARRAY_COUNT_MAX);
  // A string costs at least its 8-byte length.
  cursor.expect(length * (itemType === 'string' ? 8 : VALUE_BYTES[itemType]), key);
  if (length <= arrayItemsMax) return { length, array: readItems(cursor, key, { itemType, length }) };
  if (itemType === 'string') for (let i = 0; i < length; i++) cursor.skip(stringBytes(cursor, key, STRING_BYTES_MAX));
  else cursor.skip(length * VALUE_BYTES[itemType]);
  return { length, array: null };
}

function readItems(
  cursor: ByteCursor,
  key: string,
  { itemType, length }: { itemType: GgufScalarType; length: number },
): GgufArray {
  if (itemType === 'string') {
    const items: string[] = [];
    for (let i = 0; i < length; i++) items.push(readString(cursor, key, STRING_BYTES_MAX));
    return { type: 'array', itemType, items };
  }
  const bytes = cursor.bytes(length * VALUE_BYTES[itemType]);
  if (itemType === 'bool') return { type: 'array', itemType, items: Array.from(bytes, (byte) => byte !== 0) };
  if (itemType === 'u64' || itemType === 'i64') {
    const bits = itemType === 'u64' ? bytes.readBigUInt64LE.bind(bytes) : bytes.readBigInt64LE.bind(bytes);
    return { type: 'array', itemType, items: Array.from({ length }, (_, i) => bits(8 * i)) };
  }
  return { type: 'array', itemType, items: readNumbers(bytes, itemType, length) };
}

const NUMBER_ARRAYS = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
} as const;

/** A copy: the cursor's window moves on, and a typed array needs an aligned start. */
function readNumbers(bytes: Buffer, type: GgufNumberType, count: number): ArrayLike<number> {
  const copy = new Uint8Array(count * VALUE_BYTES[type]);
  copy.set(bytes);
  return new NUMBER_ARRAYS[type](copy.buffer, 0, count);
}

function readAlignment(cursor: ByteCursor, metadata: ReadonlyMap<string, GgufValue>): number {
  const stored = metadata.get('general.alignment');
  // One of another kind is no reason for the default: the writer had something in mind.
  const alignment = stored === undefined ? ALIGNMENT_DEFAULT : (numberOf(metadata, 'general.alignment') ?? Number.NaN);
  const isPowerOfTwo = Number.isInteger(alignment) && alignment > 0 && Number.isInteger(Math.log2(alignment));
  if (!isPowerOfTwo || alignment > ALIGNMENT_MAX) {
    throw cursor.invalid(`general.alignment is ${alignment}, not a power of two up to ${ALIGNMENT_MAX}`);
  }
  return alignment;
}

interface TensorInfo {
  readonly name: string;
  readonly dimensions: readonly number[];
  readonly typeId: number;
  readonly relativeOffset: number;
}

function readTensorInfo(cursor: ByteCursor): TensorInfo {
  const name = readString(cursor, 'a tensor name', TENSOR_NAME_BYTES_MAX);
  const dimensionCount = cursor.u32();
  if (dimensionCount < 1 || dimensionCount > DIMENSION_COUNT_MAX) {
    throw cursor.invalid(`tensor ${name} has ${dimensionCount} dimensions, 1 to ${DIMENSION_COUNT_MAX} are allowed`);
  }
  const dimensions = Array.from({ length: dimensionCount }, () => cursor.count(`a dimension of ${name}`));
  return { name, dimensions, typeId: cursor.u32(), relativeOffset: cursor.count(`the offset of ${name}`) };
}

function placeTensor(
  cursor: ByteCursor,
  info: TensorInfo,
  { dataOffset, alignment }: { dataOffset: number; alignment: number },
): GgufTensor {
  const { name, dimensions } = info;
  const type = tensorTypeById(info.typeId);
  if (type === undefined) {
    throw new AppError(
      'model-unsupported',
      `${cursor.path}: tensor ${name} has ggml type ${info.typeId}, which this program does not know.`,
      {
        hint: 'Use a model in a common format such as Q4_0, Q4_1, Q8_0 or F16.',
      },
    );
  }
  const columns = dimensions[0] as number;
  const rows = dimensions.slice(1).reduce((product, size) => product * size, 1);
  const values = columns * rows;
  if (values === 0 || !Number.isSafeInteger(values))
    throw cursor.invalid(`tensor ${name} has the shape ${dimensions.join(' x ')}`);
  if (columns % type.blockValues !== 0) {
    throw cursor.invalid(
      `tensor ${name} has rows of ${columns} values, not a multiple of the ${type.blockValues} of a ${type.name} block`,
    );
  }
  if (info.relativeOffset % alignment !== 0) {
    throw cursor.invalid(`tensor ${name} starts at ${info.relativeOffset}, which is not aligned to ${alignment} bytes`);
  }
  const rowBytes = (columns / type.blockValues) * type.blockBytes;
  return {
    name,
    path: cursor.path,
    type,
    dimensions,
    columns,
    rows,
    rowBytes,
    offset: dataOffset + info.relativeOffset,
    byteLength: rowBytes * rows,
  };
}

function checkNames(cursor: ByteCursor, tensors: readonly GgufTensor[]): void {
  const seen = new Set<string>();
  for (const { name } of tensors) {
    if (seen.has(name)) throw cursor.invalid(`the tensor ${name} occurs twice`);
    seen.add(name);
  }
}

/** The commonest fault of a downloaded model is that it was cut: say by how much. */
function checkComplete(cursor: ByteCursor, tensors: readonly GgufTensor[]): void {
  const last = tensors.reduce<GgufTensor | null>(
    (far, tensor) => (far === null || tensor.offset + tensor.byteLength > far.offset + far.byteLength ? tensor : far),
    null,
  );
  if (last === null) return;
  const end = last.offset + last.byteLength;
  if (end <= cursor.fileBytes) return;
  throw new AppError(
    'model-invalid',
    `${cursor.path} is incomplete: it has ${cursor.fileBytes} bytes, tensor ${last.name} ends at byte ${end}; ${end - cursor.fileBytes} bytes are missing.`,
    {
      hint: 'Download or copy the model again.',
      context: { path: cursor.path, fileBytes: cursor.fileBytes, neededBytes: end },
    },
  );
}

/** Two tensors on the same bytes are a fault or an attack: one of them has values that are not its own. */
function checkOverlaps(cursor: ByteCursor, tensors: readonly GgufTensor[]): void {
  const sorted = tensors.toSorted((a, b) => a.offset - b.offset);
  for (const [i, { name, offset, byteLength }] of sorted.entries()) {
    const next = sorted[i + 1];
    if (next === undefined || offset + byteLength <= next.offset) continue;
    throw cursor.invalid(`the tensors ${name} and ${next.name} lie on the same bytes, from byte ${next.offset}`);
  }
}
