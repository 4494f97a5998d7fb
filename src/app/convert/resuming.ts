/** What both conversions do alike about an output that may be there in part. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { AppError } from '../../core/errors.ts';
import { partialPathOf, type Continuation } from '../../models/resume/resumable-output.ts';
import { folderBytes, freeBytes } from '../../platform/folders.ts';
import type { Ui } from '../ui.ts';
import { conversionProgress } from './progress.ts';

export function continuationOf(
  { resume, ui }: { readonly resume: boolean; readonly ui: Ui },
  options: Continuation['options'],
): Continuation {
  // Its clock starts when it is made.
  let checking: Continuation['onChecking'] | null = null;
  return {
    resume,
    options,
    onLine: (text) => ui.line(text),
    onChecking(progress) {
      checking ??= conversionProgress(ui, 'Checking what is there');
      checking(progress);
    },
  };
}

/** What an interrupted conversion has left is used again or replaced: its room counts as free. @throws AppError `conversion-failed` */
export async function checkRoom(out: string, bytes: number): Promise<void> {
  const free = await freeBytes(dirname(out));
  const there = await folderBytes(partialPathOf(out));
  if (free === null || free + there > bytes) return;
  const [needed, left] = [bytes - there, free].map((value) => Math.ceil(value / 1e6));
  throw new AppError(
    'conversion-failed',
    `The result needs up to ${needed} MB, ${left} MB are free in ${dirname(out)}.`,
    {
      hint: 'Free some disk space, or choose another place with --out.',
    },
  );
}

/** sha256, for a file that decides how weights are rounded. */
export async function hashOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
