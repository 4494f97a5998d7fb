/** What `runoff engines` knows and does: every engine with its state on this machine, installing and removing. */
import { join } from 'node:path';
import { AppError } from '../core/errors.ts';
import type { Capabilities, Detection, Engine } from '../core/engine.ts';
import type { ShippingFacts } from '../core/shipping-facts.ts';
import { keptShipping } from '../core/shipping-schema.ts';
import { engineIds, loadEngine } from '../engines/registry.ts';
import { createEnvironments } from '../platform/environments/environments.ts';
import type { Environments } from '../platform/environments/environments.ts';
import { cacheFolder } from '../platform/folders.ts';
import { lookAtEngine, prepareEngines } from './prepare-engines.ts';
import type { EnginePlaces } from './prepare-engines.ts';
import type { Ui } from './ui.ts';

/** One engine as `runoff engines --json` prints it. */
export interface EngineOverview {
  readonly id: string;
  readonly title: string;
  readonly modelFormat: Engine['modelFormat'];
  readonly capabilities: Capabilities;
  /** Managed environment that runoff can install for it. */
  readonly environment: string | null;
  /** Other engines that live in the same environment. */
  readonly sharesWith: readonly string[];
  /** It was found in its managed environment, not somewhere of the user's own. */
  readonly managed: boolean;
  readonly detection: Detection;
  /** Null where the adapter declares none. */
  readonly shipping: ShippingFacts | null;
}

/** Managed environments of this machine's cache folder; GPU binaries where there is a GPU, as a run takes them. */
export function ownEnvironments(ui: Ui): Environments {
  return createEnvironments({ cacheFolder: cacheFolder(), gpu: 'auto', onProgress: (text) => ui.status(text) });
}

/**
 * Looks for engines, all at once; installs nothing.
 * @param specs ids, `ID=PATH` or paths of adapter files; none: every engine of the registry
 * @throws AppError `usage` for an unknown id
 */
export async function overviewEngines(specs: readonly string[], places: EnginePlaces): Promise<EngineOverview[]> {
  const wanted = specs.length === 0 ? engineIds() : specs;
  const all = await Promise.all(engineIds().map(loadEngine));
  const looks = await Promise.all(wanted.map((spec) => lookAtEngine(spec, places)));
  return looks.map(({ engine, detection }) => toOverview(engine, detection, all));
}

function toOverview(engine: Engine, detection: Detection, all: readonly Engine[]): EngineOverview {
  const { id, title, modelFormat, capabilities, environment } = engine;
  const managedFolder = join(cacheFolder(), 'environments');
  return {
    id,
    title,
    modelFormat,
    capabilities,
    environment,
    sharesWith: sharing(engine, all),
    managed: detection.state === 'available' && detection.location.startsWith(managedFolder),
    detection,
    shipping: keptShipping(engine.shipping),
  };
}

/** Pure: ids of the other engines in the same managed environment. */
export function sharing(
  { id, environment }: Pick<Engine, 'id' | 'environment'>,
  all: readonly Pick<Engine, 'id' | 'environment'>[],
): string[] {
  if (environment === null) return [];
  return all.filter((other) => other.environment === environment && other.id !== id).map((other) => other.id);
}

export interface InstallAsk extends EnginePlaces {
  readonly specs: readonly string[];
  readonly environments: Environments;
  readonly mayInstall: (question: string) => Promise<boolean>;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

/**
 * Installs what runoff can install; says of the others what there is or why not.
 * @throws AppError `usage` for an unknown id, before anything is installed; `engine-unavailable` when one is not there
 * at the end, but for those that the user declined
 */
export async function installEngines(ask: InstallAsk): Promise<void> {
  const { specs, ui } = ask;
  const overviews = await overviewEngines(specs, ask);
  const missing: string[] = [];
  for (const [index, overview] of overviews.entries()) {
    const state = await installOne(overview, specs[index] ?? overview.id, ask);
    if (state === 'missing') missing.push(overview.id);
  }
  if (missing.length === 0) return;
  ui.done();
  throw new AppError('engine-unavailable', `not installed: ${missing.join(', ')}`, { hint: 'The reasons are above.' });
}

async function installOne(
  { id, detection, managed }: EngineOverview,
  spec: string,
  ask: InstallAsk,
): Promise<'there' | 'declined' | 'missing'> {
  const { ui } = ask;
  if (detection.state === 'available') {
    const where = managed ? 'installed already' : `there already, not from runoff (${detection.location})`;
    ui.line(`${id}: ${where}: ${detection.build.version}`);
    return 'there';
  }
  if (detection.state === 'unavailable') {
    ui.line(`${id}: cannot be installed: ${withFullStop(detection.reason)} Next: ${detection.nextStep}`);
    return 'missing';
  }
  const question = `Install ${detection.what} for ${id} (about ${megabytes(detection.downloadBytes)} MB, kept in the cache)?`;
  if (!(await ask.mayInstall(question))) {
    ui.line(`${id}: left as it is`);
    return 'declined';
  }
  const { found } = await prepareEngines({ ...ask, engines: [spec], mayInstall: async () => true });
  const [result] = found;
  if (result === undefined) return 'missing';
  ui.line(`✓ ${id}: ${result.found.build.version}`);
  return 'there';
}

export interface RemoveAsk {
  readonly ids: readonly string[];
  readonly environments: Environments;
  readonly mayRemove: (question: string) => Promise<boolean>;
  readonly ui: Ui;
}

/**
 * Removes managed environments and says what that freed. One environment can serve several engines: they are named.
 * @throws AppError `usage` for an unknown id and for an engine that runoff does not manage, before anything is removed
 */
export async function removeEngines({ ids, environments, mayRemove, ui }: RemoveAsk): Promise<void> {
  const engines = await Promise.all(ids.map(loadEngine));
  const all = await Promise.all(engineIds().map(loadEngine));
  const wanted = new Map(engines.map((engine) => [managedBy(engine), engine]));
  const states = await environments.list();
  for (const [environment, engine] of wanted) {
    const facts = states.find(({ id }) => id === environment);
    if (facts === undefined || facts.bytes === 0) {
      ui.line(`${engine.id}: nothing to remove: ${facts?.title ?? environment} is not installed`);
      continue;
    }
    const others = sharing(engine, all);
    const also = others.length === 0 ? '' : ` Without it ${others.join(', ')} cannot run either.`;
    const size = megabytes(facts.bytes);
    if (!(await mayRemove(`Remove ${facts.title} (${size} MB)?${also}`))) {
      ui.line(`${engine.id}: left as it is`);
      continue;
    }
    await environments.remove(environment);
    ui.line(`${[engine.id, ...others].join(', ')}: removed ${facts.title}, ${size} MB freed`);
  }
}

function managedBy({ id, environment }: Engine): string {
  if (environment !== null) return environment;
  throw new AppError('usage', `${id} is not managed by runoff: there is nothing that it installed`, {
    hint: `Remove it the way you installed it; runoff engines ${id} says where it is.`,
  });
}

/** Pure: megabytes as the command line prints them; anything takes at least 1. */
export function megabytes(bytes: number): number {
  return Math.max(1, Math.round(bytes / 1e6));
}

function withFullStop(text: string): string {
  return text.replace(/\.?$/, '.');
}
