import type { Interference } from '../../core/record.ts';
import { monotonicMs } from '../clock.ts';
import { TICK_MS } from '../process-table/linux.ts';
import { readCpuTimes } from './cpu-times.ts';
import type { CpuTimes } from './cpu-times.ts';
import { readOwnCpuMs, readTreeCpuMs } from './process-cpu.ts';

/** Processor time is counted in ticks of 10 ms: under 20 of them a share is mostly rounding. */
const INTERVAL_MS_MIN = 200;

export interface CpuSnapshot {
  readonly atMs: number;
  readonly machine: CpuTimes;
  /** Of the engine's tree; null when it could not be read. */
  readonly engineMs: number | null;
  readonly ownMs: number;
}

/** `enginePid` null: the engine is not started yet and has used nothing. */
export async function readCpuSnapshot(enginePid: number | null): Promise<CpuSnapshot> {
  // One after the other, not at once: what reading costs is inside `ownMs` then.
  const engineMs = enginePid === null ? 0 : await readTreeCpuMs(enginePid);
  const machine = await readCpuTimes();
  return { atMs: monotonicMs(), machine, engineMs, ownMs: await readOwnCpuMs() };
}

/**
 * Pure: who else used the machine between two snapshots, as shares of all its cores.
 * foreign = busy time of the machine - engine - runoff. All null when the interval is too short to tell.
 */
export function interference(before: CpuSnapshot, after: CpuSnapshot): Interference {
  const busyMs = after.machine.busyMs - before.machine.busyMs;
  const idleMs = after.machine.idleMs - before.machine.idleMs;
  const stealMs = difference(before.machine.stealMs, after.machine.stealMs);
  const totalMs = busyMs + idleMs + (stealMs ?? 0);
  if (after.atMs - before.atMs < INTERVAL_MS_MIN || totalMs <= 0) {
    return { foreignCpuShare: null, stealShare: null, ownCpuShare: null };
  }
  const ownMs = after.ownMs - before.ownMs;
  const engineMs = difference(before.engineMs, after.engineMs);
  return {
    foreignCpuShare:
      engineMs === null ? null : share(aboveRounding(busyMs - engineMs - ownMs, after.machine.coreCount), totalMs),
    stealShare: stealMs === null ? null : share(stealMs, totalMs),
    ownCpuShare: share(ownMs, totalMs),
  };
}

/** Each core's counter may be one tick off: less than that together is nothing. */
function aboveRounding(ms: number, coreCount: number): number {
  return ms <= coreCount * TICK_MS ? 0 : ms;
}

function difference(before: number | null, after: number | null): number | null {
  return before === null || after === null ? null : after - before;
}

function share(ms: number, totalMs: number): number {
  return Math.min(1, Math.max(0, ms / totalMs));
}
