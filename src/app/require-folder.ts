/** Outputs go into folders that exist: a mistyped one is told before minutes of work. */
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AppError } from '../core/errors.ts';

/** @throws AppError `usage` */
export async function requireFolderOf(out: string): Promise<void> {
  const folder = dirname(out);
  if ((await stat(folder).catch(() => null))?.isDirectory() === true) return;
  throw new AppError('usage', `There is no folder ${folder}.`, {
    hint: 'Make it, or choose another output with --out.',
  });
}
