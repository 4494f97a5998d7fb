/** Finds the engines of a plan, installs what can be installed, and says exactly why the others are missing. */
import { statSync } from 'node:fs';
import { AppError, messageOf } from '../core/errors.ts';
import type { AvailableEngine, Detection, Engine, EngineHost } from '../core/engine.ts';
import type { EngineFacts } from '../core/record.ts';
import { keptShipping } from '../core/shipping-schema.ts';
import { loadEngine } from '../engines/registry.ts';
import type { Environments } from '../platform/environments/environments.ts';
import { findOnPath } from '../platform/process/find-on-path.ts';
import { inspectProgram } from './inspect-program.ts';
import type { Ui } from './ui.ts';

export interface EngineAsk {
  /** Ids, or paths of adapter files. */
  readonly engines: readonly string[];
  /** From --engine-path ID=PATH. */
  readonly enginePaths: ReadonlyMap<string, string>;
  /** Asked before anything is installed; `false` leaves the engine out. With minutes: it is compiled here. */
  readonly mayInstall: (question: string, compileMinutes?: number) => Promise<boolean>;
  readonly environments: Environments;
  /** Where to find an engine that the user gave no path for; null: its adapter looks by itself. */
  readonly pathFor?: (id: string) => Promise<string | null>;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

export interface FoundEngine {
  readonly engine: Engine;
  readonly found: AvailableEngine;
}

/** @returns the engines that can run, and the facts of all that were asked for, in the order asked. */
export async function prepareEngines(ask: EngineAsk): Promise<{ found: FoundEngine[]; facts: EngineFacts[] }> {
  const found: FoundEngine[] = [];
  const facts: EngineFacts[] = [];
  for (const spec of ask.engines) {
    ask.signal.throwIfAborted();
    const { name, path } = parseEngineSpec(spec);
    const engine = withOwnId(
      await loadEngine(name),
      facts.map(({ id }) => id),
    );
    const detection = await detectAndInstall(engine, await hostFor(engine, path, ask), ask);
    const recorded = recordedEngine(engine, detection);
    if (isGivenTwice(facts, recorded, detection)) throw new AppError('usage', `${spec} is given twice`);
    facts.push(toFacts(recorded, detection));
    if (detection.state === 'available') found.push({ engine: recorded, found: detection });
    else ask.ui.line(`${engine.id}: not available: ${factsReason(detection)}`);
  }
  return { found, facts };
}

/** Servers are told apart by their address, so one adapter may measure several: openai, openai-2, ... */
function withOwnId(engine: Engine, taken: readonly string[]): Engine {
  if (!taken.includes(engine.id)) return engine;
  if (engine.modelFormat !== 'served') throw new AppError('usage', `the engine ${engine.id} is given twice`);
  for (let number = 2; ; number++)
    if (!taken.includes(`${engine.id}-${number}`)) return { ...engine, id: `${engine.id}-${number}` };
}

function isGivenTwice(facts: readonly EngineFacts[], { id, modelFormat }: Engine, detection: Detection): boolean {
  if (facts.some((other) => other.id === id)) return true;
  if (modelFormat !== 'served' || detection.state !== 'available') return false;
  return facts.some(({ location }) => location === detection.location);
}

/** Pure: what answers in an engine's place never appears under its name. */
function recordedEngine(engine: Engine, detection: Detection): Engine {
  const name = detection.state === 'available' ? detection.recordedAs : undefined;
  return name === undefined ? engine : { ...engine, id: name };
}

async function detectAndInstall(engine: Engine, host: EngineHost, ask: EngineAsk): Promise<Detection> {
  const first = await detect(engine, host);
  if (first.state !== 'installable' || engine.environment === null) return first;
  const megabytes = Math.round(first.downloadBytes / 1e6);
  const question = `Install ${first.what} for ${engine.id} (about ${megabytes} MB, kept in the cache)?`;
  if (!(await ask.mayInstall(question, first.compileMinutes))) return first;
  ask.ui.line(`${engine.id}: installing ${first.what} (about ${megabytes} MB, kept in the cache) …`);
  try {
    await ask.environments.ensure(engine.environment, { signal: ask.signal });
  } catch (error) {
    if (ask.signal.aborted) throw error;
    const hint = error instanceof AppError ? error.hint : undefined;
    return {
      state: 'unavailable',
      reason: messageOf(error),
      nextStep: hint ?? 'Check the network connection and run again.',
    };
  }
  return detect(engine, host);
}

/** An adapter that breaks is an engine that is missing, not the end of the run. */
async function detect(engine: Engine, host: EngineHost): Promise<Detection> {
  try {
    return await engine.detect(host);
  } catch (error) {
    return {
      state: 'unavailable',
      reason: `its detection failed: ${messageOf(error)}`,
      nextStep: 'Report this with the line above.',
    };
  }
}

/** Where engines are looked for. */
export type EnginePlaces = Pick<EngineAsk, 'enginePaths' | 'environments' | 'pathFor'>;

/**
 * Looks for one engine; changes nothing.
 * @param spec an id, `ID=PATH`, or the path of an adapter file
 * @throws AppError `usage` for an unknown id and for a path where there is no file
 */
export async function lookAtEngine(
  spec: string,
  places: EnginePlaces,
): Promise<{ readonly engine: Engine; readonly detection: Detection }> {
  const { name, path } = parseEngineSpec(spec);
  const engine = await loadEngine(name);
  return { engine, detection: await detect(engine, await hostFor(engine, path, places)) };
}

export interface EngineSighting {
  readonly id: string;
  readonly engine: Engine;
  readonly text: string;
  /** It is not there, and a run would install it. */
  readonly isInstallable: boolean;
  readonly found: AvailableEngine | null;
}

/** What is there and what would be installed; changes nothing. */
export async function lookAtEngines(ask: EnginePlaces & Pick<EngineAsk, 'engines'>): Promise<EngineSighting[]> {
  const sightings: EngineSighting[] = [];
  for (const spec of ask.engines) {
    const { engine, detection } = await lookAtEngine(spec, ask);
    const text =
      detection.state === 'available'
        ? detection.build.version
        : detection.state === 'installable'
          ? `would install ${detection.what} (about ${Math.round(detection.downloadBytes / 1e6)} MB)`
          : `not available: ${factsReason(detection)}`;
    sightings.push({
      id: engine.id,
      engine,
      text,
      isInstallable: detection.state === 'installable',
      found: detection.state === 'available' ? detection : null,
    });
  }
  return sightings;
}

/** `ID`, `ID=PATH`, `ID=URL`, or the path of an adapter file. */
export function parseEngineSpec(spec: string): { name: string; path: string | null } {
  const match = /^([a-z0-9-]+)=(.+)$/s.exec(spec);
  return match === null ? { name: spec, path: null } : { name: match[1] ?? '', path: match[2] ?? '' };
}

export function isUrl(path: string): boolean {
  return /^https?:\/\//i.test(path);
}

async function hostFor(engine: Engine, given: string | null, ask: EnginePlaces): Promise<EngineHost> {
  const enginePath = given ?? ask.enginePaths.get(engine.id) ?? (await ask.pathFor?.(engine.id)) ?? null;
  if (enginePath !== null && !isUrl(enginePath) && !statSync(enginePath, { throwIfNoEntry: false })?.isFile()) {
    throw new AppError('usage', `${engine.id}=${enginePath}: there is no such file`);
  }
  return { enginePath, findOnPath, environments: ask.environments, inspectProgram };
}

function factsReason(detection: Exclude<Detection, { state: 'available' }>): string {
  return detection.state === 'installable'
    ? `${detection.what} is not installed. Next: ${howToInstall(detection).replace(/^R/, 'r')}`
    : `${detection.reason.replace(/\.?$/, '.')} Next: ${detection.nextStep}`;
}

function howToInstall({ compileMinutes }: Extract<Detection, { state: 'installable' }>): string {
  return compileMinutes === undefined ? 'Run without --no-install.' : 'Run without --no-install and --no-compile.';
}

function toFacts(engine: Engine, detection: Detection): EngineFacts {
  const available = detection.state === 'available' ? detection : null;
  const base = {
    id: engine.id,
    title: engine.title,
    modelFormat: engine.modelFormat,
    numericMode: null,
    settings: null,
    command: null,
    shipping: keptShipping(engine.shipping),
  };
  if (available !== null) {
    const { build, device, location, referenceBackend, runningInstance = false } = available;
    return {
      ...base,
      state: 'available',
      reason: null,
      nextStep: null,
      build,
      device,
      location,
      referenceBackend,
      runningInstance,
    };
  }
  const missing = {
    ...base,
    state: 'unavailable' as const,
    build: null,
    device: null,
    location: null,
    referenceBackend: null,
    runningInstance: false,
  };
  if (detection.state === 'installable') {
    return { ...missing, reason: `${detection.what} is not installed`, nextStep: howToInstall(detection) };
  }
  const { reason, nextStep } = detection as Extract<Detection, { state: 'unavailable' }>;
  return { ...missing, reason: reason.slice(0, 1_900), nextStep: nextStep.slice(0, 1_900) };
}
