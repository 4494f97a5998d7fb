/** The main job: a new run, or an interrupted one continued, to its record and reports. */
import { join } from 'node:path';
import { deriveRecord } from '../core/derive/derive-record.ts';
import { AppError } from '../core/errors.ts';
import type { Manifest, RunRecord } from '../core/record.ts';
import { createRun, makeRunFolder, readRun, resumeRun } from '../store/run-folder.ts';
import type { RunLog } from '../store/run-folder.ts';
import { realMachinery } from './machinery.ts';
import { measure } from './measure.ts';
import { asAsked } from './plan.ts';
import type { PlanFile } from './plan.ts';
import type { PreparedRun } from './prepare.ts';
import { writeReports } from './report.ts';
import type { Ui } from './ui.ts';

export interface RunAsk {
  readonly prepared: PreparedRun;
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

export interface RunResult {
  readonly folder: string;
  readonly record: RunRecord;
  readonly state: 'complete' | 'interrupted';
  readonly reportPath: string;
}

/** Before minutes are spent on preparing: can the record be written where it is wanted? */
export async function checkRunFolder(folder: string): Promise<void> {
  await makeRunFolder(folder);
}

/** Measures a prepared run in a new folder. */
export async function startRun(ask: RunAsk): Promise<RunResult> {
  const log = await createRun(ask.folder, ask.prepared.manifest);
  for (const message of ask.prepared.warnings)
    await log.append({ type: 'warning', code: 'model', engine: null, message: message.slice(0, 1_900), hint: null });
  return finish(log, ask, ask.prepared.manifest.plan.budgetMs);
}

/** What a stopped run was asked to do, so that the same can be prepared again. */
export async function askAgain(folder: string): Promise<PlanFile> {
  const { plan } = (await readRun(folder)).manifest;
  return {
    model: plan.model,
    engines: plan.engines,
    prompts: plan.prompts.map(asAsked),
    generate: plan.generateTokens,
    blocks: plan.blocks,
    threads: plan.threads,
    seed: plan.seed,
    gpu: plan.gpu,
    ladder: plan.ladder,
    tuned: plan.tuned,
    budgetSeconds: plan.budgetMs / 1_000,
  };
}

/** Goes on where a run stopped. The engines, the model and the plan must be what they were. */
export async function continueRun(ask: RunAsk & { readonly budgetMs: number | null }): Promise<RunResult> {
  const log = await resumeRun(ask.folder);
  const difference = differs(log.manifest, ask.prepared.manifest);
  if (difference !== null) {
    await log.close();
    throw new AppError('record-invalid', `${ask.folder} cannot be continued: ${difference}`, {
      hint: 'Start a new run: halves measured under different conditions are not one comparison.',
    });
  }
  return finish(log, ask, ask.budgetMs ?? log.manifest.plan.budgetMs);
}

async function finish(log: RunLog, ask: RunAsk, budgetMs: number): Promise<RunResult> {
  const { prepared, signal, ui } = ask;
  try {
    const state = await measure({ ...prepared, log, budgetMs, machinery: realMachinery, signal, ui });
    const record = deriveRecord(log.manifest, log.events);
    await writeReports(log.path, record, log.events);
    return { folder: log.path, record, state, reportPath: join(log.path, 'report.html') };
  } finally {
    await log.close();
  }
}

/** What must not change between the sessions of one run; null when nothing did. */
function differs(before: Manifest, now: Manifest): string | null {
  if (before.models[0]?.sha256 !== now.models[0]?.sha256) return 'the model file has changed';
  if (before.machine.cpu !== now.machine.cpu || before.machine.os !== now.machine.os)
    return `it was measured on another machine (${before.machine.cpu})`;
  for (const engine of before.engines.filter(({ state }) => state === 'available')) {
    const current = now.engines.find(({ id }) => id === engine.id);
    if (current?.state !== 'available') return `${engine.id} is not available any more`;
    if (current.build?.version !== engine.build?.version)
      return `${engine.id} was ${engine.build?.version} and is ${current.build?.version} now`;
  }
  return null;
}
