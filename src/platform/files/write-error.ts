import { AppError, messageOf } from '../../core/errors.ts';
import { freeBytes } from '../folders.ts';

const NEXT_STEPS: Readonly<Record<string, string>> = {
  ENOSPC:
    'Free some disk space (runoff cache shows what runoff keeps) and go on with --resume, or start again what has none.',
  EDQUOT: 'Your disk quota is used up: free some space and go on with --resume, or start again what has none.',
  EIO: 'The disk reports an error: check it, then resume the run in another folder.',
  EROFS: 'The file system is read-only: choose another folder.',
  EACCES: 'Choose a folder that you may write to.',
  EPERM: 'Choose a folder that you may write to.',
};

/** Any failed write as an operating error with the room that is left. */
export async function writeError(path: string, error: unknown): Promise<AppError> {
  const code = codeOf(error);
  const free = await freeBytes(path);
  const room = free === null ? '' : ` (${Math.floor(free / 1e6)} MB free there)`;
  const hint = NEXT_STEPS[code];
  return new AppError('record-write-failed', `cannot write ${path}${room}: ${messageOf(error)}`, {
    ...(hint === undefined ? {} : { hint }),
    context: { code, freeBytes: free },
    cause: error,
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
