/** Is the machine quiet, cool and awake enough for a measurement now? */
import { isBlockNoisy } from '../validity/noise.ts';
import type { Activity, DoctorFacts } from './facts.ts';
import { ok, unknown, warning } from './finding.ts';
import type { Finding } from './finding.ts';
import { bytesText, percent } from './quantity.ts';

/** Less swap in use than this is what a quiet system moves out in a day. */
const SWAP_USED_SHARE = 0.1;

export function checkPower({ host }: DoctorFacts): Finding[] {
  if (host.power === 'unknown') return [unknown('power', 'AC or battery: the system does not tell')];
  if (host.power === 'ac') return [ok('power', 'AC power')];
  return [
    warning('power', {
      what: 'The machine runs on its battery.',
      why: 'On battery the processor is slowed down, by an amount that changes with the charge: two engines would not meet the same machine.',
      remedy: 'Connect the power supply and run again.',
    }),
  ];
}

const FULL_SPEED: Readonly<Record<string, string>> = {
  linux: 'powerprofilesctl set performance, or: sudo cpupower frequency-set -g performance',
  darwin: 'sudo pmset -a lowpowermode 0',
  win32: 'powercfg /setactive SCHEME_BALANCED, or SCHEME_MIN for high performance',
};

export function checkPowerMode({ host }: DoctorFacts): Finding[] {
  const { powerMode, platform } = host;
  if (powerMode === null) return [unknown('power-mode', 'power saving: no governor or power plan is told')];
  if (!powerMode.saves) return [ok('power-mode', `power mode ${powerMode.name}`)];
  return [
    warning('power-mode', {
      what: `The processor saves power: ${powerMode.name}.`,
      why: 'It is held below its speed, often at half of it; users who do not save power will see other figures.',
      remedy: FULL_SPEED[platform] ?? 'Choose the normal power mode of the system.',
    }),
  ];
}

export function checkThermal({ host }: DoctorFacts): Finding[] {
  const { thermal } = host;
  if (thermal === null)
    return [unknown('thermal', 'thermal throttling: there are no counters (usual in a virtual machine)')];
  if (!thermal.throttled) return [ok('thermal', 'no thermal throttling')];
  return [
    warning('thermal', {
      what: `The processor is too hot and is being slowed down: ${thermal.detail}.`,
      why: 'Whoever is measured next gets a slower machine than the one before.',
      remedy:
        'Let it cool for some minutes, free the air vents, and run again. A longer --budget shows the sustained speed.',
    }),
  ];
}

/** The limits are those that reject a block of a run. */
export function checkBusy({ activity, host }: DoctorFacts): Finding[] {
  const { interference, loadAverage } = activity;
  const { foreignCpuShare, stealShare } = interference;
  if (foreignCpuShare === null) return [unknown('busy', 'use of the processor by others: it could not be measured')];
  const load = loadAverage === null ? '' : `, load ${loadAverage.toFixed(1)} on ${host.cores} cores`;
  if (isBlockNoisy([{ engine: '', interference }]).length === 0) {
    return [ok('busy', `others use ${percent(foreignCpuShare)} of the processor`)];
  }
  const stolen = isBlockNoisy([{ engine: '', interference: { ...interference, foreignCpuShare: null } }]).length > 0;
  return [
    warning('busy', {
      what: stolen
        ? `The hypervisor takes ${percent(stealShare ?? 0)} of the processor for other guests (others here: ${percent(foreignCpuShare)}${load}).`
        : `Other programs use ${percent(foreignCpuShare)} of the processor now${load}.`,
      why: stolen
        ? 'A run claims no difference that is smaller than this, and rejects blocks in which it changes.'
        : 'A run rejects every block that is disturbed like this, and ends without a verdict when too many are.',
      remedy: stolen
        ? 'Use a machine or an instance type that does not share its cores, or try at another time.'
        : `Close what is not needed: ${busyNames(activity, host.platform)}`,
    }),
  ];
}

/** Their names, or the command that shows them. */
function busyNames({ busiest }: Activity, platform: string): string {
  if (busiest !== null && busiest.length > 0) {
    return busiest.map(({ name, coreShare }) => `${name} (${percent(coreShare)} of a core)`).join(', ');
  }
  return platform === 'win32' ? 'Get-Process | Sort-Object CPU -Descending | Select-Object -First 5' : 'top shows it';
}

export function checkSwap({ host, activity }: DoctorFacts): Finding[] {
  const { swapUsedBytes, totalBytes } = host.memory;
  if (swapUsedBytes === null) return [unknown('swap', 'swap in use: the system does not tell')];
  const swapping = (activity.swapInPages ?? 0) > 0;
  if (!swapping && swapUsedBytes < SWAP_USED_SHARE * totalBytes) return [ok('swap', 'no swapping')];
  return [
    warning('swap', {
      what: swapping
        ? `The machine is reading memory back from swap now (${activity.swapInPages} pages in a second, ${bytesText(swapUsedBytes)} in use).`
        : `${bytesText(swapUsedBytes)} lie in swap: memory was short before.`,
      why: 'A model that loses pages to swap runs at the speed of the disk, by chance in one block and not in another.',
      remedy: 'Close programs, or restart the machine, before measuring.',
    }),
  ];
}

/** Containers: a share of the CPU time instead of a number of cores. */
export function checkCpuQuota({ host }: DoctorFacts): Finding[] {
  const { cpuQuotaCores, cores, threads } = host;
  if (cpuQuotaCores === null)
    return host.platform === 'linux' ? [ok('cpu-quota', `${cores} cores without a quota`)] : [];
  if (threads <= cpuQuotaCores) return [ok('cpu-quota', `a quota of ${cpuQuotaCores} cores for ${threads} threads`)];
  const fitting = Math.max(1, Math.floor(cpuQuotaCores));
  return [
    warning('cpu-quota', {
      what: `A control group allows ${Number(cpuQuotaCores.toFixed(2))} cores of CPU time, a run would use ${threads} threads.`,
      why: 'When the quota of a period is used up, all threads stand still until the next one: tokens come in bursts, and an engine that waits busily loses most.',
      remedy:
        fitting <= cpuQuotaCores
          ? `runoff run --threads ${fitting}, or give the container more: docker run --cpus ${threads}`
          : `Give the container at least one core: docker run --cpus ${threads}`,
    }),
  ];
}
