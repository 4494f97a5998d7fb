/** Pure readers of macOS's own commands. */
import type { Thermal } from '../../core/doctor/facts.ts';
import type { Mount } from './linux.ts';

const UNITS: Readonly<Record<string, number>> = { K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };

/**
 * `vm_stat`: what programs can get is what is free or inactive, as psutil counts it
 * (https://psutil.readthedocs.io/latest/#psutil.virtual_memory, 2026-11-25). Bytes; null: not such an answer.
 */
export function parseVmStat(text: string): { availableBytes: number } | null {
  const pageBytes = Number(/page size of (\d+) bytes/.exec(text)?.[1] ?? 0);
  const pages = (name: string): number | null => {
    const value = new RegExp(`^${name}:\\s+(\\d+)\\.?$`, 'm').exec(text)?.[1];
    return value === undefined ? null : Number(value);
  };
  const [free, inactive] = [pages('Pages free'), pages('Pages inactive')];
  if (pageBytes === 0 || free === null || inactive === null) return null;
  return { availableBytes: (free + inactive + (pages('Pages speculative') ?? 0)) * pageBytes };
}

/** `sysctl -n vm.swapusage`: `total = 2048.00M  used = 1078.25M  free = 969.75M  (encrypted)`. Bytes. */
export function parseSwapUsage(text: string): number | null {
  const [, number, unit] = /\bused = ([\d.]+)([KMGT])/.exec(text) ?? [];
  const factor = UNITS[unit ?? ''];
  return number === undefined || factor === undefined ? null : Math.round(Number(number) * factor);
}

/** `pmset -g therm`: Intel Macs name limits in percent, Apple silicon only that nothing was recorded. */
export function parseTherm(text: string): Thermal | null {
  const limit = /CPU_Speed_Limit\s*=\s*(\d+)/.exec(text)?.[1];
  if (limit !== undefined) return { throttled: Number(limit) < 100, detail: `CPU_Speed_Limit ${limit}%` };
  return /No thermal warning level has been recorded/.test(text)
    ? { throttled: false, detail: 'no thermal warning level' }
    : null;
}

/** `mount`: `/dev/disk3s5 on /System/Volumes/Data (apfs, local, noexec)`. */
export function parseMacMounts(text: string): Mount[] {
  return [...text.matchAll(/^.+? on (\/.*) \(([^()]+)\)$/gm)].flatMap(([, path, list]) => {
    const [type, ...options] = (list ?? '').split(', ');
    return path === undefined || type === undefined ? [] : [{ path, type, options }];
  });
}

/** `sysctl -n hw.optional.arm64` says 1 to translated programs, too; Intel Macs do not know the name. */
export function nativeMacArch({
  arm64,
  translated,
  memsize,
}: {
  arm64: string | null;
  translated: string | null;
  memsize: string | null;
}): string | null {
  if (arm64?.trim() === '1' || translated?.trim() === '1') return 'arm64';
  return memsize === null ? null : 'x64';
}

/** `xattr FILE`: the names of its attributes, one a line. */
export function isQuarantined(text: string): boolean {
  return text.split('\n').some((line) => line.trim() === 'com.apple.quarantine');
}
