/** Models that come as several files, as llama.cpp's gguf-split writes them. */
import { statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { AppError } from '../core/errors.ts';
import { partNames } from '../models/gguf/parts.ts';

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
