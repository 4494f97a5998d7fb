import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeError } from './write-error.ts';

/**
 * Writes a whole file or nothing: readers see the old text or the new one, also after a power cut.
 * Missing folders are made. @throws AppError `record-write-failed`.
 */
export async function atomicWrite(path: string, text: string): Promise<void> {
  // In the same folder: a rename is only atomic inside one file system.
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw await writeError(path, error);
  }
}
