/** Small JSON files of a model folder: untrusted, so their size is limited before they are read. */
import { readFile, stat } from 'node:fs/promises';
import { AppError } from '../core/errors.ts';

/** An index of a model of a thousand files has some 10 MB; configurations have a few KB. */
const JSON_BYTES_MAX = 64 << 20;

/** Undefined: there is no such file. @throws AppError `model-invalid` */
export async function readJson(path: string): Promise<unknown> {
  const info = await stat(path).catch(() => null);
  if (info === null) return undefined;
  if (!info.isFile() || info.size > JSON_BYTES_MAX)
    throw invalid(path, `it has ${info.size} bytes, ${JSON_BYTES_MAX} are allowed`);
  try {
    return JSON.parse(await readFile(path, 'utf8')) as unknown;
  } catch (cause) {
    throw invalid(path, 'it is not JSON', cause);
  }
}

function invalid(path: string, reason: string, cause?: unknown): AppError {
  return new AppError('model-invalid', `${path} cannot be used: ${reason}.`, {
    hint: 'Download the model again.',
    cause,
  });
}
