/** Facts of this machine for the doctor. What a system does not tell is null; nothing here fails or waits for long. */
import { availableParallelism, release } from 'node:os';
import type { Gpu, HostFacts, HostMemory, PowerMode, Thermal } from '../../core/doctor/facts.ts';
import type { Machine } from '../../core/record.ts';
import { thisPlatform } from '../environments/definition.ts';
import { findPython } from '../environments/python.ts';
import { readMachine } from '../machine/machine.ts';
import { readPowershell } from '../process-table/process-table.ts';
import { readCommand } from '../process/run-command.ts';
import { findLinuxGpus } from './find-gpus.ts';
import { macGpus } from './gpus.ts';
import { readPowerMode } from './linux.ts';
import { nativeMacArch, parseSwapUsage, parseTherm, parseVmStat } from './macos.ts';
import { nodeMemory, readCpuQuota, readLinuxMemory } from './memory.ts';
import { readText } from './read-text.ts';
import { DOCTOR_QUERY, parsePowerScheme, parseWindowsFacts } from './windows.ts';

/** sysctl, vm_stat, pmset and powercfg answer at once; powershell starts slowly on a cold machine. */
const COMMAND_TIMEOUT_MS = 5_000;
const POWERSHELL_TIMEOUT_MS = 30_000;

/** What differs between systems. */
interface OwnFacts {
  readonly nativeArch: string | null;
  readonly memory: HostMemory;
  readonly powerMode: PowerMode | null;
  readonly thermal: Thermal | null;
  readonly gpus: readonly Gpu[] | null;
  readonly cpuQuotaCores: number | null;
}

/** @param counted what was seen of throttle counters in a second; Linux only */
export async function readHost(counted: Thermal | null): Promise<{ host: HostFacts; gpus: readonly Gpu[] | null }> {
  const reading = readMachine();
  const [machine, own, python] = await Promise.all([reading, readOwnFacts(counted, reading), findPython()]);
  const { gpus, ...facts } = own;
  const { platform, arch, glibc } = thisPlatform();
  const cores = availableParallelism();
  const host: HostFacts = {
    ...facts,
    platform,
    arch,
    nodeVersion: process.version,
    musl: platform === 'linux' && glibc === null,
    wsl: /microsoft/i.test(release()),
    cores,
    threads: Math.min(machine.physicalCores, cores),
    power: machine.power,
    python: python?.version ?? null,
  };
  return { host, gpus };
}

function readOwnFacts(counted: Thermal | null, reading: Promise<Machine>): Promise<OwnFacts> {
  if (process.platform === 'linux') return readLinux(counted);
  if (process.platform === 'darwin') return readMacos(reading);
  if (process.platform === 'win32') return readWindows();
  return Promise.resolve({
    nativeArch: null,
    memory: nodeMemory(),
    powerMode: null,
    thermal: null,
    gpus: null,
    cpuQuotaCores: null,
  });
}

async function readLinux(thermal: Thermal | null): Promise<OwnFacts> {
  const folder = '/sys/devices/system/cpu/cpu0/cpufreq';
  const files = ['scaling_governor', 'scaling_driver', 'energy_performance_preference'].map(
    (name) => `${folder}/${name}`,
  );
  const [governor = '', driver = '', preference = '', profile = ''] = await Promise.all(
    [...files, '/sys/firmware/acpi/platform_profile'].map(async (path) => (await readText(path)).trim()),
  );
  const [memory, gpus, cpuQuotaCores] = await Promise.all([readLinuxMemory(), findLinuxGpus(), readCpuQuota()]);
  return {
    nativeArch: null,
    memory,
    powerMode: readPowerMode({ governor, driver, preference, profile }),
    thermal,
    gpus,
    cpuQuotaCores,
  };
}

async function readMacos(reading: Promise<Machine>): Promise<OwnFacts> {
  const ask = (command: string, ...args: string[]): Promise<string | null> =>
    readCommand(command, args, COMMAND_TIMEOUT_MS);
  const [memsize, arm64, translated, swap, pages, therm, machine] = await Promise.all([
    ask('sysctl', '-n', 'hw.memsize'),
    ask('sysctl', '-n', 'hw.optional.arm64'),
    ask('sysctl', '-n', 'sysctl.proc_translated'),
    ask('sysctl', '-n', 'vm.swapusage'),
    ask('vm_stat'),
    ask('pmset', '-g', 'therm'),
    reading,
  ]);
  const nativeArch = nativeMacArch({ arm64, translated, memsize });
  const node = nodeMemory();
  const memory: HostMemory = {
    ...node,
    availableBytes: parseVmStat(pages ?? '')?.availableBytes ?? node.availableBytes,
    swapUsedBytes: parseSwapUsage(swap ?? ''),
  };
  const powerMode =
    machine.governor === null ? null : { name: machine.governor, saves: machine.governor === 'low power mode' };
  return {
    nativeArch,
    memory,
    powerMode,
    thermal: parseTherm(therm ?? ''),
    gpus: macGpus(nativeArch),
    cpuQuotaCores: null,
  };
}

async function readWindows(): Promise<OwnFacts> {
  const [answer, scheme] = await Promise.all([
    readPowershell(DOCTOR_QUERY, POWERSHELL_TIMEOUT_MS),
    readCommand('powercfg', ['/getactivescheme'], COMMAND_TIMEOUT_MS),
  ]);
  const facts = parseWindowsFacts(answer ?? '');
  const node = nodeMemory();
  const memory: HostMemory = {
    ...node,
    totalBytes: facts?.totalBytes ?? node.totalBytes,
    availableBytes: facts?.availableBytes ?? node.availableBytes,
    swapUsedBytes: facts?.pageFileBytes ?? null,
  };
  const powerMode = parsePowerScheme(scheme ?? '');
  const { nativeArch = null, thermal = null, gpus = null } = facts ?? {};
  return { nativeArch, memory, powerMode, thermal, gpus, cpuQuotaCores: null };
}
