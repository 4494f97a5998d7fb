/** Values of JSON files that others wrote. */
import { AppError } from '../../core/errors.ts';

export type JsonRecord = Readonly<Record<string, unknown>>;

/** Normalisers and pre-tokenizers nest by sequences of sequences: real files have four levels below the top. */
const NESTING_MAX = 32;

export function invalidFile(path: string, what: string, cause?: unknown): AppError {
  return new AppError('model-invalid', `${path}: ${what}.`, {
    hint: 'Download the file again; if it is whole, it is no tokenizer that this program can read.',
    ...(cause === undefined ? {} : { cause }),
  });
}

export function asRecord(value: unknown, path: string): JsonRecord {
  if (isRecord(value)) return value;
  throw invalidFile(path, 'an object was expected here');
}

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function textIn(record: JsonRecord, key: string): string | null {
  const value = record[key];
  return typeof value === 'string' ? value : null;
}

export function booleanIn(record: JsonRecord, key: string): boolean | null {
  const value = record[key];
  return typeof value === 'boolean' ? value : null;
}

export function recordsIn(record: JsonRecord, key: string): readonly JsonRecord[] {
  const value = record[key];
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

/** So that recursion over the file, here and in the library that tokenises, ends. Without recursion itself. */
export function assertNesting(value: JsonRecord, path: string): void {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > NESTING_MAX) throw invalidFile(path, `it nests deeper than the ${NESTING_MAX} levels that are allowed`);
    level = level.flatMap((item) => (typeof item === 'object' && item !== null ? containersIn(item) : []));
  }
}

/** Plain values are left out: a vocabulary has hundreds of thousands. */
function containersIn(item: object): unknown[] {
  const values: unknown[] = Array.isArray(item) ? item : Object.values(item);
  return values.filter((value) => typeof value === 'object' && value !== null);
}
