/** How much memory programs can still get here, with the limits of containers. */
import { freemem, totalmem } from 'node:os';
import type { HostMemory } from '../../core/doctor/facts.ts';
import {
  groupAndParents,
  parseCfsQuota,
  parseCgroups,
  parseCpuMax,
  parseMeminfo,
  parseMemoryLimit,
  parseReclaimable,
} from './linux.ts';
import type { GroupPaths } from './linux.ts';
import { readText } from './read-text.ts';

const ROOT = '/sys/fs/cgroup';
/** Deeper nesting than any container runtime makes. */
const GROUPS_MAX = 32;

export interface GroupLimit {
  readonly limitBytes: number;
  /** What its members may still take; pages of files that can be dropped count as free. */
  readonly leftBytes: number;
}

/** Pure: the machine's memory, or the group's where that is tighter. */
export function tightest(machine: Omit<HostMemory, 'limitedByGroup'>, groups: readonly GroupLimit[]): HostMemory {
  const real = groups.filter(({ limitBytes }) => limitBytes < machine.totalBytes);
  const lefts = [machine.availableBytes, ...real.map(({ leftBytes }) => leftBytes)].filter((bytes) => bytes !== null);
  return {
    totalBytes: Math.min(machine.totalBytes, ...real.map(({ limitBytes }) => limitBytes)),
    availableBytes: lefts.length === 0 ? null : Math.max(0, Math.min(...lefts)),
    limitedByGroup: real.length > 0,
    swapUsedBytes: machine.swapUsedBytes,
  };
}

export async function readLinuxMemory(): Promise<HostMemory> {
  const [meminfo, cgroup] = await Promise.all([readText('/proc/meminfo'), readText('/proc/self/cgroup')]);
  const { totalBytes, ...rest } = parseMeminfo(meminfo);
  const groups = await readGroupLimits(parseCgroups(cgroup));
  return tightest({ totalBytes: totalBytes ?? totalmem(), ...rest }, groups);
}

/** Node's own figures, for systems whose commands did not answer. */
export function nodeMemory(): HostMemory {
  // On Linux and macOS `freemem` leaves out what can be dropped; it is right on Windows only.
  const availableBytes = process.platform === 'win32' ? freemem() : null;
  return { totalBytes: totalmem(), availableBytes, limitedByGroup: false, swapUsedBytes: null };
}

/** CPU time per time that the group or any group above it allows; null: no limit. */
export async function readCpuQuota(): Promise<number | null> {
  const { unified, cpu } = parseCgroups(await readText('/proc/self/cgroup'));
  const newer =
    unified === null
      ? []
      : await each(unified, async (group) => parseCpuMax(await readText(`${ROOT}${group}/cpu.max`)));
  const older = cpu === null ? [] : await each(cpu, async (group) => readCfs(`${ROOT}/cpu${group}`));
  const quotas = [...newer, ...older].filter((quota) => quota !== null);
  return quotas.length === 0 ? null : Math.min(...quotas);
}

async function readCfs(folder: string): Promise<number | null> {
  const [quota, period] = await Promise.all([
    readText(`${folder}/cpu.cfs_quota_us`),
    readText(`${folder}/cpu.cfs_period_us`),
  ]);
  return parseCfsQuota(quota, period);
}

async function readGroupLimits({ unified, memory }: GroupPaths): Promise<GroupLimit[]> {
  const newer =
    unified === null
      ? []
      : await each(unified, (group) => readLimit(`${ROOT}${group}`, 'memory.max', 'memory.current'));
  const older =
    memory === null
      ? []
      : await each(memory, (group) =>
          readLimit(`${ROOT}/memory${group}`, 'memory.limit_in_bytes', 'memory.usage_in_bytes'),
        );
  return [...newer, ...older].filter((limit) => limit !== null);
}

async function readLimit(folder: string, limitFile: string, usedFile: string): Promise<GroupLimit | null> {
  const [limit, used, stat] = await Promise.all(
    [limitFile, usedFile, 'memory.stat'].map((file) => readText(`${folder}/${file}`)),
  );
  const limitBytes = parseMemoryLimit(limit ?? '');
  const usedBytes = Number.parseInt(used ?? '', 10);
  if (limitBytes === null || Number.isNaN(usedBytes)) return null;
  return { limitBytes, leftBytes: limitBytes - Math.max(0, usedBytes - parseReclaimable(stat ?? '')) };
}

/** In a container the path is that of the host, while only the group itself is mounted: the root is asked, too. */
function each<T>(path: string, read: (group: string) => Promise<T>): Promise<T[]> {
  return Promise.all(groupAndParents(path).slice(0, GROUPS_MAX).map(read));
}
