import type { ProcessRow } from './process-row.ts';

/** Kernel clock ticks per second as /proc shows them: 100 on every architecture that Node runs on. */
export const TICK_MS = 1_000 / 100;

/** Pure: /proc/<pid>/stat. The name in parentheses may hold spaces and parentheses itself. Null: not such a file. */
export function parseLinuxStat(text: string): ProcessRow | null {
  const nameEnd = text.lastIndexOf(')');
  if (nameEnd < 0) return null;
  // From field 3 (state) on, numbered as in proc(5): field n is fields[n - 3].
  const fields = text
    .slice(nameEnd + 2)
    .split(' ')
    .map(Number);
  const ticks = [14, 15, 16, 17].map((field) => fields[field - 3] ?? 0);
  const pid = Number.parseInt(text, 10);
  const [, parentPid, groupPid] = fields;
  if (!Number.isInteger(pid) || parentPid === undefined || groupPid === undefined) return null;
  return {
    pid,
    parentPid,
    groupPid,
    cpuMs: ticks.reduce((sum, value) => sum + value, 0) * TICK_MS,
    residentBytes: null,
    peakResidentBytes: null,
    privateBytes: null,
  };
}
