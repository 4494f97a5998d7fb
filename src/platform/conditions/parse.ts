/** Pure readers of what systems say about pressure, swap, heat and power, for looks between two processes of a run. */
import { z } from 'zod';
import type { Conditions } from '../../core/machine-check-schema.ts';
import type { ThrottleCounts } from '../doctor/linux.ts';
import { parseSwapIns } from '../doctor/linux.ts';
import { parseTherm } from '../doctor/macos.ts';
import { readPowerSupplies } from '../machine/linux.ts';
import type { PowerSupply } from '../machine/linux.ts';
import { parsePmset } from '../machine/macos.ts';

/**
 * /proc/pressure/cpu and its neighbours: microseconds, since the start of the machine, in which some program waited.
 * https://docs.kernel.org/accounting/psi.html (2026-11-25). Null: no such file, as in old kernels and some containers.
 */
export function parsePressureTotal(text: string): number | null {
  const total = /^some .*\btotal=(\d+)$/m.exec(text)?.[1];
  return total === undefined ? null : Number(total);
}

export function linuxConditions(facts: {
  readonly throttles: ThrottleCounts | null;
  readonly supplies: readonly PowerSupply[];
  /** /proc/vmstat. */
  readonly vmstat: string;
}): Conditions {
  const { throttles, supplies, vmstat } = facts;
  return {
    throttleCount: throttles === null ? null : throttles.core + throttles.package,
    limited: null,
    power: readPowerSupplies(supplies),
    swapInPages: parseSwapIns(vmstat),
  };
}

/** `vm_stat`: `Swapins: 1234.` */
export function parseMacSwapIns(text: string): number | null {
  const value = /^Swapins:\s+(\d+)\.?$/m.exec(text)?.[1];
  return value === undefined ? null : Number(value);
}

export function macosConditions(texts: {
  /** `pmset -g therm`, `pmset -g batt`, `vm_stat`; empty where the command failed. */
  readonly therm: string;
  readonly battery: string;
  readonly vmStat: string;
}): Conditions {
  return {
    throttleCount: null,
    limited: parseTherm(texts.therm)?.throttled ?? null,
    power: parsePmset(texts.battery),
    swapInPages: parseMacSwapIns(texts.vmStat),
  };
}

/**
 * Raw counters grow from the start of the machine: https://learn.microsoft.com/windows/win32/cimwin32prov/ (2026-11-25).
 * `PagesInputPersec` counts pages read because of hard faults: from the page file, and from program files.
 */
export const CONDITIONS_QUERY =
  '$m=Get-CimInstance Win32_PerfRawData_PerfOS_Memory -ErrorAction SilentlyContinue; $b=@(Get-CimInstance Win32_Battery); ' +
  '$l=Get-CimInstance Win32_PerfFormattedData_Counters_ProcessorInformation -Filter "Name=\'_Total\'" -ErrorAction SilentlyContinue; ' +
  '[pscustomobject]@{pagesInput=$m.PagesInputPersec; performanceLimit=$l.PercentPerformanceLimit; ' +
  'batteries=@($b | ForEach-Object { [int]$_.BatteryStatus })} | ConvertTo-Json -Compress';

/** 64-bit values come as texts in some versions of PowerShell. */
const number = z.coerce.number().nonnegative();
const answerSchema = z.object({
  pagesInput: number.nullable(),
  performanceLimit: number.nullable(),
  batteries: z.array(z.number()).max(16).nullable(),
});
/** Win32_Battery.BatteryStatus. */
const DISCHARGING = 1;

/** Pure: the answer to CONDITIONS_QUERY. */
export function parseWindowsConditions(text: string): Conditions {
  const answer = answerSchema.safeParse(parseJson(text)).data;
  if (answer === undefined) return UNKNOWN_CONDITIONS;
  const { pagesInput, performanceLimit, batteries } = answer;
  return {
    throttleCount: null,
    // 0 where the counter is not kept (guests); 100 is no limit.
    limited: performanceLimit === null || performanceLimit === 0 ? null : performanceLimit < 100,
    power: (batteries ?? []).includes(DISCHARGING) ? 'battery' : 'ac',
    swapInPages: pagesInput === null ? null : Math.round(pagesInput),
  };
}

export const UNKNOWN_CONDITIONS: Conditions = {
  throttleCount: null,
  limited: null,
  power: 'unknown',
  swapInPages: null,
};

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
