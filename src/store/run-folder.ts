/**
 * A run on disk: a folder with `manifest.json` (written once), `samples.jsonl` (appended and fsynced line by line),
 * `record.json` (derived, replaced atomically) and the reports. Whatever stops a run, the first two are valid.
 */
import { access, constants, mkdir, open, readFile, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { AppError, messageOf } from '../core/errors.ts';
import { eventSchema, manifestSchema, recordSchema, SCHEMA_VERSION } from '../core/record.ts';
import type { Manifest, RunEvent, RunRecord } from '../core/record.ts';
import { atomicWrite } from '../platform/files/atomic-write.ts';
import { openJsonl, readJsonl } from '../platform/files/jsonl.ts';

export const MANIFEST_FILE = 'manifest.json';
export const SAMPLES_FILE = 'samples.jsonl';
export const RECORD_FILE = 'record.json';
const LOCK_FILE = 'run.lock';
/** A sample is ~700 bytes: this is some 300,000 of them, far beyond any plan. */
const SAMPLES_BYTES_MAX = 256 << 20;
const JSON_BYTES_MAX = 64 << 20;

export interface RunLog {
  readonly path: string;
  readonly manifest: Manifest;
  /** All events so far, those of earlier sessions included. */
  readonly events: readonly RunEvent[];
  append(event: RunEvent): Promise<void>;
  close(): Promise<void>;
}

/** Makes the folder. @throws AppError `record-write-failed`, `usage` when a run is there already. */
export async function makeRunFolder(path: string): Promise<string> {
  const folder = resolve(path);
  if (existsSync(join(folder, MANIFEST_FILE))) {
    throw new AppError('usage', `${path} holds a run already`, {
      hint: `Continue it with runoff run --resume ${path}, or choose another folder with --out.`,
    });
  }
  await writing(`make ${path}`, () => mkdir(folder, { recursive: true }));
  await writing(`write into ${path}`, () => access(folder, constants.W_OK));
  return folder;
}

/** Makes the folder and writes the manifest. @throws like `makeRunFolder`. */
export async function createRun(path: string, manifest: Manifest): Promise<RunLog> {
  const folder = await makeRunFolder(path);
  await atomicWrite(join(folder, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`);
  return openLog(folder, manifest, []);
}

/** Opens a run to go on with it. @throws AppError `record-invalid` naming the file and the field. */
export async function resumeRun(path: string): Promise<RunLog> {
  const { manifest, events } = await readRun(path);
  return openLog(resolve(path), manifest, events);
}

/** Reads a run without changing it; a last line torn by a crash is left out. */
export async function readRun(path: string): Promise<{ manifest: Manifest; events: RunEvent[] }> {
  const folder = resolve(path);
  if (!existsSync(join(folder, MANIFEST_FILE))) {
    throw new AppError('record-invalid', `${path} is not a run: there is no ${MANIFEST_FILE} in it`, {
      hint: 'Give the folder that runoff run printed at its end.',
    });
  }
  const manifest = parseAs(manifestSchema, await readBounded(join(folder, MANIFEST_FILE)), join(path, MANIFEST_FILE));
  const samples = join(folder, SAMPLES_FILE);
  if (!existsSync(samples)) return { manifest, events: [] };
  const { lines } = await readJsonl(samples, SAMPLES_BYTES_MAX);
  const events = lines.map((line, index) => parseAs(eventSchema, line, `${join(path, SAMPLES_FILE)}:${index + 1}`));
  return { manifest, events };
}

/** True where `readRun` finds a run. */
export function isRun(path: string): boolean {
  return existsSync(join(path, MANIFEST_FILE));
}

/** A whole run at once, for a copy of one. */
export async function writeRun(path: string, manifest: Manifest, events: readonly RunEvent[]): Promise<void> {
  await atomicWrite(join(path, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`);
  await atomicWrite(join(path, SAMPLES_FILE), events.map((event) => `${JSON.stringify(event)}\n`).join(''));
}

export async function writeRecord(path: string, record: RunRecord): Promise<void> {
  await atomicWrite(join(path, RECORD_FILE), `${JSON.stringify(recordSchema.parse(record), null, 2)}\n`);
}

async function openLog(folder: string, manifest: Manifest, before: readonly RunEvent[]): Promise<RunLog> {
  const unlock = await lock(folder);
  const events = [...before];
  const log = await openJsonl(join(folder, SAMPLES_FILE));
  return {
    path: folder,
    manifest,
    events,
    async append(event) {
      await log.append(eventSchema.parse(event));
      events.push(event);
    },
    async close() {
      await log.close();
      await unlock();
    },
  };
}

/** Two processes in one folder would mix their samples. A lock whose process is gone is taken over. */
async function lock(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, LOCK_FILE);
  const held = existsSync(path) ? Number((await readFile(path, 'utf8')).trim()) : Number.NaN;
  if (Number.isInteger(held) && held > 0 && held !== process.pid && isAlive(held)) {
    throw new AppError('usage', `another runoff (process ${held}) is working in ${folder}`, {
      hint: `Wait for it or stop it; if there is none, delete ${path}.`,
    });
  }
  await rm(path, { force: true });
  await writing(`lock ${folder}`, async () => {
    const handle = await open(path, 'wx');
    await handle.writeFile(String(process.pid));
    await handle.close();
  });
  return () => rm(path, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function writing<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw new AppError('record-write-failed', `could not ${what}: ${messageOf(error)}`, {
      hint: 'Choose a folder that can be written with --out.',
      cause: error,
    });
  }
}

async function readBounded(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8');
  if (text.length > JSON_BYTES_MAX) {
    throw new AppError(
      'record-invalid',
      `${path} has ${text.length} characters; a manifest has at most ${JSON_BYTES_MAX}`,
    );
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new AppError('record-invalid', `${path} is not JSON: ${messageOf(error)}`, { cause: error });
  }
}

function parseAs<T>(
  schema: {
    safeParse(
      value: unknown,
    ): { success: true; data: T } | { success: false; error: { issues: { path: PropertyKey[]; message: string }[] } };
  },
  value: unknown,
  where: string,
): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const version = (value as { schemaVersion?: unknown } | null)?.schemaVersion;
  const other = version !== undefined && version !== SCHEMA_VERSION;
  throw new AppError(
    'record-invalid',
    `${where}: ${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? 'not readable'}`,
    {
      hint: other
        ? `It has schema version ${JSON.stringify(version)}; this runoff reads ${SCHEMA_VERSION}.`
        : 'The file was changed or damaged.',
    },
  );
}
