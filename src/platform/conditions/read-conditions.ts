/** Conditions of the machine now: cheap where a run looks around every process. */
import { readdir } from 'node:fs/promises';
import type { Conditions, Pressure } from '../../core/machine-check-schema.ts';
import { readThrottles } from '../doctor/activity.ts';
import { readText } from '../doctor/read-text.ts';
import { readSupplies } from '../machine/machine.ts';
import { readPowershell } from '../process-table/process-table.ts';
import { readCommand } from '../process/run-command.ts';
import {
  CONDITIONS_QUERY,
  linuxConditions,
  macosConditions,
  parsePressureTotal,
  parseWindowsConditions,
  UNKNOWN_CONDITIONS,
} from './parse.ts';

/** pmset and vm_stat answer at once; powershell starts slowly on a cold machine. */
const COMMAND_TIMEOUT_MS = 5_000;
const POWERSHELL_TIMEOUT_MS = 30_000;
const MICROSECONDS_PER_MS = 1_000;

export async function readConditions(): Promise<Conditions> {
  switch (process.platform) {
    case 'linux':
      return linuxConditions({
        throttles: await readThrottles(),
        supplies: await readSupplies(),
        vmstat: await readText('/proc/vmstat'),
      });
    case 'darwin': {
      const ask = async (command: string, ...args: string[]): Promise<string> =>
        (await readCommand(command, args, COMMAND_TIMEOUT_MS)) ?? '';
      return macosConditions({
        therm: await ask('pmset', '-g', 'therm'),
        battery: await ask('pmset', '-g', 'batt'),
        vmStat: await ask('vm_stat'),
      });
    }
    case 'win32':
      return parseWindowsConditions((await readPowershell(CONDITIONS_QUERY, POWERSHELL_TIMEOUT_MS)) ?? '');
    default:
      return UNKNOWN_CONDITIONS;
  }
}

/** Microseconds that some program waited so far, by resource; null where the kernel does not count. */
export interface PressureTotals {
  readonly cpu: number;
  readonly io: number;
  readonly memory: number;
}

export async function readPressure(): Promise<PressureTotals | null> {
  if (process.platform !== 'linux') return null;
  const names = await readdir('/proc/pressure').catch((): string[] => []);
  if (names.length === 0) return null;
  const [cpu, io, memory] = await Promise.all(
    ['cpu', 'io', 'memory'].map(async (name) => parsePressureTotal(await readText(`/proc/pressure/${name}`))),
  );
  return cpu == null || io == null || memory == null ? null : { cpu, io, memory };
}

/** Pure: shares of the time between two readings; null without both. */
export function pressureBetween(
  before: PressureTotals | null,
  after: PressureTotals | null,
  elapsedMs: number,
): Pressure | null {
  if (before === null || after === null || elapsedMs <= 0) return null;
  const share = (key: keyof PressureTotals): number =>
    Math.min(1, Math.max(0, (after[key] - before[key]) / MICROSECONDS_PER_MS / elapsedMs));
  return { cpu: share('cpu'), io: share('io'), memory: share('memory') };
}
