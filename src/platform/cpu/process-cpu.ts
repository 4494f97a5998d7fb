import { readFile } from 'node:fs/promises';
import { liveKeeperPids } from '../process/start-process.ts';
import { parseLinuxStat } from '../process-table/linux.ts';
import { readTree } from '../process-table/process-table.ts';

/** Processor time of a process and its descendants so far; null when it is gone or the system does not tell. */
export async function readTreeCpuMs(rootPid: number): Promise<number | null> {
  const tree = await readTree(rootPid);
  return tree.length === 0 ? null : tree.reduce((total, { cpuMs }) => total + cpuMs, 0);
}

/** Processor time of runoff itself so far, its keepers included where reading them is cheap (Linux). */
export async function readOwnCpuMs(): Promise<number> {
  const { user, system } = process.cpuUsage();
  const keepers = process.platform === 'linux' ? await Promise.all(liveKeeperPids().map(keeperCpuMs)) : [];
  return (user + system) / 1_000 + keepers.reduce((total, cpuMs) => total + cpuMs, 0);
}

/** Its own row only: its children are the engine. */
async function keeperCpuMs(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return parseLinuxStat(text)?.cpuMs ?? 0;
}
