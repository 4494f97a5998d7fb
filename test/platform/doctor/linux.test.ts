/**
 * What Linux says. `Recorded`: taken from a machine as it was, shortened. The others are written from the manuals that
 * the readers name: proc(5), fstab(5), docs.kernel.org and the pages of WSL.
 */
import { describe, expect, test } from 'vitest';
import { compareThrottles } from '../../../src/platform/doctor/activity.ts';
import { busiest, parseProgramTime } from '../../../src/platform/doctor/busiest.ts';
import {
  groupAndParents,
  mountOf,
  parseBinfmt,
  parseCfsQuota,
  parseCgroups,
  parseCpuMax,
  parseMeminfo,
  parseMemoryLimit,
  parseMounts,
  parseReclaimable,
  parseSwapIns,
  readPowerMode,
  sumThrottles,
} from '../../../src/platform/doctor/linux.ts';
import { tightest } from '../../../src/platform/doctor/memory.ts';
import { loaderFolder } from '../../../src/platform/doctor/places.ts';

/** Recorded: a Firecracker guest, Linux 6.18. */
const MEMINFO = `MemTotal:       24684084 kB
MemFree:        21345228 kB
MemAvailable:   23617368 kB
Buffers:           54780 kB
SwapCached:            0 kB
SwapTotal:             0 kB
SwapFree:              0 kB
Zswap:                 0 kB
`;
/** Recorded there, too. */
const MOUNTS = `/dev/vda / ext4 rw,relatime,discard,resv_strict,resuid=65534,resgid=65534 0 0
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
`;
/** Recorded there, too: version 1, with an empty version 2 beside it. */
const CGROUP = `9:name=systemd:/
4:memory:/process_api/ea8ab5124622
3:cpuset:/
2:cpuacct:/
1:cpu:/
0::/
`;

describe('memory', () => {
  test('in bytes', () => {
    expect(parseMeminfo(MEMINFO)).toEqual({
      totalBytes: 24_684_084 * 1024,
      availableBytes: 23_617_368 * 1024,
      swapUsedBytes: 0,
    });
    expect(parseMeminfo(MEMINFO.replace('SwapTotal:             0', 'SwapTotal:       8388604'))).toMatchObject({
      swapUsedBytes: 8_388_604 * 1024,
    });
  });

  test('an old kernel, and no file', () => {
    expect(parseMeminfo('MemTotal:       1024 kB\n')).toEqual({
      totalBytes: 1024 ** 2,
      availableBytes: null,
      swapUsedBytes: null,
    });
    expect(parseMeminfo('')).toEqual({ totalBytes: null, availableBytes: null, swapUsedBytes: null });
  });

  test('pages from swap', () => {
    expect(parseSwapIns('pswpin 4711\npswpout 12\n')).toBe(4_711);
    expect(parseSwapIns('')).toBeNull();
  });

  const machine = { totalBytes: 64e9, availableBytes: 32e9, swapUsedBytes: 0 };

  test('a group that allows less than the machine has', () => {
    expect(tightest(machine, [{ limitBytes: 8e9, leftBytes: 5e9 }])).toEqual({
      totalBytes: 8e9,
      availableBytes: 5e9,
      limitedByGroup: true,
      swapUsedBytes: 0,
    });
    expect(tightest({ ...machine, availableBytes: 2e9 }, [{ limitBytes: 8e9, leftBytes: 5e9 }])).toMatchObject({
      availableBytes: 2e9,
    });
    expect(tightest({ ...machine, availableBytes: null }, [{ limitBytes: 8e9, leftBytes: -1 }])).toMatchObject({
      availableBytes: 0,
    });
  });

  test('a limit above the machine’s memory is none', () => {
    expect(tightest(machine, [{ limitBytes: 128e9, leftBytes: 1e9 }])).toMatchObject({
      totalBytes: 64e9,
      availableBytes: 32e9,
      limitedByGroup: false,
    });
  });
});

describe('mounts', () => {
  test('the nearest one', () => {
    const mounts = parseMounts(`${MOUNTS}tmpfs /tmp tmpfs rw,nosuid,nodev,noexec 0 0\n`);
    expect(mountOf('/tmp/x', mounts)).toEqual({
      path: '/tmp',
      type: 'tmpfs',
      options: ['rw', 'nosuid', 'nodev', 'noexec'],
    });
    expect(mountOf('/tmpfile', mounts)?.path).toBe('/');
    expect(mountOf('/tmp', mounts)?.path).toBe('/tmp');
    expect(mountOf('/x', [])).toBeNull();
  });

  test('the later of two hides the earlier', () => {
    const mounts = parseMounts('a /data ext4 rw 0 0\nb /data nfs4 rw,noexec 0 0\n');
    expect(mountOf('/data/m.gguf', mounts)?.type).toBe('nfs4');
  });

  test('blanks in a path; a drive of Windows in WSL', () => {
    expect(parseMounts('C:\\134 /mnt/my\\040disk 9p rw,noatime,dirsync 0 0\n')).toEqual([
      { path: '/mnt/my disk', type: '9p', options: ['rw', 'noatime', 'dirsync'] },
    ]);
  });

  test('where a llamafile unpacks its loader', () => {
    expect(loaderFolder({ TMPDIR: '/scratch', HOME: '/home/ada' })).toBe('/scratch');
    expect(loaderFolder({ TMPDIR: '', HOME: '/home/ada' })).toBe('/home/ada');
  });
});

describe('control groups', () => {
  test('paths of both versions', () => {
    expect(parseCgroups(CGROUP)).toEqual({ unified: '/', cpu: '/', memory: '/process_api/ea8ab5124622' });
    expect(parseCgroups('0::/user.slice/user-1000.slice/session-2.scope\n')).toMatchObject({
      unified: '/user.slice/user-1000.slice/session-2.scope',
      cpu: null,
    });
    expect(parseCgroups('12:cpu,cpuacct:/docker/3f\n')).toMatchObject({ cpu: '/docker/3f' });
    expect(parseCgroups('')).toEqual({ unified: null, cpu: null, memory: null });
  });

  test('a group, those above it, and the root', () => {
    expect(groupAndParents('/a/b')).toEqual(['/a/b', '/a', '']);
    expect(groupAndParents('/')).toEqual(['']);
    expect(groupAndParents('/../../x')).toEqual(['/x', '']);
  });

  test('CPU time', () => {
    expect(parseCpuMax('250000 100000\n')).toBe(2.5);
    expect(parseCpuMax('max 100000\n')).toBeNull();
    expect(parseCpuMax('')).toBeNull();
    expect(parseCfsQuota('150000\n', '100000\n')).toBe(1.5);
    expect(parseCfsQuota('-1\n', '100000\n')).toBeNull();
    expect(parseCfsQuota('', '')).toBeNull();
  });

  test('memory', () => {
    expect(parseMemoryLimit('8589934592\n')).toBe(8 * 1024 ** 3);
    expect(parseMemoryLimit('max\n')).toBeNull();
    expect(parseMemoryLimit('9223372036854771712\n')).toBeNull();
    expect(parseReclaimable('anon 100\nfile 900\ninactive_file 300\nactive_file 40\n')).toBe(340);
    expect(parseReclaimable('total_inactive_file 7\n')).toBe(7);
  });
});

describe('binfmt_misc', () => {
  test('WSL', () => {
    const text = 'enabled\ninterpreter /init\nflags: PF\noffset 0\nmagic 4d5a\n';
    expect(parseBinfmt('WSLInterop', text)).toEqual({
      name: 'WSLInterop',
      enabled: true,
      interpreter: '/init',
      magic: '4d5a',
      offset: 0,
    });
  });

  test('WINE by extension, a disabled one, and no registration', () => {
    expect(parseBinfmt('wine', 'disabled\ninterpreter /usr/bin/wine\nflags: \nextension .exe\n')).toMatchObject({
      enabled: false,
      magic: null,
    });
    expect(parseBinfmt('status', 'enabled\n')).toBeNull();
  });
});

describe('speed of the processor', () => {
  const facts = { governor: '', driver: '', preference: '', profile: '' };

  test('powersave of a driver that scales by itself is normal', () => {
    expect(
      readPowerMode({ ...facts, governor: 'powersave', driver: 'intel_pstate', preference: 'balance_performance' }),
    ).toEqual({
      name: 'governor powersave, preference balance_performance',
      saves: false,
    });
    expect(readPowerMode({ ...facts, governor: 'powersave', driver: 'acpi-cpufreq' })?.saves).toBe(true);
    expect(readPowerMode({ ...facts, governor: 'powersave', driver: 'intel_pstate', preference: 'power' })?.saves).toBe(
      true,
    );
    expect(readPowerMode({ ...facts, profile: 'low-power' })?.saves).toBe(true);
    expect(readPowerMode({ ...facts, governor: 'schedutil', profile: 'balanced' })?.saves).toBe(false);
  });

  test('a guest tells nothing', () => expect(readPowerMode(facts)).toBeNull());

  test('throttle counters: their growth counts', () => {
    const before = sumThrottles([
      { core: '3\n', package: '5\n' },
      { core: '4\n', package: '5\n' },
    ]);
    expect(before).toEqual({ core: 7, package: 10 });
    expect(compareThrottles(before, before)).toEqual({
      throttled: false,
      detail: '7 of cores and 10 of packages since the start of the machine',
    });
    expect(compareThrottles(before, { core: 9, package: 10 })).toMatchObject({ throttled: true });
    expect(compareThrottles(before, { core: 9, package: 10 })?.detail).toContain('2 throttle events in a second');
  });

  test('a machine without counters', () => {
    expect(sumThrottles([{ core: '', package: '' }])).toBeNull();
    expect(compareThrottles(null, null)).toBeNull();
  });
});

describe('who is busy', () => {
  /** Recorded: `cat /proc/self/stat`, with a name as a browser gives it and times that can be told apart. */
  const STAT =
    '4242 (Web Content (x)) R 4199 4242 4199 34816 4242 4194304 101 0 0 0 120 30 7000 7000 20 0 1 0 1643210 3153920 416 18446744073709551615';

  test('own time, without that of children that have ended', () => {
    expect(parseProgramTime(STAT)).toEqual({ pid: 4_242, name: 'Web Content (x)', cpuMs: 1_500 });
    expect(parseProgramTime('')).toBeNull();
    expect(parseProgramTime('no such file')).toBeNull();
  });

  const time = (pid: number, name: string, cpuMs: number): { pid: number; name: string; cpuMs: number } => ({
    pid,
    name,
    cpuMs,
  });
  const options = { ownPid: 1, elapsedMs: 1_000 };

  test('by name, the busiest first; we ourselves and the quiet ones do not count', () => {
    const before = [time(1, 'node', 0), time(2, 'cc1plus', 5_000), time(3, 'cc1plus', 0), time(4, 'top', 0)];
    const after = [
      time(1, 'node', 900),
      time(2, 'cc1plus', 5_500),
      time(3, 'cc1plus', 400),
      time(4, 'top', 40),
      time(5, 'rustc', 950),
    ];
    expect(busiest(before, after, options)).toEqual([
      { name: 'rustc', coreShare: 0.95 },
      { name: 'cc1plus', coreShare: 0.9 },
    ]);
  });

  test('three names, and no negative time when a number is used again', () => {
    const after = ['a', 'b', 'c', 'd'].map((name, index) => time(index + 10, name, 100));
    expect(busiest([], after, options)).toHaveLength(3);
    const reused = [time(10, 'a', 100), time(11, 'a', 500)];
    expect(busiest([time(10, 'old', 9_000)], reused, options)).toEqual([{ name: 'a', coreShare: 0.5 }]);
  });
});
