import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromCpuInfo, parseProcStat } from '../../../src/platform/cpu/cpu-times.ts';
import { interference, readCpuSnapshot } from '../../../src/platform/cpu/interference.ts';
import type { CpuSnapshot } from '../../../src/platform/cpu/interference.ts';

const NULLS = { foreignCpuShare: null, stealShare: null, ownCpuShare: null };

interface Moment {
  atMs?: number;
  busyMs?: number;
  idleMs?: number;
  stealMs?: number | null;
  engineMs?: number | null;
  ownMs?: number;
}

function snapshot({ atMs = 0, busyMs = 0, idleMs = 0, stealMs = 0, engineMs = 0, ownMs = 0 }: Moment): CpuSnapshot {
  return { atMs, machine: { coreCount: 4, busyMs, idleMs, stealMs }, engineMs, ownMs };
}

test('Linux: /proc/stat', () => {
  const text =
    'cpu  1000 20 300 9000 80 5 15 40 100 0\ncpu0 500 10 150 4500 40 3 7 20 50 0\ncpu1 500 10 150 4500 40 2 8 20 50 0\nintr 1\n';
  expect(parseProcStat(text)).toEqual({ coreCount: 2, busyMs: 13_400, idleMs: 90_800, stealMs: 400 });
  expect(parseProcStat('')).toBeNull();
});

test('elsewhere: what Node tells', () => {
  const times = { user: 10, nice: 1, sys: 5, irq: 2, idle: 100 };
  expect(fromCpuInfo([{ times }, { times }])).toEqual({ coreCount: 2, busyMs: 36, idleMs: 200, stealMs: null });
});

describe('interference', () => {
  const before = snapshot({});

  test('shares of all cores: 4 cores for 1 s', () => {
    const after = snapshot({ atMs: 1_000, busyMs: 2_600, idleMs: 1_200, stealMs: 200, engineMs: 2_000, ownMs: 80 });
    expect(interference(before, after)).toEqual({ foreignCpuShare: 0.13, stealShare: 0.05, ownCpuShare: 0.02 });
  });

  test('what rounding alone could make is nothing', () => {
    const at = (busyMs: number): CpuSnapshot =>
      snapshot({ atMs: 1_000, busyMs, idleMs: 4_000 - busyMs, engineMs: 2_000 });
    expect(interference(before, at(2_040)).foreignCpuShare).toBe(0);
    expect(interference(before, at(2_050)).foreignCpuShare).toBe(0.0125);
    expect(interference(before, at(1_900)).foreignCpuShare).toBe(0);
  });

  test('too short to tell', () => {
    expect(interference(before, snapshot({ atMs: 199, busyMs: 400, idleMs: 400 }))).toEqual(NULLS);
    expect(interference(before, snapshot({ atMs: 200, busyMs: 400, idleMs: 400 })).foreignCpuShare).toBe(0.5);
    expect(interference(before, snapshot({ atMs: 1_000 }))).toEqual(NULLS);
  });

  test('what is not told stays null', () => {
    const after = snapshot({ atMs: 1_000, busyMs: 1_000, idleMs: 3_000, engineMs: null, stealMs: null });
    expect(interference(before, after)).toEqual({ foreignCpuShare: null, stealShare: null, ownCpuShare: 0 });
  });

  test('shares stay between 0 and 1, whatever the counters do', () => {
    const ms = fc.integer({ min: -1_000_000, max: 1_000_000 });
    fc.assert(
      fc.property(ms, ms, ms, ms, ms, (busyMs, idleMs, stealMs, engineMs, ownMs) => {
        const shares = Object.values(
          interference(before, snapshot({ atMs: 1_000, busyMs, idleMs, stealMs, engineMs, ownMs })),
        );
        return shares.every((share) => share === null || (share >= 0 && share <= 1));
      }),
    );
  });
});

test('this machine can be read', async () => {
  const now = await readCpuSnapshot(process.pid);
  expect(now.machine.busyMs).toBeGreaterThan(0);
  expect(now.engineMs).toBeGreaterThan(0);
  expect(now.ownMs).toBeGreaterThan(0);
  expect((await readCpuSnapshot(2 ** 30)).engineMs).toBeNull();
});
