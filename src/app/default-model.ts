/** The model of a run that names none: facts of the engines and the machine, for the decision in core. */
import { join } from 'node:path';
import { chooseDefaultModel, TWIN_1B } from '../core/protocol/default-model.ts';
import type { DefaultModelChoice, DefaultModelEngine } from '../core/protocol/default-model.ts';
import type { AvailableEngine, Engine } from '../core/engine.ts';
import { knownBest } from '../platform/canary/machine-watch.ts';
import { readHost } from '../platform/doctor/host.ts';
import { cacheFolder, freeBytes } from '../platform/folders.ts';
import { readMachine } from '../platform/machine/machine.ts';
import { expectedDevice } from './doctor-engines.ts';
import { DEFAULT_MODEL, NAMED_PROMPTS, planDefaults } from './plan.ts';
import type { PlanFile } from './plan.ts';

export interface DefaultModel {
  readonly spec: string;
  /** One sentence, for the plan that is shown before the start. */
  readonly reason: string;
}

interface FoundEngine {
  readonly engine: Pick<Engine, 'id' | 'modelFormat'>;
  readonly found: AvailableEngine;
}

export async function findDefaultModel(asked: PlanFile, found: readonly FoundEngine[]): Promise<DefaultModel> {
  const folder = cacheFolder();
  const [{ host, gpus }, { cpu }, diskFreeBytes] = await Promise.all([
    readHost(null),
    readMachine(),
    freeBytes(join(folder, 'twins')),
  ]);
  const threads = asked.threads ?? host.threads;
  const { prompts, generate, budgetMs, blocks, iterations } = planDefaults(asked);
  const choice = chooseDefaultModel({
    engines: found.map((engine) => engineFacts(engine, { folder, isOff: asked.gpu === 'off' })),
    prompts: prompts.map((prompt) => ({ name: String(prompt), tokenCount: lengthOf(prompt) })),
    generateTokens: generate,
    iterations,
    blocks,
    budgetMs,
    purpose: purposeOf(asked),
    threads,
    memory: host.memory,
    diskFreeBytes,
    readBytesPerS: (await knownBest({ cpu, threads }))?.readBytesPerS ?? null,
    cpu,
    cards: (gpus ?? [])
      .filter(({ vendor, driver, integrated }) => driver === 'works' && !integrated && vendor !== 'apple')
      .map(({ name, vendor }) => name ?? vendor),
  });
  return { spec: specOf(choice), reason: choice.reason };
}

function specOf({ model }: DefaultModelChoice): string {
  return model === 'twin' ? TWIN_1B.spec : DEFAULT_MODEL;
}

function engineFacts(
  { engine, found }: FoundEngine,
  { folder, isOff }: { readonly folder: string; readonly isOff: boolean },
): DefaultModelEngine {
  const managed = found.location.startsWith(join(folder, 'environments'));
  const { platform, arch } = process;
  return {
    id: engine.id,
    device: isOff ? 'cpu' : expectedDevice(found, { managed, platform, arch }),
    referenceBackend: found.referenceBackend,
    model: engine.modelFormat === 'served' ? 'own' : engine.modelFormat === 'mlx' ? 'copy' : 'file',
  };
}

/** Null: only a tokenizer tells. */
function lengthOf(prompt: string | number): number | null {
  const text = String(prompt);
  return NAMED_PROMPTS[text] ?? (/^\d{1,9}$/.test(text) ? Number(text) : null);
}

function purposeOf({ study, ladder, tuned }: PlanFile): 'study' | 'ladder' | 'tuned' | null {
  if (study === true) return 'study';
  if (ladder === true) return 'ladder';
  return tuned === true ? 'tuned' : null;
}
