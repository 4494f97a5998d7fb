/** What it takes to ship the engines, declared and measured here: `runoff engines --facts`. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { AppError, messageOf } from '../core/errors.ts';
import type { AvailableEngine, Engine, EngineSettings } from '../core/engine.ts';
import type { Machine } from '../core/record.ts';
import type { ShippingFacts } from '../core/shipping-facts.ts';
import { engineIds } from '../engines/registry.ts';
import { loadTokenizer } from '../models/tokenizer/load-tokenizer.ts';
import type { Environments } from '../platform/environments/environments.ts';
import { findPython } from '../platform/environments/python.ts';
import { cacheFolder } from '../platform/folders.ts';
import { readMachine } from '../platform/machine/machine.ts';
import { coldStartPrompt, keepColdStart, measureColdStart, readColdStarts } from './cold-start.ts';
import type { ColdStart, ColdStartPrompt } from './cold-start.ts';
import { demonstrationModel } from './demonstration-model.ts';
import { installedSize } from './engine-size.ts';
import type { InstalledSize } from './engine-size.ts';
import { overviewEngines } from './engines.ts';
import { realMachinery } from './machinery.ts';
import type { PreparedEngine } from './machinery.ts';
import { lookAtEngine } from './prepare-engines.ts';
import type { EnginePlaces } from './prepare-engines.ts';
import { prepareMlx, prepareModel } from './prepare-model.ts';
import type { ModelAsk, PreparedModel } from './prepare-model.ts';
import type { Ui } from './ui.ts';

/** Enough for the eight tokens, small enough that no engine spends its start on an empty cache. */
const CONTEXT_TOKENS = 1_024;
const BATCH_TOKENS = 512;

/** One engine as `runoff engines --facts --json` prints it. */
export interface EngineShipping {
  readonly id: string;
  readonly title: string;
  /** Null where the adapter declares none. */
  readonly shipping: ShippingFacts | null;
  /** Null where it is not installed here. */
  readonly version: string | null;
  /** Null where it is not installed here, or runs elsewhere. */
  readonly installed: InstalledSize | null;
  /** Of this machine and this version; one per model. */
  readonly coldStarts: readonly ColdStart[];
}

interface FactsAsk extends EnginePlaces {
  /** None: every engine of the registry. */
  readonly specs: readonly string[];
  readonly environments: Environments;
}

/** Reads and looks; measures and installs nothing. @throws AppError `usage` for an unknown id. */
export async function engineShipping(ask: FactsAsk): Promise<EngineShipping[]> {
  const overviews = await overviewEngines(ask.specs, ask);
  const kept = await readColdStarts(coldStartFolder(), await readMachine());
  return Promise.all(
    overviews.map(async ({ id, title, shipping, detection, managed, environment }) => {
      const found = detection.state === 'available' ? detection : null;
      const version = found?.build.version ?? null;
      return {
        id,
        title,
        shipping,
        version,
        installed: found === null ? null : await installedSize(found, managed ? environment : null, ask.environments),
        coldStarts: kept.filter((entry) => entry.engine === id && entry.version === version),
      };
    }),
  );
}

export interface MeasureAsk extends FactsAsk {
  /** As for a run; undefined: the demonstration model, when it is in the cache. */
  readonly model: string | undefined;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

/**
 * Measures the cold start of every engine that is there and keeps the results in the cache folder.
 * @throws AppError `model-not-found` while there is no model, `usage`, `interrupted`
 */
export async function measureColdStarts(ask: MeasureAsk): Promise<void> {
  const { ui, signal } = ask;
  const specs = ask.specs.length === 0 ? engineIds() : ask.specs;
  const looks = await Promise.all(specs.map((spec) => lookAtEngine(spec, ask)));
  const modelAsk: ModelAsk = {
    spec: ask.model ?? demonstrationInCache(),
    cacheFolder: cacheFolder(),
    python: (await findPython())?.path ?? null,
    offlineBecause: 'runoff engines downloads nothing',
    signal,
    ui,
  };
  const model = await prepareModel(modelAsk);
  const prompt = coldStartPrompt(await loadTokenizer(model.path), model.gguf);
  const machine = await readMachine();
  for (const { engine, detection } of looks) {
    if (detection.state !== 'available') {
      ui.line(`${engine.id}: cold start not measured: it is not installed`);
      continue;
    }
    try {
      await measureOne(engine, detection, { ...ask, model, modelAsk, prompt, machine });
    } catch (error) {
      if (signal.aborted || !(error instanceof AppError)) throw error;
      ui.line(`${engine.id}: cold start not measured: ${messageOf(error)}`);
    }
  }
  ui.done();
}

interface MeasureOne {
  readonly model: PreparedModel;
  readonly modelAsk: ModelAsk;
  readonly prompt: ColdStartPrompt;
  readonly machine: Machine;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

async function measureOne(engine: Engine, found: AvailableEngine, ask: MeasureOne): Promise<void> {
  const { model, machine, prompt, signal, ui } = ask;
  const { sha256 } = model.facts;
  const prepared = await prepareFor(engine, found, ask);
  if (prepared === null || sha256 === null) {
    ui.line(`${engine.id}: cold start not measured: runoff does not start this one itself`);
    return;
  }
  const settings = settingsFor(machine);
  const { startsMs, device } = await measureColdStart(realMachinery, { prepared, settings, prompt, signal, ui });
  await keepColdStart(coldStartFolder(), {
    schemaVersion: 1,
    engine: engine.id,
    version: found.build.version,
    device,
    model: { name: model.facts.name, sha256 },
    machine: { os: machine.os, cpu: machine.cpu, physicalCores: machine.physicalCores },
    threads: settings.threads,
    promptTokens: prompt.promptTokens.length,
    date: new Date().toISOString().slice(0, 10),
    startsMs,
  });
}

/** Null for an engine that serves its own copy of a model, or runs already. */
async function prepareFor(
  engine: Engine,
  found: AvailableEngine,
  { model, modelAsk }: MeasureOne,
): Promise<PreparedEngine | null> {
  if (engine.modelFormat === 'served' || found.runningInstance === true) return null;
  if (engine.modelFormat === 'gguf') return { engine, found, modelPath: model.path, modelSha256: model.facts.sha256 };
  const mlx = await prepareMlx(model, found.device, modelAsk);
  return { engine, found, modelPath: mlx.path, modelSha256: null };
}

function settingsFor(machine: Machine): EngineSettings {
  return {
    threads: Math.min(machine.physicalCores, availableParallelism()),
    contextTokens: CONTEXT_TOKENS,
    batchTokens: BATCH_TOKENS,
    microBatchTokens: BATCH_TOKENS,
    kvType: 'f16',
    flashAttention: true,
    mmap: true,
    gpu: 'auto',
  };
}

function demonstrationInCache(): string {
  const path = demonstrationModel(cacheFolder());
  if (existsSync(path)) return path;
  throw new AppError('model-not-found', 'the demonstration model is not in the cache yet', {
    hint: 'runoff setup fetches it (98 MB); or name a .gguf file with --model.',
  });
}

function coldStartFolder(): string {
  return join(cacheFolder(), 'cold-starts');
}
