/** One second of the machine while runoff does nothing: who else is at work? */
import { loadavg } from 'node:os';
import { readdir } from 'node:fs/promises';
import type { Activity, Thermal } from '../../core/doctor/facts.ts';
import { sleep } from '../clock.ts';
import { interference, readCpuSnapshot } from '../cpu/interference.ts';
import { busiest, readProgramTimes } from './busiest.ts';
import { parseSwapIns, sumThrottles } from './linux.ts';
import type { ThrottleCounts } from './linux.ts';
import { readText } from './read-text.ts';

/** Long enough for 100 ticks of the kernel's clock, short enough to wait for. */
const LOOK_MS = 1_000;

/** Nothing else of runoff may run meanwhile: it would count as others. `thermal` is null where there are no counters. */
export async function lookAtActivity(): Promise<Activity & { readonly thermal: Thermal | null }> {
  const [swapBefore, throttlesBefore] = [await readSwapIns(), await readThrottles()];
  const programsBefore = await readProgramTimes();
  const before = await readCpuSnapshot(null);
  await sleep(LOOK_MS);
  const after = await readCpuSnapshot(null);
  const programsAfter = await readProgramTimes();
  const [swapAfter, throttlesAfter] = [await readSwapIns(), await readThrottles()];
  return {
    interference: interference(before, after),
    // Windows has none and says 0.
    loadAverage: process.platform === 'win32' ? null : (loadavg()[0] ?? null),
    swapInPages: swapBefore === null || swapAfter === null ? null : swapAfter - swapBefore,
    busiest:
      programsBefore === null || programsAfter === null
        ? null
        : busiest(programsBefore, programsAfter, { ownPid: process.pid, elapsedMs: after.atMs - before.atMs }),
    thermal: compareThrottles(throttlesBefore, throttlesAfter),
  };
}

/** Pure: counts since the start of the machine say nothing about now; their growth does. */
export function compareThrottles(before: ThrottleCounts | null, after: ThrottleCounts | null): Thermal | null {
  if (before === null || after === null) return null;
  const events = after.core - before.core + (after.package - before.package);
  const total = `${after.core} of cores and ${after.package} of packages since the start of the machine`;
  return events > 0
    ? { throttled: true, detail: `${events} throttle events in a second (${total})` }
    : { throttled: false, detail: total };
}

async function readSwapIns(): Promise<number | null> {
  return process.platform === 'linux' ? parseSwapIns(await readText('/proc/vmstat')) : null;
}

export async function readThrottles(): Promise<ThrottleCounts | null> {
  if (process.platform !== 'linux') return null;
  const folder = '/sys/devices/system/cpu';
  const names = (await readdir(folder).catch((): string[] => [])).filter((name) => /^cpu\d+$/.test(name));
  const texts = await Promise.all(
    names.map(async (name) => {
      const [core = '', packages = ''] = await Promise.all(
        ['core_throttle_count', 'package_throttle_count'].map((file) =>
          readText(`${folder}/${name}/thermal_throttle/${file}`),
        ),
      );
      return { core, package: packages };
    }),
  );
  return sumThrottles(texts);
}
