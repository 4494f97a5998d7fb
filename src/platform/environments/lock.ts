import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { monotonicMs, sleep } from '../clock.ts';

/** The slowest installation, which compiles, ends before; a lock that is older belongs to nobody. */
const LOCK_AGE_MS_MAX = 3 * 60 * 60_000;
const WAIT_MS_MAX = LOCK_AGE_MS_MAX;
const POLL_MS = 500;
/** Time for a second runoff that took over the same stale lock to show itself. */
const SETTLE_MS = 100;

export interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once when another process holds it. */
  readonly onWait: (pid: number) => void;
}

/** Runs `work` while no other runoff does the same. @throws AppError `interrupted`, `environment-failed` after three hours. */
export async function withLock<T>(path: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  await acquire(path, options);
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function acquire(path: string, { signal, onWait }: LockOptions): Promise<void> {
  const token = `${process.pid} ${randomBytes(8).toString('hex')}`;
  const deadlineMs = monotonicMs() + WAIT_MS_MAX;
  let told = false;
  while (monotonicMs() < deadlineMs) {
    if (await create(path, token)) {
      await sleep(SETTLE_MS, signal).catch(async (error: unknown) => {
        await rm(path, { force: true });
        throw error;
      });
      if ((await holder(path)) === token) return;
      continue;
    }
    const pid = Number.parseInt((await holder(path)) ?? '', 10);
    if (await isStale(path, pid)) {
      await rm(path, { force: true });
      continue;
    }
    if (!told) onWait(pid);
    told = true;
    await sleep(POLL_MS, signal);
  }
  throw new AppError('environment-failed', `another runoff has been installing for three hours (lock ${path})`, {
    hint: 'Stop it; if there is none, delete the lock file.',
  });
}

async function create(path: string, token: string): Promise<boolean> {
  try {
    await writeFile(path, token, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw new AppError('environment-failed', `cannot write ${path}: ${error instanceof Error ? error.message : String(error)}`, {
      hint: 'RUNOFF_CACHE names another cache folder.',
      cause: error,
    });
  }
}

function holder(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null);
}

async function isStale(path: string, pid: number): Promise<boolean> {
  const facts = await stat(path).catch(() => null);
  if (facts === null) return false;
  const ageMs = Date.now() - facts.mtimeMs;
  // Just created and not yet written.
  if (!Number.isInteger(pid)) return ageMs > POLL_MS * 4;
  return ageMs > LOCK_AGE_MS_MAX || !isAlive(pid);
}

/** Is there a process of this id? It may be another one than the id's first owner. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // Somebody else's process is alive, too.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
