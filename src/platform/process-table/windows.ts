import { z } from 'zod';
import type { ProcessRow } from './process-row.ts';

/** CSV and text formats follow the language of the system; JSON does not. */
export const PROCESS_QUERY =
  'Get-CimInstance Win32_Process | Select-Object ProcessId,ParentProcessId,WorkingSetSize,PeakWorkingSetSize,' +
  'PrivatePageCount,KernelModeTime,UserModeTime | ConvertTo-Json -Compress';

const KIB = 1024;
/** Times are counts of 100 ns. */
const PER_MS = 10_000;

const number = z.coerce.number().nonnegative();
const rowSchema = z.object({
  ProcessId: number,
  ParentProcessId: number,
  WorkingSetSize: number,
  /** KiB, unlike its neighbours. */
  PeakWorkingSetSize: number,
  /** Bytes, in spite of its name. */
  PrivatePageCount: number,
  KernelModeTime: number,
  UserModeTime: number,
});

/** Pure: the answer to PROCESS_QUERY; a single process comes without a list. */
export function parseWindowsProcesses(text: string): ProcessRow[] {
  const value: unknown = text.trim() === '' ? [] : JSON.parse(text);
  return z
    .array(rowSchema)
    .parse(Array.isArray(value) ? value : [value])
    .map((row) => ({
      pid: row.ProcessId,
      parentPid: row.ParentProcessId,
      groupPid: null,
      cpuMs: (row.KernelModeTime + row.UserModeTime) / PER_MS,
      residentBytes: row.WorkingSetSize,
      peakResidentBytes: row.PeakWorkingSetSize * KIB,
      privateBytes: row.PrivatePageCount,
    }));
}
