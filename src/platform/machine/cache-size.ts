/** Size of the last-level cache: how large a buffer must be to be read from memory, and whether a model can hide in it. */
import { readdir, readFile } from 'node:fs/promises';
import { readPowershell } from '../process-table/process-table.ts';
import { readCommand } from '../process/run-command.ts';

const KIB = 1024;
const UNITS: Readonly<Record<string, number>> = { '': 1, K: KIB, M: KIB ** 2, G: KIB ** 3 };
const COMMAND_TIMEOUT_MS = 5_000;
const POWERSHELL_TIMEOUT_MS = 30_000;
/** Some machines have several hundred cores. */
const CPUS_MAX = 4_096;
/** Apple tells nobody the size of its system-level cache; 96 MiB is an Ultra's. */
const APPLE_SYSTEM_CACHE_BYTES = 96 * KIB ** 2;

export interface CacheEntry {
  readonly level: string;
  /** `Data`, `Instruction`, `Unified`. */
  readonly type: string;
  /** `32768K`. */
  readonly size: string;
  /** `0-7,64-71`: equal lists are one cache. */
  readonly sharedCpus: string;
}

/** Bytes of all last-level caches together; null where the system does not tell (many guests, ARM boards). */
export async function readLastLevelCache(): Promise<number | null> {
  switch (process.platform) {
    case 'linux':
      return sumLastLevel(await readSysCaches());
    case 'darwin':
      return parseMacCaches((await readCommand('sysctl', ['-a'], COMMAND_TIMEOUT_MS)) ?? '');
    case 'win32':
      return parseWindowsCaches((await readPowershell(CACHE_QUERY, POWERSHELL_TIMEOUT_MS)) ?? '');
    default:
      return null;
  }
}

/** Pure: /sys/devices/system/cpu/cpu<n>/cache/index<m>. A processor may have one per group of cores: they add up. */
export function sumLastLevel(entries: readonly CacheEntry[]): number | null {
  const data = entries.filter(({ type }) => type.trim() !== 'Instruction');
  const level = Math.max(...data.map((entry) => Number.parseInt(entry.level, 10) || 0), 0);
  const last = new Map(
    data
      .filter((entry) => Number.parseInt(entry.level, 10) === level)
      .map((entry) => [entry.sharedCpus.trim(), parseSize(entry.size)] as const),
  );
  const total = [...last.values()].reduce((sum, bytes) => sum + bytes, 0);
  return level === 0 || total === 0 ? null : total;
}

function parseSize(text: string): number {
  const [, number, unit = ''] = /^(\d+)([KMG]?)/.exec(text.trim()) ?? [];
  return number === undefined ? 0 : Number(number) * (UNITS[unit] ?? 0);
}

/** Pure: `sysctl -a`. Intel names a third level; Apple silicon has second levels by cluster and a cache that it hides. */
export function parseMacCaches(text: string): number | null {
  const value = (name: string): number => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  const third = value('hw.l3cachesize');
  if (third > 0) return third;
  const second = value('hw.perflevel0.l2cachesize') || value('hw.l2cachesize');
  if (second === 0) return null;
  return value('hw.optional.arm64') === 1 ? Math.max(second, APPLE_SYSTEM_CACHE_BYTES) : second;
}

/** Sizes in KiB; a processor without a third level says 0. */
const CACHE_QUERY =
  '$c=@(Get-CimInstance Win32_Processor); [pscustomobject]@{l3=($c | Measure-Object L3CacheSize -Sum).Sum; ' +
  'l2=($c | Measure-Object L2CacheSize -Sum).Sum} | ConvertTo-Json -Compress';

/** Pure: the answer to CACHE_QUERY, `{"l3":32768,"l2":4096}`. */
export function parseWindowsCaches(text: string): number | null {
  const value = (name: string): number => Number(new RegExp(`"${name}":(\\d+)`).exec(text)?.[1] ?? 0);
  const kibibytes = value('l3') || value('l2');
  return kibibytes === 0 ? null : kibibytes * KIB;
}

async function readSysCaches(): Promise<CacheEntry[]> {
  const folder = '/sys/devices/system/cpu';
  const cpus = (await list(folder)).filter((name) => /^cpu\d+$/.test(name)).slice(0, CPUS_MAX);
  const entries = await Promise.all(
    cpus.map(async (cpu) => {
      const indexes = (await list(`${folder}/${cpu}/cache`)).filter((name) => /^index\d$/.test(name));
      return Promise.all(indexes.map((index) => readEntry(`${folder}/${cpu}/cache/${index}`)));
    }),
  );
  return entries.flat();
}

async function readEntry(folder: string): Promise<CacheEntry> {
  const [level = '', type = '', size = '', sharedCpus = ''] = await Promise.all(
    ['level', 'type', 'size', 'shared_cpu_list'].map((file) => readFile(`${folder}/${file}`, 'utf8').catch(() => '')),
  );
  return { level, type, size, sharedCpus };
}

function list(folder: string): Promise<string[]> {
  return readdir(folder).catch((): string[] => []);
}
