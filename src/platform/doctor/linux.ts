/** Pure readers of what Linux says about memory, control groups, mounts, heat and GPUs. */
import type { BinfmtEntry, PowerMode } from '../../core/doctor/facts.ts';

const KIB = 1024;
/** Files of /proc and /sys have a few thousand entries on the largest machines. */
const LINES_MAX = 20_000;

/** /proc/meminfo, in bytes; null where a line is missing (`MemAvailable` needs Linux 3.14). */
export function parseMeminfo(text: string): {
  totalBytes: number | null;
  availableBytes: number | null;
  swapUsedBytes: number | null;
} {
  const bytesOf = (name: string): number | null => {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1];
    return kibibytes === undefined ? null : Number(kibibytes) * KIB;
  };
  const [swapTotal, swapFree] = [bytesOf('SwapTotal'), bytesOf('SwapFree')];
  return {
    totalBytes: bytesOf('MemTotal'),
    availableBytes: bytesOf('MemAvailable'),
    swapUsedBytes: swapTotal === null || swapFree === null ? null : Math.max(0, swapTotal - swapFree),
  };
}

/** `pswpin` of /proc/vmstat: pages read back from swap since the start. */
export function parseSwapIns(text: string): number | null {
  const value = /^pswpin (\d+)$/m.exec(text)?.[1];
  return value === undefined ? null : Number(value);
}

export interface Mount {
  readonly path: string;
  readonly type: string;
  readonly options: readonly string[];
}

/** /proc/self/mounts as in fstab(5): blanks in paths are written as `\040`. */
export function parseMounts(text: string): Mount[] {
  return text
    .split('\n')
    .slice(0, LINES_MAX)
    .flatMap((line) => {
      const [, path, type, options] = line.split(' ');
      if (path === undefined || type === undefined || options === undefined) return [];
      return { path: unescapeOctal(path), type, options: options.split(',') };
    });
}

function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** The mount that a path lies on; of two on the same folder the later one, which hides the other. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | null {
  let found: Mount | null = null;
  for (const mount of mounts) {
    const inside = path === mount.path || path.startsWith(mount.path.endsWith('/') ? mount.path : `${mount.path}/`);
    if (inside && (found === null || mount.path.length >= found.path.length)) found = mount;
  }
  return found;
}

export interface GroupPaths {
  /** Of the unified hierarchy (version 2); null: there is none. */
  readonly unified: string | null;
  /** Of version 1, by controller. */
  readonly cpu: string | null;
  readonly memory: string | null;
}

/** /proc/self/cgroup: `0::/path` for version 2, `4:cpu,cpuacct:/path` for version 1. */
export function parseCgroups(text: string): GroupPaths {
  const lines = text.split('\n').flatMap((line) => {
    const [, , controllers, path] = /^(\d+):([^:]*):(.+)$/.exec(line) ?? [];
    return controllers === undefined || path === undefined ? [] : [{ controllers: controllers.split(','), path }];
  });
  const of = (name: string): string | null => lines.find(({ controllers }) => controllers.includes(name))?.path ?? null;
  return { unified: of(''), cpu: of('cpu'), memory: of('memory') };
}

/** A group and all above it, whose limits hold for it, too: `/a/b` gives `/a/b`, `/a` and an empty text. */
export function groupAndParents(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '' && name !== '..');
  return [...names.keys(), names.length]
    .map((count) =>
      names
        .slice(0, count)
        .map((name) => `/${name}`)
        .join(''),
    )
    .toReversed();
}

/** `cpu.max` of version 2: `200000 100000` is two cores; `max 100000` no limit (null). */
export function parseCpuMax(text: string): number | null {
  const [, quota, period] = /^(\d+) (\d+)\s*$/.exec(text) ?? [];
  return quota === undefined ? null : cores(Number(quota), Number(period));
}

/** `cpu.cfs_quota_us` and `cpu.cfs_period_us` of version 1; -1 is no limit. */
export function parseCfsQuota(quota: string, period: string): number | null {
  return cores(Number.parseInt(quota, 10), Number.parseInt(period, 10));
}

function cores(quota: number, period: number): number | null {
  return quota > 0 && period > 0 ? quota / period : null;
}

/** A limit of version 1 without a limit is the largest number of pages; `max` is version 2's word. */
const NO_LIMIT_BYTES = 2 ** 60;

/** `memory.max`, `memory.limit_in_bytes`; null: no limit. */
export function parseMemoryLimit(text: string): number | null {
  const value = Number.parseInt(text, 10);
  return Number.isNaN(value) || value >= NO_LIMIT_BYTES ? null : value;
}

/** Pages of files, which the kernel takes back when a group needs room: `memory.stat` of both versions. */
export function parseReclaimable(text: string): number {
  return ['inactive_file', 'active_file'].reduce(
    (sum, name) => sum + Number(new RegExp(`^(?:total_)?${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0),
    0,
  );
}

/**
 * A file of /proc/sys/fs/binfmt_misc: https://docs.kernel.org/admin-guide/binfmt-misc.html (2026-11-25).
 * Null: not a registration.
 */
export function parseBinfmt(name: string, text: string): BinfmtEntry | null {
  const interpreter = /^interpreter (.+)$/m.exec(text)?.[1];
  if (interpreter === undefined) return null;
  return {
    name,
    enabled: /^enabled$/m.test(text),
    interpreter: interpreter.trim(),
    magic: /^magic ([0-9a-f]+)$/m.exec(text)?.[1] ?? null,
    offset: Number(/^offset (\d+)$/m.exec(text)?.[1] ?? 0),
  };
}

export interface FrequencyFacts {
  readonly governor: string;
  readonly driver: string;
  /** `energy_performance_preference` of intel_pstate and amd-pstate. */
  readonly preference: string;
  /** /sys/firmware/acpi/platform_profile. */
  readonly profile: string;
}

/** Drivers whose `powersave` is the normal governor: https://docs.kernel.org/admin-guide/pm/intel_pstate.html (2026-11-25). */
const SELF_SCALING = /^(intel_pstate|amd-pstate-epp|amd_pstate_epp)$/;

/** Null where nothing is told, as in most guests. */
export function readPowerMode({ governor, driver, preference, profile }: FrequencyFacts): PowerMode | null {
  const names = [
    governor === '' ? null : `governor ${governor}`,
    preference === '' ? null : `preference ${preference}`,
    profile === '' ? null : `profile ${profile}`,
  ].filter((name) => name !== null);
  if (names.length === 0) return null;
  const slowGovernor = governor === 'powersave' && !SELF_SCALING.test(driver);
  return { name: names.join(', '), saves: slowGovernor || preference === 'power' || profile === 'low-power' };
}

export interface ThrottleCounts {
  /** Sums over all cores since the start of the machine. */
  readonly core: number;
  readonly package: number;
}

/** @returns null without any counter (guests, ARM) */
export function sumThrottles(
  texts: readonly { readonly core: string; readonly package: string }[],
): ThrottleCounts | null {
  const known = texts.filter(({ core }) => /^\d+/.test(core));
  if (known.length === 0) return null;
  const sum = (key: 'core' | 'package'): number =>
    known.reduce((total, entry) => total + (Number.parseInt(entry[key], 10) || 0), 0);
  return { core: sum('core'), package: sum('package') };
}
