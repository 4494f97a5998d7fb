/** GGUF version 3 as ggml's docs/gguf.md describes it: a writer that writes any nonsense, and a parser that trusts the file. */
import { STORED } from './values.ts';

export const TYPE_IDS: Readonly<Record<string, number>> = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 8, BF16: 30 };
const VALUE_TYPES = [
  'u8',
  'i8',
  'u16',
  'i16',
  'u32',
  'i32',
  'f32',
  'bool',
  'string',
  'array',
  'u64',
  'i64',
  'f64',
] as const;
type ValueType = (typeof VALUE_TYPES)[number];

export interface GgufTensorPart {
  name: string;
  dimensions: bigint[];
  type: number;
  /** Null: behind the tensor before it, as a whole file has it. */
  offset: bigint | null;
  bytes: Buffer;
}

export interface GgufParts {
  version: number;
  /** Null: as many as there are. */
  tensorCount: bigint | null;
  metadataCount: bigint | null;
  /** The value with its type code. */
  metadata: [key: string, value: Buffer][];
  tensors: GgufTensorPart[];
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return bytes;
}

export function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(BigInt(bytes.length)), bytes]);
}

/** A value with its type code. */
export const value = {
  u32: (number: number) => Buffer.concat([u32(4), u32(number)]),
  u64: (number: bigint) => Buffer.concat([u32(10), u64(number)]),
  f32: (number: number) => Buffer.concat([u32(6), Buffer.from(Float32Array.of(number).buffer)]),
  f64: (number: number) => Buffer.concat([u32(12), Buffer.from(Float64Array.of(number).buffer)]),
  string: (string: string) => Buffer.concat([u32(8), text(string)]),
  strings: (items: readonly string[]) =>
    Buffer.concat([u32(9), u32(8), u64(BigInt(items.length)), ...items.map((item) => text(item))]),
  i32s: (items: readonly number[]) =>
    Buffer.concat([u32(9), u32(5), u64(BigInt(items.length)), Buffer.from(Int32Array.from(items).buffer)]),
  /** An array of an array of an array ... */
  nested: (levels: number) =>
    Buffer.concat([u32(9), ...Array.from({ length: levels - 1 }, () => [u32(9), u64(1n)]).flat(), u32(4), u64(0n)]),
} as const;

const ALIGNMENT = 32;

export function buildGguf({ version, tensorCount, metadataCount, metadata, tensors }: GgufParts): Buffer {
  const infos: Buffer[] = [];
  const data: Buffer[] = [];
  let end = 0;
  for (const { name, dimensions, type, offset, bytes } of tensors) {
    const sizes = dimensions.map(u64);
    infos.push(text(name), u32(dimensions.length), ...sizes, u32(type), u64(offset ?? BigInt(end)));
    const padding = Buffer.alloc((ALIGNMENT - (bytes.length % ALIGNMENT)) % ALIGNMENT);
    data.push(bytes, padding);
    end += bytes.length + padding.length;
  }
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    u32(version),
    u64(tensorCount ?? BigInt(tensors.length)),
    u64(metadataCount ?? BigInt(metadata.length)),
    ...metadata.flatMap(([key, bytes]) => [text(key), bytes]),
    ...infos,
  ]);
  return Buffer.concat([header, Buffer.alloc((ALIGNMENT - (header.length % ALIGNMENT)) % ALIGNMENT), ...data]);
}

export interface ParsedTensor {
  readonly name: string;
  readonly dimensions: readonly number[];
  readonly type: number;
  /** In the file. */
  readonly offset: number;
}

export interface ParsedGguf {
  readonly metadata: ReadonlyMap<string, unknown>;
  readonly tensors: readonly ParsedTensor[];
}

/** Of a file that was accepted: what it says. Throws where it says nothing that can be read. */
export function parseGguf(bytes: Buffer): ParsedGguf {
  let at = 8;
  const take = (length: number): Buffer => bytes.subarray(at, (at += length));
  const count = (): number => Number(take(8).readBigUInt64LE());
  const string = (): string => take(count()).toString('utf8');
  const one = (type: ValueType): unknown => {
    switch (type) {
      case 'u8':
        return take(1).readUInt8();
      case 'i8':
        return take(1).readInt8();
      case 'u16':
        return take(2).readUInt16LE();
      case 'i16':
        return take(2).readInt16LE();
      case 'u32':
        return take(4).readUInt32LE();
      case 'i32':
        return take(4).readInt32LE();
      case 'f32':
        return take(4).readFloatLE();
      case 'f64':
        return take(8).readDoubleLE();
      case 'bool':
        return take(1).readUInt8() !== 0;
      case 'u64':
        return take(8).readBigUInt64LE();
      case 'i64':
        return take(8).readBigInt64LE();
      case 'string':
        return string();
      case 'array': {
        const itemType = typeOf();
        return Array.from({ length: count() }, () => one(itemType));
      }
    }
  };
  const typeOf = (): ValueType => VALUE_TYPES[take(4).readUInt32LE()] as ValueType;
  const [tensorCount, metadataCount] = [count(), count()];
  const metadata = new Map<string, unknown>();
  for (let i = 0; i < metadataCount; i++) {
    const key = string();
    metadata.set(key, one(typeOf()));
  }
  const infos = Array.from({ length: tensorCount }, () => {
    const name = string();
    const dimensions = Array.from({ length: take(4).readUInt32LE() }, count);
    return { name, dimensions, type: take(4).readUInt32LE(), offset: count() };
  });
  const alignment = Number(metadata.get('general.alignment') ?? ALIGNMENT);
  const start = Math.ceil(at / alignment) * alignment;
  return { metadata, tensors: infos.map((info) => ({ ...info, offset: start + info.offset })) };
}

/** The name of a type that the oracle can decode; null for others. */
export function typeName(id: number): string | null {
  return Object.keys(TYPE_IDS).find((name) => TYPE_IDS[name] === id) ?? null;
}

export function tensorBytes(file: Buffer, { dimensions, offset, type }: ParsedTensor): Buffer {
  const stored = STORED[typeName(type) ?? ''];
  if (stored === undefined) throw new TypeError(`the oracle does not know type ${type}`);
  const values = dimensions.reduce((product, size) => product * size, 1);
  return file.subarray(offset, offset + (values / stored.values) * stored.bytes);
}
