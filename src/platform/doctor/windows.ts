/** Pure readers of what Windows says: one start of powershell for everything, and powercfg. */
import { z } from 'zod';
import type { Gpu, PowerMode, Thermal } from '../../core/doctor/facts.ts';
import { windowsGpus } from './gpus.ts';

/** https://learn.microsoft.com/windows/win32/cimwin32prov/ (2026-11-25). Sizes of Win32_OperatingSystem are in KiB. */
export const DOCTOR_QUERY =
  '$o=Get-CimInstance Win32_OperatingSystem; $c=@(Get-CimInstance Win32_Processor)[0]; ' +
  '$f=@(Get-CimInstance Win32_PageFileUsage); $v=@(Get-CimInstance Win32_VideoController); ' +
  '$l=Get-CimInstance Win32_PerfFormattedData_Counters_ProcessorInformation -Filter "Name=\'_Total\'" -ErrorAction SilentlyContinue; ' +
  '[pscustomobject]@{totalKib=$o.TotalVisibleMemorySize; freeKib=$o.FreePhysicalMemory; architecture=$c.Architecture; ' +
  'pageFileMib=($f | Measure-Object CurrentUsage -Sum).Sum; performanceLimit=$l.PercentPerformanceLimit; ' +
  'video=@($v | ForEach-Object { [pscustomobject]@{name=$_.Name; maker=$_.AdapterCompatibility; error=$_.ConfigManagerErrorCode} })} | ' +
  'ConvertTo-Json -Compress -Depth 4';

const KIB = 1024;
/** Longer names are nonsense. */
const name = z.string().max(500).nullable();
const size = z.number().nonnegative().nullable();

const answerSchema = z.object({
  totalKib: size,
  freeKib: size,
  architecture: z.number().int().nullable(),
  pageFileMib: size,
  performanceLimit: size,
  video: z
    .array(z.object({ name, maker: name, error: z.number().int().nullable() }))
    .max(64)
    .nullable(),
});

export interface WindowsFacts {
  readonly totalBytes: number | null;
  readonly availableBytes: number | null;
  readonly pageFileBytes: number | null;
  /** As Node names it; null for others. */
  readonly nativeArch: string | null;
  readonly thermal: Thermal | null;
  readonly gpus: readonly Gpu[] | null;
}

/** Win32_Processor.Architecture. */
const ARCHITECTURES: Readonly<Record<number, string>> = { 0: 'ia32', 5: 'arm', 9: 'x64', 12: 'arm64' };

/** Null: not an answer to DOCTOR_QUERY. */
export function parseWindowsFacts(text: string): WindowsFacts | null {
  const answer = answerSchema.safeParse(parseJson(text)).data;
  if (answer === undefined) return null;
  const { totalKib, freeKib, architecture, pageFileMib, performanceLimit, video } = answer;
  return {
    totalBytes: totalKib === null ? null : totalKib * KIB,
    availableBytes: freeKib === null ? null : freeKib * KIB,
    pageFileBytes: pageFileMib === null ? null : pageFileMib * KIB * KIB,
    nativeArch: architecture === null ? null : (ARCHITECTURES[architecture] ?? null),
    // 0 where the counter is not kept (guests); 100 is no limit.
    thermal:
      performanceLimit === null || performanceLimit === 0
        ? null
        : { throttled: performanceLimit < 100, detail: `performance limit ${performanceLimit}%` },
    gpus: video === null ? null : windowsGpus(video),
  };
}

/**
 * Identifiers are the same in every language, names are not:
 * https://learn.microsoft.com/en-us/windows-hardware/customize/desktop/unattend/microsoft-windows-stobject-flyoutpowersaverpowerscheme
 * (2026-11-25).
 */
const POWER_SAVER = 'a1841308-3541-4fab-bc81-f71556f20b4a';

/** `powercfg /getactivescheme`: `Power Scheme GUID: 381b4222-…  (Balanced)`. */
export function parsePowerScheme(text: string): PowerMode | null {
  const [, id, label] = /([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\s+\(([^)]+)\))?/i.exec(text) ?? [];
  return id === undefined ? null : { name: label ?? id, saves: id.toLowerCase() === POWER_SAVER };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
