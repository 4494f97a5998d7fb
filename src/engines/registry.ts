import { existsSync, readdirSync } from 'node:fs';
import { basename, extname, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Engine } from '../core/engine.ts';
import { AppError, messageOf } from '../core/errors.ts';
import { assert } from '../core/assert.ts';

const FOLDER = new URL('./', import.meta.url);
const NOT_ENGINES = new Set(['registry']);

/** Ids of all engines: the file names of this folder. A new engine is a new file here, nothing else. */
export function engineIds(): string[] {
  return readdirSync(fileURLToPath(FOLDER), { withFileTypes: true })
    .filter((entry) => entry.isFile() && /^[a-z0-9-]+\.(ts|js)$/.test(entry.name))
    .map((entry) => entry.name.replace(/\.(ts|js)$/, ''))
    .filter((id) => !NOT_ENGINES.has(id))
    .toSorted();
}

/**
 * Imports one adapter, and only that one: by id, or by the path of a file of the user's own that exports `engine`.
 * @throws AppError `usage` for an unknown id or a file that is no adapter.
 */
export async function loadEngine(id: string): Promise<Engine> {
  if (isAdapterFile(id)) return loadAdapterFile(id);
  const known = engineIds();
  if (!known.includes(id)) {
    throw new AppError('usage', `there is no engine "${id.slice(0, 60)}"`, { hint: `Engines: ${known.join(', ')}.` });
  }
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const module = (await import(new URL(`${id}.${extension}`, FOLDER).href)) as { engine?: Engine };
  assert(module.engine?.id === id, `src/engines/${id} must export "engine" with the id of its file`);
  return module.engine;
}

/** An engine may be named by the path of a user's own adapter file. */
export function isAdapterFile(id: string): boolean {
  return /\.(m?js|ts)$/.test(id);
}

async function loadAdapterFile(path: string): Promise<Engine> {
  if (!existsSync(path)) throw new AppError('usage', `there is no engine adapter ${path}`);
  const module = await importAdapter(path);
  const id = basename(path, extname(path));
  if (module.engine?.id !== id) {
    throw new AppError('usage', `${path} does not export an "engine" whose id is "${id}"`, {
      hint: 'docs/CONTRIBUTING.md shows what an adapter looks like.',
    });
  }
  return module.engine;
}

async function importAdapter(path: string): Promise<{ engine?: Engine }> {
  try {
    return (await import(pathToFileURL(resolve(path)).href)) as { engine?: Engine };
  } catch (error) {
    throw new AppError('usage', `the adapter ${path} cannot be loaded: ${messageOf(error).split('\n')[0]}`, {
      cause: error,
    });
  }
}
