/**
 * Records of a zip as llamafile's own zipalign lays them out: zip64 extras in every entry, whatever its size, and all
 * 32-bit sizes and offsets left to them (llamafile/zipalign.c of github.com/mozilla-ai/llamafile, 2026-11-25).
 */
import { RECORD_BYTES, SENTINEL_16, SENTINEL_32, SIGNATURE, ZIP64_EXTRA_ID } from './zip.ts';

export interface StoredFile {
  readonly name: string;
  readonly byteLength: number;
  readonly crc32: number;
  /** Of the local header, in the file. */
  readonly headerOffset: number;
}

/** "2.0" and "made on Unix": what real llamafiles say, zip64 or not. */
const VERSION_NEEDED = 20;
const MADE_BY = (3 << 8) | VERSION_NEEDED;
const UTF8_FLAG = 0x800;
/** 1980-01-01, the format's zero: the same input gives the same bytes. */
const DOS_DATE = (1 << 5) | 1;
/** A regular file that everybody may read. */
const UNIX_MODE = 0o100_644;
const LOCAL_EXTRA_BYTES = 20;
const CENTRAL_EXTRA_BYTES = 28;

/** Pure: bytes from the local header to the data. */
export function localHeaderBytes(name: string): number {
  return RECORD_BYTES.local + Buffer.byteLength(name) + LOCAL_EXTRA_BYTES;
}

/** Pure. */
export function localHeader({ name, byteLength, crc32 }: StoredFile): Buffer {
  const nameBytes = Buffer.from(name);
  const fixed = Buffer.alloc(RECORD_BYTES.local);
  fixed.writeUInt32LE(SIGNATURE.local, 0);
  fixed.writeUInt16LE(VERSION_NEEDED, 4);
  writeCommon(fixed.subarray(6), { crc32, nameLength: nameBytes.length, extraLength: LOCAL_EXTRA_BYTES });
  return Buffer.concat([fixed, nameBytes, zip64Extra([byteLength, byteLength])]);
}

/** Pure: the entry's record in the directory. */
export function centralRecord({ name, byteLength, crc32, headerOffset }: StoredFile): Buffer {
  const nameBytes = Buffer.from(name);
  const fixed = Buffer.alloc(RECORD_BYTES.central);
  fixed.writeUInt32LE(SIGNATURE.central, 0);
  fixed.writeUInt16LE(MADE_BY, 4);
  fixed.writeUInt16LE(VERSION_NEEDED, 6);
  writeCommon(fixed.subarray(8), { crc32, nameLength: nameBytes.length, extraLength: CENTRAL_EXTRA_BYTES });
  fixed.writeUInt32LE(UNIX_MODE * 2 ** 16, 38);
  fixed.writeUInt32LE(SENTINEL_32, 42);
  return Buffer.concat([fixed, nameBytes, zip64Extra([byteLength, byteLength, headerOffset])]);
}

/** Flags to extra length: the same in both headers. */
function writeCommon(
  target: Buffer,
  { crc32, nameLength, extraLength }: { crc32: number; nameLength: number; extraLength: number },
): void {
  target.writeUInt16LE(UTF8_FLAG, 0);
  target.writeUInt16LE(DOS_DATE, 6);
  target.writeUInt32LE(crc32, 8);
  target.writeUInt32LE(SENTINEL_32, 12);
  target.writeUInt32LE(SENTINEL_32, 16);
  target.writeUInt16LE(nameLength, 20);
  target.writeUInt16LE(extraLength, 22);
}

function zip64Extra(values: readonly number[]): Buffer {
  const extra = Buffer.alloc(4 + 8 * values.length);
  extra.writeUInt16LE(ZIP64_EXTRA_ID, 0);
  extra.writeUInt16LE(8 * values.length, 2);
  for (const [i, value] of values.entries()) extra.writeBigUInt64LE(BigInt(value), 4 + 8 * i);
  return extra;
}

/** Pure: what closes the file, behind the directory. */
export function directoryEnd({
  count,
  byteLength,
  offset,
}: {
  count: number;
  byteLength: number;
  offset: number;
}): Buffer {
  const end = Buffer.alloc(RECORD_BYTES.end64 + RECORD_BYTES.locator64 + RECORD_BYTES.end);
  end.writeUInt32LE(SIGNATURE.end64, 0);
  end.writeBigUInt64LE(BigInt(RECORD_BYTES.end64 - 12), 4);
  end.writeUInt16LE(MADE_BY, 12);
  end.writeUInt16LE(VERSION_NEEDED, 14);
  end.writeBigUInt64LE(BigInt(count), 24);
  end.writeBigUInt64LE(BigInt(count), 32);
  end.writeBigUInt64LE(BigInt(byteLength), 40);
  end.writeBigUInt64LE(BigInt(offset), 48);
  const locator = end.subarray(RECORD_BYTES.end64);
  locator.writeUInt32LE(SIGNATURE.locator64, 0);
  locator.writeBigUInt64LE(BigInt(offset + byteLength), 8);
  locator.writeUInt32LE(1, 16);
  const last = locator.subarray(RECORD_BYTES.locator64);
  last.writeUInt32LE(SIGNATURE.end, 0);
  last.writeUInt16LE(Math.min(count, SENTINEL_16), 8);
  last.writeUInt16LE(Math.min(count, SENTINEL_16), 10);
  last.writeUInt32LE(Math.min(byteLength, SENTINEL_32), 12);
  last.writeUInt32LE(SENTINEL_32, 16);
  return end;
}
