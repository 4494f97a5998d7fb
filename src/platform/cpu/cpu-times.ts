import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import type { CpuInfo } from 'node:os';
import { TICK_MS } from '../process-table/linux.ts';

/** Processor time of the whole machine since its start, over all cores. */
export interface CpuTimes {
  readonly coreCount: number;
  readonly busyMs: number;
  readonly idleMs: number;
  /** Taken by other guests of the same host; null where the system does not tell. */
  readonly stealMs: number | null;
}

export async function readCpuTimes(): Promise<CpuTimes> {
  if (process.platform !== 'linux') return fromCpuInfo(cpus());
  return parseProcStat(await readFile('/proc/stat', 'utf8').catch(() => '')) ?? fromCpuInfo(cpus());
}

/** Pure: /proc/stat. `user` and `nice` include the time of guests, which the two last columns repeat. */
export function parseProcStat(text: string): CpuTimes | null {
  const line = /^cpu\s+(.+)$/m.exec(text)?.[1];
  if (line === undefined) return null;
  const [user = 0, nice = 0, system = 0, idle = 0, ioWait = 0, irq = 0, softIrq = 0, steal = 0] = line
    .split(' ')
    .map(Number);
  return {
    coreCount: text.match(/^cpu\d+ /gm)?.length ?? 1,
    busyMs: (user + nice + system + irq + softIrq) * TICK_MS,
    idleMs: (idle + ioWait) * TICK_MS,
    stealMs: steal * TICK_MS,
  };
}

/** Pure: what Node tells on macOS and Windows. */
export function fromCpuInfo(infos: readonly Pick<CpuInfo, 'times'>[]): CpuTimes {
  const sum = (pick: (times: CpuInfo['times']) => number): number =>
    infos.reduce((total, { times }) => total + pick(times), 0);
  return {
    coreCount: infos.length,
    busyMs: sum(({ user, nice, sys, irq }) => user + nice + sys + irq),
    idleMs: sum(({ idle }) => idle),
    stealMs: null,
  };
}
