/**
 * Llamafiles without an engine, of any size: the shell script of an APE, a version, and a zip. Written apart from
 * src/models/llamafile/zip-write.ts, so that a mistake cannot hide in both.
 */
import { open } from 'node:fs/promises';
import { crc32, deflateRawSync } from 'node:zlib';

export interface FakeEntry {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Longer than the bytes: the rest is a hole in the file. */
  readonly byteLength?: number;
  readonly deflated?: boolean;
  /** Of the data. */
  readonly alignment?: number;
}

export interface FakeLlamafile {
  readonly magic?: string;
  /** Null: none. */
  readonly version?: string | null;
  /** e_machine of the ELF headers: 62 is x86-64, 183 is arm64. */
  readonly machines?: readonly number[];
  readonly programBytes?: number;
  /** Where the version stands in the program. */
  readonly versionAt?: number;
  /** What it says of itself, where that is not `llamafile vVERSION`. */
  readonly literal?: string;
  /** Shell lines that it runs when it is started through sh; without them it cannot be started. */
  readonly script?: string;
  /** Null: a program without a zip. */
  readonly entries: readonly FakeEntry[] | null;
  readonly zip64?: boolean;
}

const PROGRAM_BYTES = 20_000;
const DATA_ALIGNMENT = 65_536;

/** @returns where each entry's local header and data lie, and the directory */
export async function writeFakeLlamafile(path: string, fake: FakeLlamafile): Promise<FakeLayout> {
  const handle = await open(path, 'w', 0o755);
  try {
    const program = programOf(fake);
    await handle.write(program, 0, program.length, 0);
    if (fake.entries === null) return { entries: {}, directory: program.length };
    let at = program.length;
    const records: Buffer[] = [];
    const entries: Record<string, { header: number; data: number }> = {};
    for (const entry of fake.entries) {
      const stored = entry.deflated === true ? deflateRawSync(entry.bytes) : Buffer.from(entry.bytes);
      const size = entry.byteLength ?? entry.bytes.length;
      const compressed = entry.deflated === true ? stored.length : size;
      const local = (offset: number): Buffer =>
        record(entry, { size, compressed, offset, zip64: fake.zip64 === true, central: false });
      const headerLength = local(0).length;
      const alignment = entry.alignment ?? 1;
      const data = Math.ceil((at + headerLength) / alignment) * alignment;
      const header = data - headerLength;
      await handle.write(local(header), 0, headerLength, header);
      await handle.write(stored, 0, stored.length, data);
      records.push(record(entry, { size, compressed, offset: header, zip64: fake.zip64 === true, central: true }));
      entries[entry.name] = { header, data };
      at = data + compressed;
    }
    const directory = Buffer.concat(records);
    const tail = Buffer.concat([directory, endRecords(records.length, directory.length, at, fake.zip64 === true)]);
    await handle.write(tail, 0, tail.length, at);
    return { entries, directory: at };
  } finally {
    await handle.close();
  }
}

export interface FakeLayout {
  readonly entries: Readonly<Record<string, { readonly header: number; readonly data: number }>>;
  readonly directory: number;
}

export function model(name: string, bytes: Uint8Array, byteLength?: number): FakeEntry {
  return { name, bytes, alignment: DATA_ALIGNMENT, ...(byteLength === undefined ? {} : { byteLength }) };
}

export function text(name: string, content: string, deflated = false): FakeEntry {
  return { name, bytes: Buffer.from(content), deflated };
}

function programOf(fake: FakeLlamafile): Buffer {
  const program = Buffer.alloc(fake.programBytes ?? PROGRAM_BYTES, 0x2e);
  const elf = (machine: number): string =>
    String.raw`\177ELF\2\1\1\11\0\0\0\0\0\0\0\0\2\0\%o\0\1\0\0\0`.replace('%o', machine.toString(8));
  const script = (fake.machines ?? [62, 183]).map(
    (machine) => `if [ x ]; then\nexec 7<> "$o"\nprintf '${elf(machine)}' >&7\nfi\n`,
  );
  // As in a real one, what looks like an assignment of bytes ends where the shell's part begins.
  const own = fake.script === undefined ? '' : `'\n${fake.script}\nexit 1\n`;
  program.write(`${fake.magic ?? "MZqFpD='"}\n\n${own}${script.join('')}`, 'latin1');
  const literal = fake.literal ?? `llamafile v${fake.version ?? '0.9.3'}`;
  if (fake.version !== null) program.write(`\0${literal}\n\0`, fake.versionAt ?? 15_000, 'latin1');
  return program;
}

interface Sizes {
  readonly size: number;
  readonly compressed: number;
  readonly offset: number;
  readonly zip64: boolean;
  readonly central: boolean;
}

function record(entry: FakeEntry, { size, compressed, offset, zip64, central }: Sizes): Buffer {
  const wide = (value: number): number => (zip64 || value > 0xffff_fffe ? 0xffff_ffff : value);
  const values = [size, compressed, ...(central ? [offset] : [])].filter((value) => wide(value) === 0xffff_ffff);
  const extra =
    values.length === 0
      ? Buffer.alloc(0)
      : pack([1, 2], [8 * values.length, 2], ...values.map((value): Field => [value, 8]));
  const name = Buffer.from(entry.name);
  const common: Field[] = [
    [20, 2],
    [0, 2],
    [entry.deflated === true ? 8 : 0, 2],
    [0, 2],
    [33, 2],
    [crc32(entry.bytes), 4],
  ];
  const sizes: Field[] = [
    [wide(compressed), 4],
    [wide(size), 4],
    [name.length, 2],
    [extra.length, 2],
  ];
  const fixed = central
    ? pack([0x0201_4b50, 4], [20, 2], ...common, ...sizes, [0, 2], [0, 2], [0, 2], [0, 4], [wide(offset), 4])
    : pack([0x0403_4b50, 4], ...common, ...sizes);
  return Buffer.concat([fixed, name, extra]);
}

function endRecords(count: number, bytes: number, offset: number, zip64: boolean): Buffer {
  const isWide = zip64 || offset > 0xffff_fffe;
  const end64 = pack(
    [0x0606_4b50, 4],
    [44, 8],
    [20, 2],
    [20, 2],
    [0, 4],
    [0, 4],
    [count, 8],
    [count, 8],
    [bytes, 8],
    [offset, 8],
  );
  const locator = pack([0x0706_4b50, 4], [0, 4], [offset + bytes, 8], [1, 4]);
  const end = pack(
    [0x0605_4b50, 4],
    [0, 4],
    [count, 2],
    [count, 2],
    [bytes, 4],
    [isWide ? 0xffff_ffff : offset, 4],
    [0, 2],
  );
  return isWide ? Buffer.concat([end64, locator, end]) : end;
}

type Field = readonly [value: number, byteLength: number];

function pack(...fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.map(([value, byteLength]) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(BigInt(value));
      return bytes.subarray(0, byteLength);
    }),
  );
}
