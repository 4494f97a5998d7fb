/** A folder whose files are replaced where they change: thousands of damaged models in one place. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Instead of a file. */
export const ITSELF = Symbol('a link that leads to itself');
export const FOLDER = Symbol('a folder');
/** Null: no such file. */
export type Content = string | Buffer | null | typeof ITSELF | typeof FOLDER;

/** By name. Synchronous: a trip through the thread pool would cost more than the file. */
export function openFolder(folder: string): (files: Readonly<Record<string, Content>>) => void {
  mkdirSync(folder, { recursive: true });
  const present = new Map<string, Content>();
  return (files) => {
    for (const [name, content] of Object.entries(files)) {
      const before = present.get(name);
      if (before === content) continue;
      const path = join(folder, name);
      if (!isPlain(before) || !isPlain(content)) rmSync(path, { recursive: true, force: true });
      if (content === FOLDER) mkdirSync(path);
      else if (content === ITSELF) linkToItself(path);
      else if (content !== null) writeFileSync(path, content);
      present.set(name, content);
    }
  };
}

function isPlain(content: Content | undefined): content is string | Buffer {
  return typeof content === 'string' || Buffer.isBuffer(content);
}

function linkToItself(path: string): void {
  try {
    symlinkSync(path, path);
  } catch (error) {
    // Windows without developer mode: the file is then missing.
    if (process.platform !== 'win32') throw error;
  }
}
