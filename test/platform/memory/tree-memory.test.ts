import { describe, expect, test } from 'vitest';
import { parseLinuxStatus } from '../../../src/platform/memory/linux.ts';
import { parseFootprint } from '../../../src/platform/memory/macos.ts';
import { readTreeMemory, sumLinux, sumMacos, sumWindows } from '../../../src/platform/memory/tree-memory.ts';
import type { ProcessRow } from '../../../src/platform/process-table/process-row.ts';

const MIB = 1024 * 1024;

const STATUS = `Name:\tllama-server
Umask:\t0022
State:\tS (sleeping)
Pid:\t4711
VmPeak:\t 3145728 kB
VmSize:\t 3145728 kB
VmHWM:\t  921600 kB
VmRSS:\t  819200 kB
RssAnon:\t  204800 kB
RssFile:\t  602112 kB
RssShmem:\t   12288 kB
VmData:\t  409600 kB
`;

const FOOTPRINT = `======================================================================
llama-server [4711]: 64-bit    Footprint: 812 MB (16384 bytes per page)
======================================================================

Auxiliary data:
    phys_footprint: 812 MB
    phys_footprint_peak: 1.25 GB
`;

function row(values: Partial<ProcessRow>): ProcessRow {
  return {
    pid: 1,
    parentPid: 0,
    groupPid: null,
    cpuMs: 0,
    residentBytes: null,
    peakResidentBytes: null,
    privateBytes: null,
    ...values,
  };
}

describe('Linux', () => {
  test('status', () => {
    expect(parseLinuxStatus(STATUS)).toEqual({
      peakBytes: 900 * MIB,
      anonymousBytes: 200 * MIB,
      fileBytes: 588 * MIB,
      sharedBytes: 12 * MIB,
    });
    expect(parseLinuxStatus('Name:\tkthreadd\nState:\tZ (zombie)\n')).toBeNull();
  });

  test('sums over the tree; shared memory counts as anonymous', () => {
    const status = parseLinuxStatus(STATUS);
    expect(sumLinux([status, null, status])).toEqual({
      peakBytes: 1800 * MIB,
      anonymousBytes: 424 * MIB,
      fileBackedBytes: 1176 * MIB,
    });
    expect(sumLinux([null])).toEqual({ peakBytes: null, anonymousBytes: null, fileBackedBytes: null });
  });
});

describe('macOS', () => {
  const tree = [row({ residentBytes: 900 * MIB }), row({ residentBytes: 100 * MIB })];

  test('footprint', () => {
    expect(parseFootprint(FOOTPRINT)).toEqual({ nowBytes: 812 * MIB, peakBytes: 1280 * MIB });
    expect(parseFootprint('footprint: no such process')).toBeNull();
  });

  test('the larger of two lower bounds', () => {
    expect(sumMacos(tree, [parseFootprint(FOOTPRINT), null])).toEqual({
      peakBytes: 1280 * MIB,
      anonymousBytes: 812 * MIB,
      fileBackedBytes: null,
    });
    expect(sumMacos(tree, [null, null])).toEqual({
      peakBytes: 1000 * MIB,
      anonymousBytes: null,
      fileBackedBytes: null,
    });
  });
});

test('Windows', () => {
  const tree = [
    row({ peakResidentBytes: 3 * MIB, privateBytes: 2 * MIB }),
    row({ peakResidentBytes: MIB, privateBytes: MIB }),
  ];
  expect(sumWindows(tree)).toEqual({ peakBytes: 4 * MIB, anonymousBytes: 3 * MIB, fileBackedBytes: null });
});

test('a process of this machine has memory, one that is gone has none', async () => {
  expect((await readTreeMemory(process.pid)).peakBytes).toBeGreaterThan(10 * MIB);
  expect(await readTreeMemory(2 ** 30)).toEqual({ peakBytes: null, anonymousBytes: null, fileBackedBytes: null });
});
