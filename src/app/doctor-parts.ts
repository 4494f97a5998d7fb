/** Models that come as several files, as llama.cpp's gguf-split writes them. */
import { statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { AppError } from '../core/errors.ts';

/** The numbers in the names have five digits; real models have under 200 parts. */
const PARTS_MAX = 10_000;

/**
 * Pure: the names of all parts, from that of the first: `m-00001-of-00003.gguf`. Null: not named so, or another part.
 * https://github.com/ggml-org/llama.cpp/blob/master/tools/gguf-split/README.md (2026-11-25)
 */
export function partNames(name: string, count: number): string[] | null {
  const [, stem] = /^(.+)-00001-of-\d{5}\.gguf$/.exec(name) ?? [];
  if (stem === undefined || count > PARTS_MAX) return null;
  const digits = (value: number): string => String(value).padStart(5, '0');
  const names = Array.from({ length: count }, (_, index) => `${stem}-${digits(index + 1)}-of-${digits(count)}.gguf`);
  return names[0] === name ? names : null;
}

/**
 * Bytes of all parts together.
 * @throws AppError `model-invalid` when this is not the first part, or one is missing
 */
export function bytesOfParts(path: string, count: number): number {
  const names = partNames(basename(path), count);
  if (names === null) {
    throw new AppError('model-invalid', `${path} is one of ${count} parts of a model, and not the first.`, {
      hint: 'Name the part that ends with -00001-of-….gguf; engines find the others beside it.',
    });
  }
  return names.reduce((sum, name) => sum + sizeOfPart(join(dirname(path), name), count), 0);
}

function sizeOfPart(path: string, count: number): number {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size !== undefined) return size;
  throw new AppError('model-invalid', `The model has ${count} parts, and ${path} is missing.`, {
    hint: 'Download all parts into the same folder.',
  });
}
