/** `runoff doctor`: collects facts of this machine, the engines and a model, and says what will go wrong. Measures nothing. */
import { join, resolve } from 'node:path';
import { diagnose } from '../core/doctor/diagnose.ts';
import type { DoctorFacts, EngineLook, ModelLook, PlanNeeds } from '../core/doctor/facts.ts';
import { diagnosisSchema } from '../core/doctor/finding.ts';
import type { Diagnosis } from '../core/doctor/finding.ts';
import { bytesText } from '../core/doctor/quantity.ts';
import type { Plan } from '../core/record.ts';
import { engineIds, loadEngine } from '../engines/registry.ts';
import { headersFolder } from '../models/sources/headers-folder.ts';
import { lookAtActivity } from '../platform/doctor/activity.ts';
import { readHost } from '../platform/doctor/host.ts';
import { readLlamafileHost, readQuarantine } from '../platform/doctor/llamafile-host.ts';
import { loaderFolder, readMounts, readPlace } from '../platform/doctor/places.ts';
import { cacheFolder } from '../platform/folders.ts';
import { GATE_CONTEXT_TOKENS } from './check-engine.ts';
import { lookAtEngineForDoctor } from './doctor-engines.ts';
import { isLlamafilePath } from './doctor-model.ts';
import { findModel } from './doctor-target.ts';
import type { ModelTarget } from './doctor-target.ts';
import { DEFAULT_ENGINES, makePlan } from './plan.ts';
import { parseEngineSpec } from './prepare-engines.ts';
import type { EnginePlaces } from './prepare-engines.ts';
import type { Ui } from './ui.ts';

const LLAMAFILE_ENGINE = 'llamafile';
/** As a run rounds it. */
const CONTEXT_STEP_TOKENS = 256;

export interface DoctorAsk extends EnginePlaces {
  /** Path of a .gguf or .llamafile, or `hf:OWNER/NAME[:FILE]`; null: the demonstration model, where it is in the cache. */
  readonly model: string | null;
  /** None: those of the default run. */
  readonly engines: readonly string[];
  readonly ui: Ui;
}

/** @throws AppError `model-not-found` and `usage` for what was named wrongly; a damaged model is a finding. */
export async function examine(ask: DoctorAsk): Promise<Diagnosis> {
  const target = await findModel(ask.model, {
    headersFolder: headersFolder(join(cacheFolder(), 'models')),
    onProgress: (text) => ask.ui.status(text),
  });
  // A mistyped id is told at once, not after a second of looking.
  for (const spec of ask.engines) await loadEngine(parseEngineSpec(spec).name);
  const facts = await collect(target, ask);
  const { host, engines } = facts;
  return diagnosisSchema.parse({
    schemaVersion: 1,
    machine: `${host.platform} ${host.arch}, ${host.cores} cores, ${bytesText(host.memory.totalBytes)} of memory`,
    model: target?.name ?? null,
    engines: engines.map(({ id }) => id),
    findings: diagnose(facts),
  });
}

async function collect(target: ModelTarget | null, ask: DoctorAsk): Promise<DoctorFacts> {
  const path = target?.name ?? null;
  ask.ui.status('Looking at the machine for a second');
  // First and alone: what is started below would count as other programs.
  const { thermal, ...activity } = await lookAtActivity();
  ask.ui.status('Looking at engines and folders');
  const mounts = await readMounts();
  const [{ host, gpus }, engines, model, plan, ...places] = await Promise.all([
    readHost(thermal),
    lookAtAll(path, ask),
    target === null ? null : target.look(mounts),
    planNeeds(),
    readPlace('cache', cacheFolder(), mounts),
    readPlace('runs', resolve('runs'), mounts),
    readPlace('loader', loaderFolder(process.env), mounts),
  ]);
  const concernsLlamafile =
    (path !== null && isLlamafilePath(path)) || engines.some(({ id }) => id === LLAMAFILE_ENGINE);
  return {
    host,
    gpus,
    places,
    activity,
    engines,
    model,
    plan,
    llamafile: concernsLlamafile ? await readLlamafileHost() : null,
    quarantine: await readQuarantine(programs(engines, model)),
  };
}

function lookAtAll(path: string | null, ask: DoctorAsk): Promise<EngineLook[]> {
  const asked = ask.engines.length > 0 ? ask.engines : DEFAULT_ENGINES;
  const isLlamafile = path !== null && isLlamafilePath(path);
  const more =
    ask.engines.length === 0 && isLlamafile && engineIds().includes(LLAMAFILE_ENGINE) ? [LLAMAFILE_ENGINE] : [];
  return Promise.all([...asked, ...more].map((spec) => lookAtEngineForDoctor(spec, ask)));
}

/** Files that the system would be asked to start. */
function programs(engines: readonly EngineLook[], model: ModelLook | null): string[] {
  const own = engines.flatMap(({ ownProgram }) => (ownProgram === null ? [] : [ownProgram]));
  return model?.state === 'readable' && model.hazards !== null ? [...own, model.path] : own;
}

/** From the plan that a run would make, so that the two cannot differ. */
async function planNeeds(): Promise<PlanNeeds> {
  const context = {
    physicalCores: 1,
    randomSeed: 0,
    countFileTokens: async () => null,
    countStudyTokens: async () => 0,
  };
  const [standard, study] = await Promise.all([makePlan({}, context), makePlan({ study: true }, context)]);
  const requestTokens = longestRequest(standard);
  return {
    requestTokens,
    generateTokens: standard.generateTokens,
    studyTokens: longestRequest(study),
    contextTokens:
      Math.ceil((Math.max(requestTokens, GATE_CONTEXT_TOKENS) + 1) / CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS,
  };
}

function longestRequest({ prompts, generateTokens }: Plan): number {
  return Math.max(...prompts.map(({ tokenCount }) => tokenCount)) + generateTokens;
}
