import { readdir, readFile } from 'node:fs/promises';
import { readCommand } from '../process/run-command.ts';
import { parseLinuxStat } from './linux.ts';
import { parsePs, PS_ARGS } from './macos.ts';
import type { ProcessRow } from './process-row.ts';
import { treeOf } from './process-row.ts';
import { parseWindowsProcesses, PROCESS_QUERY } from './windows.ts';

/** ps answers in milliseconds; powershell takes seconds to start on a busy machine. */
const READ_TIMEOUT_MS = 20_000;
/** Files of /proc that are read at once: it is all in memory, more at once gains nothing. */
const READS_AT_ONCE = 64;

/** A process and its descendants; empty when it is gone or the system does not tell. */
export async function readTree(rootPid: number): Promise<ProcessRow[]> {
  return treeOf(await readProcessTable(), rootPid);
}

async function readProcessTable(): Promise<ProcessRow[]> {
  switch (process.platform) {
    case 'linux':
      return readLinux();
    case 'win32':
      return parseOrNothing(parseWindowsProcesses, await readPowershell(PROCESS_QUERY, READ_TIMEOUT_MS));
    default:
      return parseOrNothing(parsePs, await readCommand('ps', PS_ARGS, READ_TIMEOUT_MS));
  }
}

/** Output of a powershell expression; null when it fails. */
export function readPowershell(expression: string, timeoutMs: number): Promise<string | null> {
  return readCommand('powershell.exe', ['-NoProfile', '-NonInteractive', '-Command', expression], timeoutMs);
}

function parseOrNothing(parse: (text: string) => ProcessRow[], text: string | null): ProcessRow[] {
  try {
    return text === null ? [] : parse(text);
  } catch {
    return [];
  }
}

async function readLinux(): Promise<ProcessRow[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const rows: ProcessRow[] = [];
  for (let start = 0; start < pids.length; start += READS_AT_ONCE) {
    const texts = await Promise.all(pids.slice(start, start + READS_AT_ONCE).map(readStat));
    rows.push(...texts.flatMap((text) => parseLinuxStat(text) ?? []));
  }
  return rows;
}

/** Processes end while we look. */
function readStat(pid: string): Promise<string> {
  return readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
}
