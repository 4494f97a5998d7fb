/** Stored runs: a list of them, and two of them against each other. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { compareRuns, headlineChange, regressionGate } from '../core/derive/compare-runs.ts';
import type { Change, EngineChanges, GateOutcome, RunsCompared } from '../core/derive/compare-runs.ts';
import { deriveRecord } from '../core/derive/derive-record.ts';
import { AppError, messageOf } from '../core/errors.ts';
import type { RunRecord } from '../core/record.ts';
import { MANIFEST_FILE, readRun } from '../store/run-folder.ts';

/** More runs in one folder than anybody reads. */
const RUNS_MAX = 1_000;

export interface StoredRun {
  readonly folder: string;
  /** Null for a run that cannot be read; `problem` says why. */
  readonly record: RunRecord | null;
  readonly problem: string | null;
}

/** Every run below `folder`, oldest first. One that is damaged is listed with its problem. */
export async function listRuns(folder: string): Promise<StoredRun[]> {
  if (!existsSync(folder)) {
    throw new AppError('usage', `there is no folder ${folder}`, {
      hint: 'runoff run makes runs/; or name another folder.',
    });
  }
  const names = (await readdir(folder)).filter((name) => existsSync(join(folder, name, MANIFEST_FILE)));
  const runs: StoredRun[] = [];
  for (const name of names.toSorted().slice(-RUNS_MAX)) runs.push(await readStored(join(folder, name)));
  return runs.toSorted((a, b) => startOf(a).localeCompare(startOf(b)));
}

function startOf({ record }: StoredRun): string {
  return record?.manifest.startedAt ?? '';
}

async function readStored(folder: string): Promise<StoredRun> {
  try {
    return { folder, record: await readRecord(folder), problem: null };
  } catch (error) {
    return { folder, record: null, problem: messageOf(error) };
  }
}

async function readRecord(folder: string): Promise<RunRecord> {
  const { manifest, events } = await readRun(folder);
  return deriveRecord(manifest, events);
}

export interface Judged {
  readonly engine: string;
  readonly change: Change;
  readonly outcome: GateOutcome;
}

export interface StoredComparison {
  readonly before: string;
  readonly after: string;
  readonly compared: RunsCompared;
  /** One entry per engine when a limit was given. */
  readonly judged: readonly Judged[];
}

/** @param limit time ratio, e.g. 1.05 for "slower by 5%"; null to only show. */
export async function compareStored(before: string, after: string, limit: number | null): Promise<StoredComparison> {
  const compared = compareRuns(await readRecord(before), await readRecord(after));
  return { before, after, compared, judged: limit === null ? [] : judge(compared.engines, limit) };
}

function judge(engines: readonly EngineChanges[], limit: number): Judged[] {
  return engines.flatMap((engine) => {
    const change = headlineChange(engine);
    return change === null ? [] : [{ engine: engine.engine, change, outcome: regressionGate(change, limit) }];
  });
}
