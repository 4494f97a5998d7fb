import { readdir, readFile } from 'node:fs/promises';
import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import type { Machine } from '../../core/record.ts';
import { readLastLevelCache } from './cache-size.ts';
import { readCommand } from '../process/run-command.ts';
import { readPowershell } from '../process-table/process-table.ts';
import {
  countPhysicalCores,
  findHypervisor,
  parseAllowedCpus,
  parseCpuinfoTopology,
  parseCpuModel,
  parseOsRelease,
  readPowerSupplies,
} from './linux.ts';
import type { PowerSupply, Topology } from './linux.ts';
import { describeMacos, parseLowPowerMode, parsePmset, parseSysctl } from './macos.ts';
import { MACHINE_QUERY, parseWindowsMachine } from './windows.ts';

/** sysctl and pmset answer at once; powershell starts slowly on a cold machine. */
const READ_TIMEOUT_MS = 5_000;
const POWERSHELL_TIMEOUT_MS = 30_000;
/** Texts of a record are at most 2,000 characters; names of processors are under 100. */
const TEXT_CHARACTERS_MAX = 200;

type OwnFacts = Pick<Machine, 'os' | 'hypervisor' | 'governor' | 'power'> & {
  readonly cpu: string | null;
  readonly physicalCores: number | null;
};

/** Facts of this machine that explain its speed. What a system does not tell is null or `unknown`, never guessed. */
export async function readMachine(): Promise<Machine> {
  const [facts, cacheBytes] = await Promise.all([readOwnFacts(), readLastLevelCache()]);
  // Affinity and container quotas count: cores that we may not use do not compute for us.
  const logicalCores = availableParallelism();
  const cpu = facts.cpu ?? cpus()[0]?.model ?? process.arch;
  return {
    os: shorten(facts.os),
    kernel: shorten(release()),
    cpu: shorten(cpu.replace(/\s+/g, ' ').trim()),
    physicalCores: Math.min(facts.physicalCores ?? logicalCores, logicalCores),
    logicalCores,
    memoryBytes: usableMemory(totalmem(), process.constrainedMemory()),
    hypervisor: facts.hypervisor === null ? null : shorten(facts.hypervisor),
    governor: facts.governor,
    power: facts.power,
    node: process.version,
    cacheBytes,
  };
}

/** Pure: a container's limit where there is one (0, or more than the machine has, means none). */
export function usableMemory(totalBytes: number, constrainedBytes: number): number {
  return constrainedBytes > 0 && constrainedBytes < totalBytes ? constrainedBytes : totalBytes;
}

function readOwnFacts(): Promise<OwnFacts> {
  if (process.platform === 'linux') return readLinux();
  if (process.platform === 'darwin') return readMacos();
  if (process.platform === 'win32') return readWindows();
  return Promise.resolve({
    os: type(),
    cpu: null,
    physicalCores: null,
    hypervisor: null,
    governor: null,
    power: 'unknown',
  });
}

async function readLinux(): Promise<OwnFacts> {
  const [cpuinfo, status, osRelease, vendor, product, governor] = await Promise.all([
    readText('/proc/cpuinfo'),
    readText('/proc/self/status'),
    readText('/etc/os-release'),
    readText('/sys/class/dmi/id/sys_vendor'),
    readText('/sys/class/dmi/id/product_name'),
    readText('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor'),
  ]);
  const known = await readSysTopology();
  const topology = known.length > 0 ? known : parseCpuinfoTopology(cpuinfo);
  return {
    os: parseOsRelease(osRelease) ?? 'Linux',
    cpu: parseCpuModel(cpuinfo),
    physicalCores: countPhysicalCores({ allowedCpus: parseAllowedCpus(status), cpus: topology }),
    hypervisor: findHypervisor({ cpuinfo, vendor, product, kernel: release() }),
    governor: governor.trim() === '' ? null : governor.trim(),
    power: readPowerSupplies(await readSupplies()),
  };
}

async function readSysTopology(): Promise<Topology['cpus']> {
  const folder = '/sys/devices/system/cpu';
  const names = (await readdir(folder).catch((): string[] => [])).filter((name) => /^cpu\d+$/.test(name));
  const entries = await Promise.all(
    names.map(async (name) => {
      const [packageText, coreText] = await Promise.all(
        ['physical_package_id', 'core_id'].map((file) => readText(`${folder}/${name}/topology/${file}`)),
      );
      return { cpu: Number(name.slice(3)), packageId: Number(packageText || NaN), coreId: Number(coreText || NaN) };
    }),
  );
  // An offline CPU has no topology.
  return entries.filter(({ packageId, coreId }) => Number.isInteger(packageId) && Number.isInteger(coreId));
}

export async function readSupplies(): Promise<PowerSupply[]> {
  const folder = '/sys/class/power_supply';
  const names = await readdir(folder).catch((): string[] => []);
  return Promise.all(
    names.map(async (name) => {
      const [kind = '', online = '', status = ''] = await Promise.all(
        ['type', 'online', 'status'].map((file) => readText(`${folder}/${name}/${file}`)),
      );
      return { type: kind, online, status };
    }),
  );
}

async function readMacos(): Promise<OwnFacts> {
  const [sysctl, version, battery, settings] = await Promise.all([
    readCommand('sysctl', ['hw.physicalcpu', 'machdep.cpu.brand_string', 'kern.hv_vmm_present'], READ_TIMEOUT_MS),
    readCommand('sw_vers', ['-productVersion'], READ_TIMEOUT_MS),
    readCommand('pmset', ['-g', 'batt'], READ_TIMEOUT_MS),
    readCommand('pmset', ['-g'], READ_TIMEOUT_MS),
  ]);
  const values = parseSysctl(sysctl ?? '');
  const cores = Number(values.get('hw.physicalcpu'));
  return {
    os: describeMacos(version),
    cpu: values.get('machdep.cpu.brand_string') ?? null,
    physicalCores: Number.isInteger(cores) && cores > 0 ? cores : null,
    hypervisor: values.get('kern.hv_vmm_present') === '1' ? 'virtual machine on macOS' : null,
    governor: parseLowPowerMode(settings ?? ''),
    power: parsePmset(battery ?? ''),
  };
}

async function readWindows(): Promise<OwnFacts> {
  const machine = parseWindowsMachine((await readPowershell(MACHINE_QUERY, POWERSHELL_TIMEOUT_MS)) ?? '');
  const os = `Windows ${release()}`;
  if (machine === null)
    return { os, cpu: null, physicalCores: null, hypervisor: null, governor: null, power: 'unknown' };
  return { os, ...machine };
}

function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

function shorten(text: string): string {
  return text.slice(0, TEXT_CHARACTERS_MAX);
}
