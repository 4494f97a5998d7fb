/**
 * Managed environments: engines that the user need not install, kept in the cache folder and made again when broken.
 * Each is described by a folder of environments/.
 */
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { EnvironmentLocator } from '../../core/engine.ts';
import { AppError } from '../../core/errors.ts';
import { folderBytes, freeBytes } from '../folders.ts';
import { logPathOf } from './build-step.ts';
import { minutesHere } from './compile-progress.ts';
import { DEFINITIONS_FOLDER, listDefinitions, loadDefinition, sizesOf } from './definition.ts';
import type { Definition } from './definition.ts';
import { withLock } from './lock.ts';
import { readMarker, writeMarker } from './marker.ts';
import { folderNames, placeOf, targetOf } from './target.ts';
import type { Place, Target } from './target.ts';

export interface EnvironmentsOptions {
  readonly cacheFolder: string;
  readonly onProgress: (text: string) => void;
  /** `auto` gives GPU binaries to a machine that has a GPU for them. Default `off`. */
  readonly gpu?: 'off' | 'auto';
  /** Tests bring their own. */
  readonly definitionsFolder?: string;
}

type Inspection = Awaited<ReturnType<EnvironmentLocator['inspect']>>;
export type ReadyEnvironment = Extract<Inspection, { state: 'ready' }>;

export interface EnvironmentFacts {
  readonly id: string;
  readonly title: string;
  readonly state: Inspection['state'];
  readonly root: string;
  /** Of all its variants. */
  readonly bytes: number;
}

export interface Environments extends EnvironmentLocator {
  /** Makes it where it is missing or broken. @throws AppError `environment-failed` (hint: the next step), `interrupted`. */
  ensure(id: string, options?: { readonly signal?: AbortSignal }): Promise<ReadyEnvironment>;
  /** Deletes all variants of it. */
  remove(id: string): Promise<void>;
  /** Every known environment, with its size on disk. */
  list(): Promise<EnvironmentFacts[]>;
}

export function createEnvironments(options: EnvironmentsOptions): Environments {
  return new ManagedEnvironments(options);
}

class ManagedEnvironments implements Environments {
  readonly #folder: string;
  readonly #definitions: string;
  readonly #gpu: 'off' | 'auto';
  readonly #onProgress: (text: string) => void;

  constructor({ cacheFolder, onProgress, gpu = 'off', definitionsFolder = DEFINITIONS_FOLDER }: EnvironmentsOptions) {
    this.#folder = join(cacheFolder, 'environments');
    this.#definitions = definitionsFolder;
    this.#gpu = gpu;
    this.#onProgress = onProgress;
  }

  async inspect(id: string): Promise<Inspection> {
    const definition = await loadDefinition(this.#definitions, id);
    const place = await this.#placeOf(definition);
    const ready = await readReady(place);
    return ready ?? describeMissing(definition, place, await targetOf(definition, place));
  }

  async ensure(id: string, { signal }: { readonly signal?: AbortSignal } = {}): Promise<ReadyEnvironment> {
    const definition = await loadDefinition(this.#definitions, id);
    const place = await this.#placeOf(definition);
    return (await readReady(place)) ?? this.#locked(id, signal, () => this.#build(definition, place, signal));
  }

  async remove(id: string): Promise<void> {
    await loadDefinition(this.#definitions, id);
    await this.#locked(id, undefined, async () => {
      for (const root of await this.#rootsOf(id)) await rm(root, { recursive: true, force: true });
    });
  }

  async list(): Promise<EnvironmentFacts[]> {
    const ids = await listDefinitions(this.#definitions);
    return Promise.all(ids.map((id) => this.#factsOf(id)));
  }

  async #factsOf(id: string): Promise<EnvironmentFacts> {
    const definition = await loadDefinition(this.#definitions, id);
    const { root } = await this.#placeOf(definition);
    const { state } = await this.inspect(id);
    const sizes = await Promise.all((await this.#rootsOf(id)).map(folderBytes));
    return { id, title: definition.title, state, root, bytes: sizes.reduce((sum, size) => sum + size, 0) };
  }

  async #build(definition: Definition, place: Place, signal: AbortSignal | undefined): Promise<ReadyEnvironment> {
    // Another runoff may have made it while we waited for the lock.
    const ready = await readReady(place);
    if (ready !== null) return ready;
    const { root } = place;
    const { title } = definition;
    const target = await targetOf(definition, place);
    if (target.state === 'impossible') throw new AppError('environment-failed', target.reason, { hint: target.nextStep });
    if (existsSync(root)) this.#onProgress(`${title}: repairing`);
    await rm(root, { recursive: true, force: true });
    await checkRoom(title, sizesOf(definition, process).diskBytes + place.gpuBytes, this.#folder);
    const packages = await target.build({ title, root, signal, onProgress: this.#onProgress });
    await rm(logPathOf(root), { force: true });
    await writeMarker(place, packages);
    return { state: 'ready', root, runtime: place.runtime, packages };
  }

  #placeOf(definition: Definition): Promise<Place> {
    return placeOf(definition, this.#folder, this.#gpu);
  }

  #locked<T>(id: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const onWait = (pid: number): void => this.#onProgress(`waiting for another runoff (process ${pid}) that works on ${id}`);
    return withLock(join(this.#folder, `${id}.lock`), { signal, onWait }, work);
  }

  /** The variants that lie on disk. */
  async #rootsOf(id: string): Promise<string[]> {
    const there = await readdir(this.#folder).catch((): string[] => []);
    const names = folderNames(id).filter((name) => there.includes(name));
    return names.map((name) => join(this.#folder, name));
  }
}

async function readReady(place: Place): Promise<ReadyEnvironment | null> {
  const marker = await readMarker(place);
  return marker === null ? null : { state: 'ready', root: place.root, runtime: place.runtime, packages: marker.packages };
}

function describeMissing(definition: Definition, { root, gpuBytes }: Place, target: Target): Inspection {
  if (target.state === 'impossible') return target;
  const state = existsSync(root) ? 'broken' : 'absent';
  const downloadBytes = sizesOf(definition, process).downloadBytes + gpuBytes;
  const compile = definition.kind === 'python' ? definition.compile : undefined;
  if (compile === undefined) return { state, what: definition.title, downloadBytes };
  const compileMinutes = minutesHere(compile.minutes, availableParallelism());
  const time = `${compileMinutes} minute${compileMinutes === 1 ? '' : 's'}`;
  return { state, what: `${definition.title} (compiled here, about ${time})`, downloadBytes, compileMinutes };
}

async function checkRoom(title: string, diskBytes: number, folder: string): Promise<void> {
  const free = await freeBytes(folder);
  if (free === null || free > diskBytes) return;
  const [needed, left] = [diskBytes, free].map((bytes) => Math.ceil(bytes / 1e6));
  throw new AppError('environment-failed', `${title} needs ${needed} MB in ${folder}, ${left} MB are free`, {
    hint: 'Free some disk space, or name another cache folder with RUNOFF_CACHE.',
  });
}
