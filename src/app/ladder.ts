/** Which engines `--ladder` measures, which binary stands for which rung, and which of them share one build. */
import { existsSync } from 'node:fs';
import { isAbsolute, join, relative } from 'node:path';
import type { EnvironmentLocator } from '../core/engine.ts';
import type { EngineFacts } from '../core/record.ts';
import { engineIds } from '../engines/registry.ts';
import { DEFAULT_ENGINES } from './plan.ts';
import type { PlanFile } from './plan.ts';
import { lookAtEngine } from './prepare-engines.ts';
import type { EnginePlaces, EngineSighting } from './prepare-engines.ts';

/** Bottom first. The first three can be had on one build; the last brings its own. */
const RUNGS = ['libllama', 'llama-cpp-python', 'llama-server', 'llama-cpp'] as const;
/** Measured where the user has it: nothing installs it. */
const RUNG_IF_FOUND = 'llamafile';
/** The managed environment that compiles llama.cpp once for the library, the binding and the server. */
const SHARED_ENVIRONMENT = 'llama-cpp-python';
const SERVER_ID = 'llama-server';
/** The engines of that environment. */
const SHARED_RUNGS: readonly string[] = ['libllama', 'llama-cpp-python'];

/**
 * The plan's engines: those asked for, else the ladder's, else the default ones.
 * @param isFound whether the engine with this id can run now; asked for a rung that nothing installs
 */
export async function enginesOf(
  asked: PlanFile,
  isFound: (id: string) => Promise<boolean>,
): Promise<readonly string[]> {
  if (asked.engines !== undefined) return asked.engines;
  if (asked.ladder !== true) return DEFAULT_ENGINES;
  return (await isFound(RUNG_IF_FOUND)) ? [...RUNGS, RUNG_IF_FOUND] : RUNGS;
}

/** What `enginesOf` asks, on this machine. */
export function foundIn(places: EnginePlaces): (id: string) => Promise<boolean> {
  return async (id) => engineIds().includes(id) && (await lookAtEngine(id, places)).detection.state === 'available';
}

/**
 * Where a ladder finds an engine that the user gave no path for: llama-server from the environment that holds the
 * library of the rungs below, so that HTTP is compared on their build. Null: the adapter looks by itself.
 */
export function rungPath(environments: EnvironmentLocator): (id: string) => Promise<string | null> {
  return async (id) => {
    if (id !== SERVER_ID) return null;
    const shared = await environments.inspect(SHARED_ENVIRONMENT);
    const path = shared.state === 'ready' ? serverIn(shared.root, process.platform) : null;
    return path !== null && existsSync(path) ? path : null;
  };
}

/** For `--dry-run`: the server that is there now is not the one that the ladder would start. */
export function serverAfterInstall(engines: readonly Pick<EngineSighting, 'id' | 'text'>[]): string | null {
  const compiles = engines.some(({ id, text }) => SHARED_RUNGS.includes(id) && text.startsWith('would install'));
  return compiles && engines.some(({ id }) => id === SERVER_ID)
    ? `${SERVER_ID} then comes from the same build as ${SHARED_RUNGS.join(' and ')}, unless a path is given`
    : null;
}

/** The server that the shared environment builds beside its library. */
export function serverIn(root: string, platform: NodeJS.Platform): string {
  return join(root, 'bin', platform === 'win32' ? `${SERVER_ID}.exe` : SERVER_ID);
}

/** Facts with `libraryId` for every engine that lies in the shared environment: those are one build. */
export async function withLibraryIds(
  facts: readonly EngineFacts[],
  environments: EnvironmentLocator,
): Promise<EngineFacts[]> {
  const shared = await environments.inspect(SHARED_ENVIRONMENT);
  if (shared.state !== 'ready') return [...facts];
  const { 'llama.cpp': library = '?', [SHARED_ENVIRONMENT]: binding = '?' } = shared.packages;
  const libraryId = `llama.cpp ${library}, compiled here for ${SHARED_ENVIRONMENT} ${binding}`;
  return facts.map((engine) =>
    engine.location !== null && isInside(shared.root, engine.location) ? { ...engine, libraryId } : engine,
  );
}

/** The folder itself counts as inside. */
export function isInside(folder: string, path: string): boolean {
  if (!isAbsolute(path)) return false;
  const way = relative(folder, path);
  return !/^\.\.([\\/]|$)/.test(way) && !isAbsolute(way);
}
