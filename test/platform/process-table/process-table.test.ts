import { describe, expect, test } from 'vitest';
import { parseLinuxStat } from '../../../src/platform/process-table/linux.ts';
import { parsePs } from '../../../src/platform/process-table/macos.ts';
import { treeOf } from '../../../src/platform/process-table/process-row.ts';
import type { ProcessRow } from '../../../src/platform/process-table/process-row.ts';
import { readTree } from '../../../src/platform/process-table/process-table.ts';
import { parseWindowsProcesses } from '../../../src/platform/process-table/windows.ts';

const NOTHING = { residentBytes: null, peakResidentBytes: null, privateBytes: null };

function row(pid: number, parentPid: number, groupPid: number | null = null): ProcessRow {
  return { pid, parentPid, groupPid, cpuMs: 0, ...NOTHING };
}

describe('treeOf', () => {
  test('descendants of any depth, nobody else', () => {
    const rows = [row(1, 0), row(10, 1), row(11, 10), row(12, 11), row(20, 1)];
    expect(
      treeOf(rows, 10)
        .map(({ pid }) => pid)
        .toSorted((a, b) => a - b),
    ).toEqual([10, 11, 12]);
    expect(treeOf(rows, 99)).toEqual([]);
  });

  test('members of the group that init has adopted', () => {
    const rows = [row(10, 5, 10), row(11, 1, 10), row(12, 11, 12), row(13, 1, 13)];
    expect(
      treeOf(rows, 10)
        .map(({ pid }) => pid)
        .toSorted((a, b) => a - b),
    ).toEqual([10, 11, 12]);
  });

  test('a circle of reused ids ends', () => {
    expect(treeOf([row(10, 11), row(11, 10)], 10)).toHaveLength(2);
  });
});

test('Linux: names with spaces and parentheses; own and children’s ticks', () => {
  const text =
    '4711 (llama (srv) x) S 4700 4711 4700 0 -1 4194304 90210 120 11 0 1234 56 7 3 20 0 9 0 88123 1073741824 25600 18446744073709551615';
  expect(parseLinuxStat(text)).toEqual({ pid: 4711, parentPid: 4700, groupPid: 4711, cpuMs: 13_000, ...NOTHING });
  expect(parseLinuxStat('')).toBeNull();
});

test('macOS: ps', () => {
  const text = [
    '    1     0     1   12864   1:02.50',
    '  501     1   501  983040 1:01:01.25',
    '  777   501   501     512 2-00:00:01',
    'nonsense',
    '',
  ].join('\n');
  const base = { peakResidentBytes: null, privateBytes: null };
  expect(parsePs(text)).toEqual([
    { pid: 1, parentPid: 0, groupPid: 1, cpuMs: 62_500, residentBytes: 12_864 * 1024, ...base },
    { pid: 501, parentPid: 1, groupPid: 501, cpuMs: 3_661_250, residentBytes: 983_040 * 1024, ...base },
    { pid: 777, parentPid: 501, groupPid: 501, cpuMs: 172_801_000, residentBytes: 512 * 1024, ...base },
  ]);
});

describe('Windows: Win32_Process as JSON', () => {
  const one =
    '{"ProcessId":4242,"ParentProcessId":100,"WorkingSetSize":"1073741824","PeakWorkingSetSize":1153434,' +
    '"PrivatePageCount":536870912,"KernelModeTime":15625000,"UserModeTime":312500000}';
  const expected: ProcessRow = {
    pid: 4242,
    parentPid: 100,
    groupPid: null,
    cpuMs: 32_812.5,
    residentBytes: 1_073_741_824,
    peakResidentBytes: 1_153_434 * 1024,
    privateBytes: 536_870_912,
  };

  test('one process comes without a list', () => {
    expect(parseWindowsProcesses(one)).toEqual([expected]);
    expect(parseWindowsProcesses(`[${one},${one}]`)).toEqual([expected, expected]);
    expect(parseWindowsProcesses('')).toEqual([]);
  });

  test('another answer is refused', () => {
    expect(() => parseWindowsProcesses('{"ProcessId":1}')).toThrow('ParentProcessId');
  });
});

test('this process is in the table of this machine', async () => {
  expect((await readTree(process.pid)).map(({ pid }) => pid)).toContain(process.pid);
});
