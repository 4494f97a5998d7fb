/** Written from manual pages and published outputs: pmset(1), vm_stat(1), sysctl(8), mount(8), xattr(1), powercfg, CIM. */
import { describe, expect, test } from 'vitest';
import {
  isQuarantined,
  nativeMacArch,
  parseMacMounts,
  parseSwapUsage,
  parseTherm,
  parseVmStat,
} from '../../../src/platform/doctor/macos.ts';
import { parsePowerScheme, parseWindowsFacts } from '../../../src/platform/doctor/windows.ts';

describe('macOS', () => {
  const VM_STAT = `Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               22114.
Pages active:                            322394.
Pages inactive:                          317542.
Pages speculative:                         3683.
Pages throttled:                              0.
Pages wired down:                        121483.
Pages purgeable:                           6113.
"Translation faults":                 181719912.
Swapins:                                   1234.
`;

  test('memory that programs can get', () => {
    expect(parseVmStat(VM_STAT)).toEqual({ availableBytes: (22_114 + 317_542 + 3_683) * 16_384 });
    expect(parseVmStat('')).toBeNull();
  });

  test('swap', () => {
    expect(parseSwapUsage('total = 2048.00M  used = 1078.25M  free = 969.75M  (encrypted)\n')).toBe(
      1_078.25 * 1024 ** 2,
    );
    expect(parseSwapUsage('total = 0.00M  used = 0.00M  free = 0.00M  (encrypted)\n')).toBe(0);
    expect(parseSwapUsage('')).toBeNull();
  });

  test('heat: Intel names a limit', () => {
    const text = (limit: number): string =>
      `Note: No thermal warning level has been recorded\nNote: No performance warning level has been recorded\n2020-11-24 13:10:40 +0100 CPU Power notify\n\tCPU_Scheduler_Limit \t= 100\n\tCPU_Available_CPUs \t= 8\n\tCPU_Speed_Limit \t= ${limit}\n`;
    expect(parseTherm(text(35))).toEqual({ throttled: true, detail: 'CPU_Speed_Limit 35%' });
    expect(parseTherm(text(100))?.throttled).toBe(false);
  });

  test('heat: Apple silicon records warnings', () => {
    const text =
      'Note: No thermal warning level has been recorded\nNote: No performance warning level has been recorded\nNote: No CPU power status has been recorded\n';
    expect(parseTherm(text)?.throttled).toBe(false);
    expect(parseTherm('')).toBeNull();
  });

  test('mounts', () => {
    const mounts = parseMacMounts(
      '/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)\n/dev/disk4s1 on /Volumes/My Stick (msdos, local, nodev, noexec)\n',
    );
    expect(mounts).toEqual([
      { path: '/', type: 'apfs', options: ['sealed', 'local', 'read-only', 'journaled'] },
      { path: '/Volumes/My Stick', type: 'msdos', options: ['local', 'nodev', 'noexec'] },
    ]);
  });

  test.each([
    ['Apple silicon', { arm64: '1\n', translated: '0\n', memsize: '17179869184\n' }, 'arm64'],
    ['Apple silicon, under Rosetta', { arm64: null, translated: '1\n', memsize: '17179869184\n' }, 'arm64'],
    ['Intel', { arm64: null, translated: null, memsize: '17179869184\n' }, 'x64'],
    ['no sysctl', { arm64: null, translated: null, memsize: null }, null],
  ])('the processor: %s', (_name, facts, expected) => expect(nativeMacArch(facts)).toBe(expected));

  test('quarantine', () => {
    expect(isQuarantined('com.apple.metadata:kMDItemWhereFroms\ncom.apple.quarantine\n')).toBe(true);
    expect(isQuarantined('com.apple.provenance\n')).toBe(false);
    expect(isQuarantined('')).toBe(false);
  });
});

describe('Windows', () => {
  const answer = {
    totalKib: 16_533_088,
    freeKib: 8_123_456,
    architecture: 9,
    pageFileMib: 512,
    performanceLimit: 100,
    video: [{ name: 'NVIDIA GeForce RTX 4070', maker: 'NVIDIA', error: 0 }],
  };
  const parse = (changes: object): ReturnType<typeof parseWindowsFacts> =>
    parseWindowsFacts(JSON.stringify({ ...answer, ...changes }));

  test('in bytes and in Node’s words', () => {
    expect(parse({})).toEqual({
      totalBytes: 16_533_088 * 1024,
      availableBytes: 8_123_456 * 1024,
      pageFileBytes: 512 * 1024 ** 2,
      nativeArch: 'x64',
      thermal: { throttled: false, detail: 'performance limit 100%' },
      gpus: [{ vendor: 'nvidia', name: 'NVIDIA GeForce RTX 4070', driver: 'works', integrated: false }],
    });
  });

  test('an ARM laptop that is too hot', () => {
    expect(parse({ architecture: 12, performanceLimit: 60 })).toMatchObject({
      nativeArch: 'arm64',
      thermal: { throttled: true },
    });
  });

  test('a guest without page file, counters and graphics', () => {
    expect(parse({ pageFileMib: null, performanceLimit: 0, video: [] })).toMatchObject({
      pageFileBytes: null,
      thermal: null,
      gpus: [],
    });
  });

  test('no answer', () => {
    expect(parseWindowsFacts('')).toBeNull();
    expect(parseWindowsFacts('[]')).toBeNull();
    expect(parse({ totalKib: -1 })).toBeNull();
    expect(parse({ video: Array.from({ length: 65 }, () => answer.video[0]) })).toBeNull();
  });

  test('power plans by their identifier, in any language', () => {
    expect(parsePowerScheme('Power Scheme GUID: 381b4222-f694-41f0-9685-ff5bb260df2e  (Balanced)\r\n')).toEqual({
      name: 'Balanced',
      saves: false,
    });
    expect(
      parsePowerScheme('GUID des Energieschemas: a1841308-3541-4fab-bc81-f71556f20b4a  (Energiesparmodus)\r\n'),
    ).toEqual({ name: 'Energiesparmodus', saves: true });
    expect(parsePowerScheme('')).toBeNull();
  });
});
