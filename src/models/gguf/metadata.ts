/** Values of a GGUF header, with their stored types, so that they can be written back as they were. */
import { AppError } from '../../core/errors.ts';

export type GgufNumberType = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'f64';
export type GgufScalarType = GgufNumberType | 'u64' | 'i64' | 'bool' | 'string';

export type GgufArray =
  | { readonly type: 'array'; readonly itemType: GgufNumberType; readonly items: ArrayLike<number> }
  | { readonly type: 'array'; readonly itemType: 'u64' | 'i64'; readonly items: readonly bigint[] }
  | { readonly type: 'array'; readonly itemType: 'bool'; readonly items: readonly boolean[] }
  | { readonly type: 'array'; readonly itemType: 'string'; readonly items: readonly string[] };

export type GgufValue =
  | { readonly type: GgufNumberType; readonly value: number }
  | { readonly type: 'u64' | 'i64'; readonly value: bigint }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | GgufArray;

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** An array in the form that it has in a file (item type, count, items): a large vocabulary takes a tenth of the memory. */
export interface EncodedArray {
  readonly type: 'encoded';
  readonly bytes: Uint8Array;
}

/** What can be written. */
export type WritableMetadata = ReadonlyMap<string, GgufValue | EncodedArray>;

/** Type codes of the format; `array` is 9. */
export const VALUE_TYPES: readonly (GgufScalarType | 'array')[] = [
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
];

/** Stored bytes of a fixed-size value. */
export const VALUE_BYTES: Readonly<Record<Exclude<GgufScalarType, 'string'>, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  u64: 8,
  i64: 8,
  f64: 8,
};

export function textOf(metadata: GgufMetadata, key: string): string | null {
  const entry = metadata.get(key);
  return entry?.type === 'string' ? entry.value : null;
}

export function booleanOf(metadata: GgufMetadata, key: string): boolean | null {
  const entry = metadata.get(key);
  return entry?.type === 'bool' ? entry.value : null;
}

export function numberOf(metadata: GgufMetadata, key: string): number | null {
  const entry = metadata.get(key);
  if (entry === undefined || entry.type === 'string' || entry.type === 'bool' || entry.type === 'array') return null;
  return Number(entry.value);
}

export function stringsOf(metadata: GgufMetadata, key: string): readonly string[] | null {
  const entry = metadata.get(key);
  return entry?.type === 'array' && entry.itemType === 'string' ? entry.items : null;
}

export function numbersOf(metadata: GgufMetadata, key: string): ArrayLike<number> | null {
  const entry = metadata.get(key);
  return entry?.type === 'array' && isNumberArray(entry) ? entry.items : null;
}

function isNumberArray(array: GgufArray): array is Extract<GgufArray, { itemType: GgufNumberType }> {
  return !['string', 'bool', 'u64', 'i64'].includes(array.itemType);
}

/** A positive whole number that the model cannot do without. */
export function requiredCount(metadata: GgufMetadata, key: string, path: string): number {
  const value = numberOf(metadata, key);
  if (value !== null && Number.isSafeInteger(value) && value > 0) return value;
  throw new AppError(
    'model-invalid',
    `${path}: the header has ${value === null ? 'no' : `${value} as`} ${key}, a positive whole number is needed.`,
    {
      hint: 'Convert or download the model again.',
    },
  );
}
