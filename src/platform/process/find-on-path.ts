import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Longest PATH that is searched: the shell's own limit is near this. */
const FOLDERS_MAX = 1_000;

/** Absolute path of a program on PATH, as a shell would find it; null when there is none. Never runs anything. */
export function findOnPath(program: string): string | null {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const names = fileNames(process.platform, program, process.env['PATHEXT']);
  for (const folder of folders.slice(0, FOLDERS_MAX)) {
    for (const name of names) {
      const path = join(folder, name);
      if (isExecutable(path)) return path;
    }
  }
  return null;
}

/** Pure: Windows finds `llama-server` as llama-server.exe. Batch files are left out: they need a shell, which we never use. */
export function fileNames(platform: NodeJS.Platform, program: string, pathExtensions: string | undefined): string[] {
  if (platform !== 'win32') return [program];
  const runnable = (pathExtensions ?? '.COM;.EXE')
    .toLowerCase()
    .split(';')
    .filter((extension) => extension === '.exe' || extension === '.com');
  if (runnable.some((extension) => program.toLowerCase().endsWith(extension))) return [program];
  return runnable.map((extension) => `${program}${extension}`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
