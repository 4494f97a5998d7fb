/** Folders that are used: room, mount, file system. */
import { realpath } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, resolve } from 'node:path';
import type { Place } from '../../core/doctor/facts.ts';
import { freeBytes } from '../folders.ts';
import { readCommand } from '../process/run-command.ts';
import { mountOf, parseMounts } from './linux.ts';
import type { Mount } from './linux.ts';
import { parseMacMounts } from './macos.ts';
import { readText } from './read-text.ts';

/** `mount` waits for servers that do not answer. */
const MOUNT_TIMEOUT_MS = 5_000;

export async function readMounts(): Promise<Mount[]> {
  if (process.platform === 'linux') return parseMounts(await readText('/proc/self/mounts'));
  if (process.platform === 'darwin') return parseMacMounts((await readCommand('mount', [], MOUNT_TIMEOUT_MS)) ?? '');
  return [];
}

/** Where a llamafile unpacks its loader on Linux and macOS: the script at its start says `${TMPDIR:-${HOME:-.}}`. */
export function loaderFolder(environment: NodeJS.ProcessEnv): string {
  return environment['TMPDIR'] || environment['HOME'] || homedir();
}

/** @param path need not exist yet */
export async function readPlace(use: Place['use'], path: string, mounts: readonly Mount[]): Promise<Place> {
  const mount = mountOf(await nearestReal(path), mounts);
  return {
    use,
    path,
    freeBytes: await freeBytes(path),
    mountPath: mount?.path ?? null,
    noExec: mount === null ? null : mount.options.includes('noexec'),
  };
}

/** Type of the file system that a file lies on; null: not told. */
export async function fileSystemOf(path: string, mounts: readonly Mount[]): Promise<string | null> {
  return mountOf(await nearestReal(path), mounts)?.type ?? null;
}

/** Links resolved, of the nearest folder above that exists. */
async function nearestReal(path: string): Promise<string> {
  for (let at = resolve(path); ; at = dirname(at)) {
    try {
      return await realpath(at);
    } catch {
      if (dirname(at) === at) return at;
    }
  }
}
