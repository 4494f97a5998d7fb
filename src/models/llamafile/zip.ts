/**
 * The central directory of a zip that may be gigabytes long and starts with a program (PKWARE APPNOTE 6.3.10).
 * Only the directory and the local headers are read; everything is untrusted and checked against the file.
 */
import type { SourceFile } from './source-file.ts';

export type ZipMethod = 'stored' | 'deflated' | 'other';

export interface ZipEntry {
  readonly name: string;
  readonly method: ZipMethod;
  readonly byteLength: number;
  readonly compressedBytes: number;
  readonly crc32: number;
  /** Of the local header, in the file. */
  readonly headerOffset: number;
  /** Of the first byte of data, in the file. */
  readonly dataOffset: number;
  /** Its record in the central directory, in the file. */
  readonly record: { readonly offset: number; readonly byteLength: number };
}

export interface ZipDirectory {
  readonly offset: number;
  readonly byteLength: number;
  /** In the order of the directory. */
  readonly entries: readonly ZipEntry[];
}

export const SIGNATURE = {
  local: 0x0403_4b50,
  central: 0x0201_4b50,
  end: 0x0605_4b50,
  end64: 0x0606_4b50,
  locator64: 0x0706_4b50,
} as const;
export const RECORD_BYTES = { local: 30, central: 46, end: 22, end64: 56, locator64: 20 } as const;
export const ZIP64_EXTRA_ID = 1;
/** "See the zip64 extra field". */
export const SENTINEL_32 = 0xffff_ffff;
export const SENTINEL_16 = 0xffff;

/** The format's limit of the comment behind the end record, which llamafile's own reader shares. */
const TAIL_BYTES = 65_536 + RECORD_BYTES.end;
/** Real ones have some hundreds (time zones, scripts, GPU sources); every one costs a read. */
const ENTRY_COUNT_MAX = 20_000;
/** 800 bytes an entry; real ones take about 100. */
const DIRECTORY_BYTES_MAX = 16 << 20;
/** File systems allow 255 for one name. */
const NAME_BYTES_MAX = 1_024;
const ENCRYPTED_FLAG = 1;
const METHODS: Readonly<Record<number, ZipMethod>> = { 0: 'stored', 8: 'deflated' };

/** Null when the file holds no zip. @throws AppError `model-invalid` with what is wrong and where. */
export function readZipDirectory(file: SourceFile): ZipDirectory | null {
  const end = findEnd(file);
  if (end === null) return null;
  const { count, byteLength, offset } = end;
  if (count > ENTRY_COUNT_MAX)
    throw file.invalid(`its directory claims ${count} entries, more than the ${ENTRY_COUNT_MAX} that are allowed`);
  if (byteLength > DIRECTORY_BYTES_MAX)
    throw file.invalid(`its directory claims ${byteLength} bytes, more than the ${DIRECTORY_BYTES_MAX} allowed`);
  if (offset + byteLength > end.limit)
    throw file.invalid(`its directory of ${byteLength} bytes at byte ${offset} does not end before byte ${end.limit}`);
  const bytes = file.read(offset, byteLength, 'the directory');
  const records: CentralRecord[] = [];
  for (let at = 0; records.length < count;) {
    const record = readCentral(file, bytes, { at, base: offset });
    records.push(record);
    at += record.record.byteLength;
  }
  const entries = records.map((record) => locate(file, record, offset));
  checkNames(file, entries);
  checkOverlaps(file, entries);
  return { offset, byteLength, entries };
}

/** Pure: first byte behind an entry's data. */
export function endOf({ dataOffset, compressedBytes }: ZipEntry): number {
  return dataOffset + compressedBytes;
}

interface DirectoryEnd {
  readonly count: number;
  readonly byteLength: number;
  readonly offset: number;
  /** The directory ends here at the latest. */
  readonly limit: number;
}

/** The last end record whose comment fits into the file. */
function findEnd(file: SourceFile): DirectoryEnd | null {
  const tailBytes = Math.min(file.byteLength, TAIL_BYTES);
  const tailStart = file.byteLength - tailBytes;
  const tail = file.read(tailStart, tailBytes, 'the end of the file');
  for (let at = tailBytes - RECORD_BYTES.end; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== SIGNATURE.end) continue;
    const commentBytes = tail.readUInt16LE(at + 20);
    if (at + RECORD_BYTES.end + commentBytes > tailBytes) continue;
    return readEnd(file, tail.subarray(at, at + RECORD_BYTES.end), tailStart + at);
  }
  return null;
}

function readEnd(file: SourceFile, bytes: Buffer, position: number): DirectoryEnd {
  if (bytes.readUInt32LE(4) !== 0 || bytes.readUInt16LE(8) !== bytes.readUInt16LE(10))
    throw file.invalid(`its directory end at byte ${position} names several disks`);
  const [count, byteLength, offset] = [bytes.readUInt16LE(10), bytes.readUInt32LE(12), bytes.readUInt32LE(16)];
  const large = readEnd64(file, position);
  if (large === null) {
    if (byteLength === SENTINEL_32 || offset === SENTINEL_32)
      throw file.invalid(`its directory end at byte ${position} refers to a zip64 record that is not there`);
    return { count, byteLength, offset, limit: position };
  }
  // Two readers that trust different records would see two different zips.
  const disagree =
    (count !== SENTINEL_16 && count !== large.count) ||
    (byteLength !== SENTINEL_32 && byteLength !== large.byteLength) ||
    (offset !== SENTINEL_32 && offset !== large.offset);
  if (disagree) throw file.invalid(`its directory end at byte ${position} contradicts its zip64 record`);
  return large;
}

/** Null when no zip64 locator stands before the end record. */
function readEnd64(file: SourceFile, endPosition: number): DirectoryEnd | null {
  const position = endPosition - RECORD_BYTES.locator64;
  if (position < 0) return null;
  const locator = file.read(position, RECORD_BYTES.locator64, 'the zip64 locator');
  if (locator.readUInt32LE(0) !== SIGNATURE.locator64) return null;
  const at = u64(locator, 8);
  if (at + RECORD_BYTES.end64 > position)
    throw file.invalid(`its zip64 locator at byte ${position} points to byte ${at}, behind itself`);
  const bytes = file.read(at, RECORD_BYTES.end64, 'the zip64 directory end');
  if (bytes.readUInt32LE(0) !== SIGNATURE.end64)
    throw file.invalid(`its zip64 locator points to byte ${at}, where no directory end is`);
  return { count: u64(bytes, 32), byteLength: u64(bytes, 40), offset: u64(bytes, 48), limit: at };
}

type CentralRecord = Omit<ZipEntry, 'dataOffset'> & { readonly methodId: number; readonly nameBytes: number };

function readCentral(file: SourceFile, bytes: Buffer, { at, base }: { at: number; base: number }): CentralRecord {
  const where = `directory entry at byte ${base + at}`;
  if (at + RECORD_BYTES.central > bytes.length) throw file.invalid(`its ${where} is cut off`);
  if (bytes.readUInt32LE(at) !== SIGNATURE.central) throw file.invalid(`its ${where} has a wrong signature`);
  const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => bytes.readUInt16LE(at + field)) as [
    number,
    number,
    number,
  ];
  const nameEnd = at + RECORD_BYTES.central + nameBytes;
  const byteLength = RECORD_BYTES.central + nameBytes + extraBytes + commentBytes;
  if (at + byteLength > bytes.length) throw file.invalid(`its ${where} is cut off`);
  if (nameBytes === 0 || nameBytes > NAME_BYTES_MAX)
    throw file.invalid(`its ${where} has a name of ${nameBytes} bytes, 1 to ${NAME_BYTES_MAX} are allowed`);
  const name = bytes.toString('utf8', nameEnd - nameBytes, nameEnd);
  if ((bytes.readUInt16LE(at + 8) & ENCRYPTED_FLAG) !== 0) throw file.invalid(`its entry ${name} is encrypted`);
  const methodId = bytes.readUInt16LE(at + 10);
  const short: [number, number, number] = [24, 20, 42].map((field) => bytes.readUInt32LE(at + field)) as never;
  const long = zip64Values(bytes.subarray(nameEnd, nameEnd + extraBytes), short);
  if (long === null) throw file.invalid(`its entry ${name} lacks the zip64 values that it refers to`);
  return {
    name,
    nameBytes,
    methodId,
    method: METHODS[methodId] ?? 'other',
    byteLength: long[0],
    compressedBytes: long[1],
    headerOffset: long[2],
    crc32: bytes.readUInt32LE(at + 16),
    record: { offset: base + at, byteLength },
  };
}

/** Size, compressed size and offset: the zip64 extra holds those that do not fit into 32 bits, in this order. */
function zip64Values(extra: Buffer, short: readonly [number, number, number]): [number, number, number] | null {
  if (!short.includes(SENTINEL_32)) return [...short];
  for (let at = 0; at + 4 <= extra.length;) {
    const [id, length] = [extra.readUInt16LE(at), extra.readUInt16LE(at + 2)];
    const content = extra.subarray(at + 4, at + 4 + length);
    at += 4 + length;
    if (id !== ZIP64_EXTRA_ID) continue;
    let used = 0;
    const values = short.map((value) => {
      if (value !== SENTINEL_32) return value;
      used += 8;
      return used <= content.length ? u64(content, used - 8) : null;
    });
    return values.includes(null) ? null : (values as [number, number, number]);
  }
  return null;
}

/** Reads the local header, whose name and extra have lengths of their own. */
function locate(file: SourceFile, record: CentralRecord, directoryOffset: number): ZipEntry {
  const { methodId, nameBytes, ...entry } = record;
  const { name, headerOffset } = entry;
  const where = `entry ${name} at byte ${headerOffset}`;
  if (headerOffset + RECORD_BYTES.local > directoryOffset) throw file.invalid(`its ${where} lies behind its directory`);
  const header = file.read(
    headerOffset,
    Math.min(RECORD_BYTES.local + nameBytes, directoryOffset - headerOffset),
    where,
  );
  if (header.readUInt32LE(0) !== SIGNATURE.local) throw file.invalid(`its ${where} has no local header there`);
  const localName = header.toString('utf8', RECORD_BYTES.local);
  if (header.readUInt16LE(26) !== nameBytes || localName !== name || header.readUInt16LE(8) !== methodId)
    throw file.invalid(`its ${where} differs from its local header`);
  const dataOffset = headerOffset + RECORD_BYTES.local + nameBytes + header.readUInt16LE(28);
  if (dataOffset + entry.compressedBytes > directoryOffset)
    throw file.invalid(`its ${where} claims ${entry.compressedBytes} bytes and would reach into the directory`);
  if (entry.method === 'stored' && entry.byteLength !== entry.compressedBytes)
    throw file.invalid(`its ${where} is stored, yet has two sizes: ${entry.byteLength} and ${entry.compressedBytes}`);
  return { ...entry, dataOffset };
}

/** Names become file names when an entry is taken out. */
function checkNames(file: SourceFile, entries: readonly ZipEntry[]): void {
  const seen = new Set<string>();
  for (const { name, headerOffset } of entries) {
    const unsafe =
      name.startsWith('/') || /^[A-Za-z]:/.test(name) || /[\p{Cc}\\]/u.test(name) || name.split('/').includes('..');
    if (unsafe) throw file.invalid(`its entry at byte ${headerOffset} has the unsafe name ${JSON.stringify(name)}`);
    if (seen.has(name)) throw file.invalid(`its entry ${name} occurs twice`);
    seen.add(name);
  }
}

function checkOverlaps(file: SourceFile, entries: readonly ZipEntry[]): void {
  const sorted = entries.toSorted((a, b) => a.headerOffset - b.headerOffset);
  for (const [i, entry] of sorted.entries()) {
    const next = sorted[i + 1];
    if (next !== undefined && endOf(entry) > next.headerOffset)
      throw file.invalid(`its entries ${entry.name} and ${next.name} overlap at byte ${next.headerOffset}`);
  }
}

/** Beyond 2^53 inexact, which is far behind the end of any file: every bound is compared with one. */
function u64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + 4) * 2 ** 32 + bytes.readUInt32LE(at);
}
