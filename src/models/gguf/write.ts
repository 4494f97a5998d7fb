/** Writer of GGUF version 3: the layout is computed first, then header and tensor data are written in any order. */
import { open } from 'node:fs/promises';
import { writeFully } from '../file-io.ts';
import {
  VALUE_BYTES,
  VALUE_TYPES,
  type EncodedArray,
  type GgufArray,
  type GgufScalarType,
  type GgufValue,
  type WritableMetadata,
} from './metadata.ts';
import type { TensorType } from './tensor-types.ts';

export const GGUF_ALIGNMENT = 32;

export interface EncodedMetadata {
  readonly count: number;
  readonly bytes: Uint8Array;
}

export interface GgufTensorPlan {
  readonly name: string;
  readonly type: TensorType;
  readonly dimensions: readonly number[];
}

export interface GgufLayout {
  /** Everything before the first tensor, padding included. */
  readonly header: Uint8Array;
  /** Absolute, in the order of the plans. */
  readonly offsets: readonly number[];
  readonly totalBytes: number;
}

export function layoutGguf(
  metadata: EncodedMetadata,
  plans: readonly GgufTensorPlan[],
  alignment = GGUF_ALIGNMENT,
): GgufLayout {
  const align = (value: number): number => Math.ceil(value / alignment) * alignment;
  const relative: number[] = [];
  let end = 0;
  for (const plan of plans) {
    relative.push(end);
    end = align(end + tensorBytes(plan));
  }
  const infos = plans.map((plan, i) => encodeInfo(plan, relative[i] as number));
  const fixed = Buffer.alloc(24);
  fixed.write('GGUF', 'latin1');
  fixed.writeUInt32LE(3, 4);
  fixed.writeBigUInt64LE(BigInt(plans.length), 8);
  fixed.writeBigUInt64LE(BigInt(metadata.count), 16);
  const parts = [fixed, metadata.bytes, ...infos];
  const dataOffset = align(parts.reduce((sum, part) => sum + part.byteLength, 0));
  return {
    header: Buffer.concat(parts, dataOffset),
    offsets: relative.map((offset) => dataOffset + offset),
    totalBytes: dataOffset + end,
  };
}

export function tensorBytes({ type, dimensions }: Pick<GgufTensorPlan, 'type' | 'dimensions'>): number {
  return (dimensions.reduce((product, size) => product * size, 1) / type.blockValues) * type.blockBytes;
}

/** Writes a small file at once: fixtures and tests. */
export async function writeGguf(
  path: string,
  {
    metadata,
    tensors,
  }: { metadata: WritableMetadata; tensors: readonly (GgufTensorPlan & { readonly bytes: Uint8Array })[] },
): Promise<void> {
  const layout = layoutGguf(encodeMetadata(metadata), tensors);
  const handle = await open(path, 'w');
  try {
    await handle.truncate(layout.totalBytes);
    writeFully(handle, layout.header, 0);
    for (const [i, tensor] of tensors.entries()) writeFully(handle, tensor.bytes, layout.offsets[i] as number);
  } finally {
    await handle.close();
  }
}

export function encodeMetadata(metadata: WritableMetadata): EncodedMetadata {
  const parts = [...metadata].flatMap(([key, value]) => [
    encodeString(key),
    typeCode(value.type === 'encoded' ? 'array' : value.type),
    encodeValue(value),
  ]);
  return { count: metadata.size, bytes: Buffer.concat(parts) };
}

function encodeInfo(plan: GgufTensorPlan, relativeOffset: number): Buffer {
  const dimensions = plan.dimensions.map((size) => scalar('u64', BigInt(size)));
  return Buffer.concat([
    encodeString(plan.name),
    scalar('u32', plan.dimensions.length),
    ...dimensions,
    scalar('u32', plan.type.id),
    scalar('u64', BigInt(relativeOffset)),
  ]);
}

function encodeValue(value: GgufValue | EncodedArray): Uint8Array {
  if (value.type === 'encoded') return value.bytes;
  if (value.type === 'array') return encodeArray(value);
  if (value.type === 'string') return encodeString(value.value);
  return scalar(value.type, value.value);
}

/** One buffer, filled: a vocabulary has half a million items, and a buffer for each would cost hundreds of megabytes. */
export function encodeArray(array: GgufArray): Buffer {
  const { items, itemType } = array;
  const itemBytes =
    itemType === 'string'
      ? items.reduce((sum, item) => sum + 8 + textBytes(item), 0)
      : items.length * VALUE_BYTES[itemType];
  const bytes = Buffer.allocUnsafe(12 + itemBytes);
  bytes.writeUInt32LE(VALUE_TYPES.indexOf(itemType));
  bytes.writeBigUInt64LE(BigInt(items.length), 4);
  let at = 12;
  if (isNative(items, itemType)) {
    bytes.set(new Uint8Array(items.buffer, items.byteOffset, items.byteLength), at);
    return bytes;
  }
  for (let i = 0; i < items.length; i++) {
    const item = items[i] as string | number | bigint | boolean;
    if (itemType === 'string') {
      const length = writeText(bytes, item as string, at + 8);
      bytes.writeUInt32LE(length, at);
      bytes.writeUInt32LE(0, at + 4);
      at += 8 + length;
    } else at += writeScalar(bytes, itemType, { value: item as number | bigint | boolean, at });
  }
  return bytes;
}

/** In memory as in the file: Node runs on little-endian machines only. */
function isNative(items: GgufArray['items'], itemType: GgufArray['itemType']): items is Int32Array | Float32Array {
  return (itemType === 'i32' && items instanceof Int32Array) || (itemType === 'f32' && items instanceof Float32Array);
}

/*
 * Pieces of a vocabulary are a few characters, most of one or two bytes: a call into the runtime for each of half a million
 * costs more than writing them.
 */
const ONE_BYTE_END = 0x80;
const TWO_BYTES_END = 0x800;

function textBytes(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= TWO_BYTES_END) return Buffer.byteLength(text);
    if (unit >= ONE_BYTE_END) bytes += 1;
  }
  return bytes;
}

/** @returns bytes written */
function writeText(bytes: Buffer, text: string, start: number): number {
  let at = start;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= TWO_BYTES_END) return bytes.write(text, start, 'utf8');
    if (unit < ONE_BYTE_END) bytes[at++] = unit;
    else {
      bytes[at++] = 0xc0 | (unit >>> 6);
      bytes[at++] = 0x80 | (unit & 0x3f);
    }
  }
  return at - start;
}

function encodeString(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([scalar('u64', BigInt(bytes.length)), bytes]);
}

function typeCode(type: GgufScalarType | 'array'): Buffer {
  return scalar('u32', VALUE_TYPES.indexOf(type));
}

type FixedType = Exclude<GgufScalarType, 'string'>;

function scalar(type: FixedType, value: number | bigint | boolean): Buffer {
  const bytes = Buffer.alloc(VALUE_BYTES[type]);
  writeScalar(bytes, type, { value, at: 0 });
  return bytes;
}

/** @returns bytes written */
function writeScalar(
  bytes: Buffer,
  type: FixedType,
  { value, at }: { value: number | bigint | boolean; at: number },
): number {
  const length = VALUE_BYTES[type];
  switch (type) {
    case 'u64':
      bytes.writeBigUInt64LE(BigInt(value), at);
      break;
    case 'i64':
      bytes.writeBigInt64LE(BigInt(value), at);
      break;
    case 'f32':
      bytes.writeFloatLE(Number(value), at);
      break;
    case 'f64':
      bytes.writeDoubleLE(Number(value), at);
      break;
    case 'bool':
    case 'u8':
    case 'u16':
    case 'u32':
      bytes.writeUIntLE(Number(value), at, length);
      break;
    default:
      bytes.writeIntLE(Number(value), at, length);
  }
  return length;
}
