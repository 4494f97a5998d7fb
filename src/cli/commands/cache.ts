import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { cacheFolder, folderBytes } from '../../platform/folders.ts';

/** Only these are ours: a mistaken RUNOFF_CACHE must not lose anything else. */
const OWN_FOLDERS = ['environments', 'models', 'proofs', 'cold-starts'];

export async function cacheCommand(action: string): Promise<void> {
  const folder = cacheFolder();
  if (action === 'show') return show(folder);
  if (action === 'clean') return clean(folder);
  throw new AppError('usage', `runoff cache ${action}: there is no such action`, {
    hint: 'runoff cache shows it, runoff cache clean removes it.',
  });
}

async function show(folder: string): Promise<void> {
  process.stdout.write(`${folder}\n`);
  if (!existsSync(folder)) return void process.stdout.write('  empty\n');
  for (const name of OWN_FOLDERS) {
    const path = join(folder, name);
    if (!existsSync(path)) continue;
    for (const entry of (await readdir(path)).toSorted()) {
      const megabytes = ((await folderBytes(join(path, entry))) / 1e6).toFixed(1).padStart(8);
      if (name === 'environments' || name === 'models') process.stdout.write(`${megabytes} MB  ${name}/${entry}\n`);
    }
  }
}

async function clean(folder: string): Promise<void> {
  const bytes = existsSync(folder) ? await folderBytes(folder) : 0;
  for (const name of OWN_FOLDERS) await rm(join(folder, name), { recursive: true, force: true });
  process.stdout.write(`Removed ${(bytes / 1e6).toFixed(0)} MB from ${folder}\n`);
}
