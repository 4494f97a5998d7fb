/** What an engine takes on disk: the size of what an application would ship. */
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { AvailableEngine, EnvironmentLocator } from '../core/engine.ts';
import { folderBytes } from '../platform/folders.ts';
import { isUrl } from './prepare-engines.ts';

export interface InstalledSize {
  readonly bytes: number;
  /** What was counted, in words. */
  readonly what: string;
}

/** Folders that hold programs of everybody: libraries there belong to no engine. */
const SHARED_PREFIXES: ReadonlySet<string> = new Set([
  '/',
  '/usr',
  '/usr/local',
  '/opt',
  '/opt/homebrew',
  '/opt/local',
]);
const LIBRARY = /\.(?:dll|dylib)$|\.so(?:\.\d+)*$/i;

/** @returns null for a server elsewhere, and for what is gone meanwhile. */
export async function installedSize(
  found: AvailableEngine,
  managedEnvironment: string | null,
  environments: EnvironmentLocator,
): Promise<InstalledSize | null> {
  if (managedEnvironment !== null) {
    const environment = await environments.inspect(managedEnvironment);
    if (environment.state !== 'ready') return null;
    return { bytes: await folderBytes(environment.root), what: `the whole managed environment ${managedEnvironment}` };
  }
  if (found.runningInstance === true || isUrl(found.location)) return null;
  return binarySize(found.location);
}

async function binarySize(location: string): Promise<InstalledSize | null> {
  const binary = await realpath(location).catch(() => null);
  if (binary === null || !(await stat(binary)).isFile()) return null;
  const folders = await Promise.all(
    libraryFolders(binary).map(async (folder) => ({ folder, names: await readdir(folder).catch((): string[] => []) })),
  );
  const libraries = folders.flatMap(({ folder, names }) =>
    names.filter((name) => LIBRARY.test(name)).map((name) => join(folder, name)),
  );
  const sizes = await Promise.all([binary, ...libraries].map(folderBytes));
  const count = libraries.length;
  return {
    bytes: sizes.reduce((sum, size) => sum + size, 0),
    what: count === 0 ? 'its program file' : `its program file and ${count} files of libraries beside it`,
  };
}

/** Pure: where a program keeps libraries of its own: beside it, and in `lib` beside `bin`, but not where all programs do. */
export function libraryFolders(binary: string): string[] {
  const folder = dirname(binary);
  const prefix = dirname(folder);
  if (basename(folder) !== 'bin') return [folder];
  return SHARED_PREFIXES.has(prefix) ? [] : [folder, join(prefix, 'lib')];
}
