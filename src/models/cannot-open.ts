/** The error for a file that is missing or not to be opened, in words that tell which. */
import { AppError } from '../core/errors.ts';

/**
 * @param what with its path: `file /models/a.gguf`
 * @param cause what the file system threw
 */
export function cannotOpen(what: string, cause: unknown): AppError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : null;
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new AppError('model-not-found', `There is no ${what}.`, { hint: 'Check the path.', cause });
  return new AppError('model-not-found', `The ${what} cannot be opened${code === null ? '' : ` (${code})`}.`, {
    hint: 'Check its permissions.',
    cause,
  });
}
