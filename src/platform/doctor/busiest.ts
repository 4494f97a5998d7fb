/** Which programs use the processor: a name is more help than a percentage. Linux; `ps` and powershell cost too much themselves. */
import { readFileSync, readlinkSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import type { BusyProgram } from '../../core/doctor/facts.ts';
import { TICK_MS } from '../process-table/linux.ts';

/** More processes than a busy server has. */
const PROCESSES_MAX = 20_000;
/** Enough to see what to close. */
const NAMES_MAX = 3;
/** Less than this of a core is what a quiet system does. */
const CORE_SHARE_MIN = 0.05;

export interface ProgramTime {
  readonly pid: number;
  readonly name: string;
  readonly cpuMs: number;
}

/** Null on other systems. */
export async function readProgramTimes(): Promise<ProgramTime[] | null> {
  if (process.platform !== 'linux') return null;
  const names = await readdir('/proc').catch((): string[] => []);
  const pids = names.filter((name) => /^\d+$/.test(name)).slice(0, PROCESSES_MAX);
  return pids.flatMap((pid) => {
    const found = parseProgramTime(readStat(pid));
    return found === null ? [] : { ...found, name: found.name === THREAD_NAME ? fileOf(pid) : found.name };
  });
}

/** As Node 24 calls every process of its own: whoever is to close it looks for the program's file. */
const THREAD_NAME = 'MainThread';

function fileOf(pid: string): string {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`));
  } catch {
    return THREAD_NAME;
  }
}

/** At once, not by promises: /proc is memory, and a promise costs five times the reading. Processes end while we look. */
function readStat(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return '';
  }
}

/**
 * Pure: /proc/<pid>/stat, fields 14 and 15 of proc(5); null for anything else. Without the time of children that have
 * ended (16 and 17): a shell would be charged at once with the minutes of a command that ends now.
 */
export function parseProgramTime(text: string): ProgramTime | null {
  const end = text.lastIndexOf(')');
  const name = text.slice(text.indexOf('(') + 1, end);
  const fields = text
    .slice(end + 2)
    .split(' ')
    .map(Number);
  // Fields are numbered from the one before the name; the one after it is the third.
  const [user, system] = [fields[14 - 3], fields[15 - 3]];
  const pid = Number.parseInt(text, 10);
  if (end < 0 || name === '' || Number.isNaN(pid) || user === undefined || system === undefined) return null;
  return { pid, name, cpuMs: (user + system) * TICK_MS };
}

/** Pure: what used most between two readings, processes of one name together; a process that began meanwhile counts whole. */
export function busiest(
  before: readonly ProgramTime[],
  after: readonly ProgramTime[],
  { ownPid, elapsedMs }: { readonly ownPid: number; readonly elapsedMs: number },
): BusyProgram[] {
  const earlier = new Map(before.map(({ pid, cpuMs }) => [pid, cpuMs]));
  const byName = new Map<string, number>();
  for (const { pid, name, cpuMs } of after) {
    if (pid === ownPid) continue;
    byName.set(name, (byName.get(name) ?? 0) + Math.max(0, cpuMs - (earlier.get(pid) ?? 0)));
  }
  return [...byName]
    .map(([name, cpuMs]) => ({ name, coreShare: cpuMs / elapsedMs }))
    .filter(({ coreShare }) => coreShare >= CORE_SHARE_MIN)
    .toSorted((a, b) => b.coreShare - a.coreShare)
    .slice(0, NAMES_MAX);
}
