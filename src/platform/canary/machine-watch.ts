/** Looks at the machine between processes: the canary, the system's counters, and who else was at work. */
import { totalmem } from 'node:os';
import { join } from 'node:path';
import type { BusyProgram } from '../../core/doctor/facts.ts';
import type { CanaryReading, Conditions, Pressure } from '../../core/machine-check-schema.ts';
import { monotonicMs } from '../clock.ts';
import { pressureBetween, readConditions, readPressure } from '../conditions/read-conditions.ts';
import { busiest, readProgramTimes } from '../doctor/busiest.ts';
import { cacheFolder } from '../folders.ts';
import { keepBest, readBest } from './best-reading.ts';
import type { BestReading } from './best-reading.ts';
import { openCanary } from './canary.ts';
import type { Canary } from './canary.ts';

export interface MachineLook {
  readonly canary: CanaryReading | null;
  readonly conditions: Conditions;
  /** While the canary ran. */
  readonly pressure: Pressure | null;
  /** Programs that used most since the last look; null: not told. */
  readonly busiest: readonly BusyProgram[] | null;
  readonly costMs: number;
}

export interface MachineWatch {
  /** Null: there is none here, as asked or because it could not be opened. */
  readonly canary: { readonly threads: number; readonly bufferBytes: number } | null;
  /** Why the canary that was asked for is not there. */
  readonly trouble: string | null;
  readonly best: BestReading | null;
  /** @param canaryMs of reading and of computing, each; null: without the canary */
  look(canaryMs: number | null): Promise<MachineLook>;
  close(): Promise<void>;
}

export interface WatchAsk {
  readonly withCanary: boolean;
  /** As many as the engines use. */
  readonly threads: number;
  /** Of all last-level caches; null: not known. */
  readonly cacheBytes: number | null;
  /** Name of the processor: the best reading belongs to it. */
  readonly cpu: string;
}

const MIB = 2 ** 20;
/** Four times the cache: at most a quarter of the reads can come from it, and with a moving window nearly none do. */
const CACHE_FACTOR = 4;
/** Of a desktop processor; servers, which have more, tell. */
const CACHE_BYTES_GUESS = 64 * MIB;
const BUFFER_BYTES_MIN = 64 * MIB;
/** More would take seconds to fill and memory that the model needs; the largest servers have caches above 256 MiB. */
const BUFFER_BYTES_MAX = 1_024 * MIB;
const MEMORY_SHARE_MAX = 1 / 16;

/** Pure: size of the canary's buffer. */
export function canaryBufferBytes(cacheBytes: number | null, memoryBytes: number): number {
  const wanted = CACHE_FACTOR * (cacheBytes ?? CACHE_BYTES_GUESS);
  return Math.max(BUFFER_BYTES_MIN, Math.min(wanted, BUFFER_BYTES_MAX, memoryBytes * MEMORY_SHARE_MAX));
}

export async function openMachineWatch(ask: WatchAsk): Promise<MachineWatch> {
  const { file, key } = placeOfBest(ask);
  const opened = ask.withCanary ? await tryCanary(ask) : { canary: null, trouble: null };
  const best = opened.canary === null ? null : await readBest(file, key);
  const watch = new Watch(opened.canary);
  return {
    canary: opened.canary,
    trouble: opened.trouble,
    best,
    look: (canaryMs) => watch.look(canaryMs),
    close: async () => {
      await opened.canary?.close();
      if (watch.fastest !== null) await keepBest(file, key, watch.fastest);
    },
  };
}

function placeOfBest({ cpu, threads }: Pick<WatchAsk, 'cpu' | 'threads'>): { file: string; key: string } {
  return { file: join(cacheFolder(), 'canary.json'), key: `${cpu}, ${threads} threads`.slice(0, 300) };
}

/** What an earlier run has seen here on as many threads; null: nothing yet. */
export function knownBest(ask: Pick<WatchAsk, 'cpu' | 'threads'>): Promise<BestReading | null> {
  const { file, key } = placeOfBest(ask);
  return readBest(file, key);
}

async function tryCanary({
  threads,
  cacheBytes,
}: WatchAsk): Promise<{ canary: Canary | null; trouble: string | null }> {
  try {
    const canary = await openCanary({ threads, bufferBytes: canaryBufferBytes(cacheBytes, totalmem()) });
    return { canary, trouble: null };
  } catch (error) {
    return { canary: null, trouble: error instanceof Error ? error.message : String(error) };
  }
}

class Watch {
  /** For the record of this machine. */
  fastest: BestReading | null = null;
  private readonly canary: Canary | null;
  private programs: Awaited<ReturnType<typeof readProgramTimes>> = null;
  private programsAtMs = 0;

  constructor(canary: Canary | null) {
    this.canary = canary;
  }

  async look(canaryMs: number | null): Promise<MachineLook> {
    const startMs = monotonicMs();
    const conditions = await readConditions();
    const programs = await this.whoWorked();
    const pressureBefore = await readPressure();
    const canaryStartMs = monotonicMs();
    const canary = this.canary === null || canaryMs === null ? null : await this.canary.run(canaryMs);
    const elapsedMs = monotonicMs() - canaryStartMs;
    // Without the canary the time is too short for a share.
    const pressure = canary === null ? null : pressureBetween(pressureBefore, await readPressure(), elapsedMs);
    if (canary !== null) this.keepFastest(canary);
    return { canary, conditions, pressure, busiest: programs, costMs: monotonicMs() - startMs };
  }

  /** Engines have ended by now, so that what is left are others. */
  private async whoWorked(): Promise<BusyProgram[] | null> {
    const [before, beforeMs] = [this.programs, this.programsAtMs];
    this.programs = await readProgramTimes();
    this.programsAtMs = monotonicMs();
    if (before === null || this.programs === null) return null;
    return busiest(before, this.programs, { ownPid: process.pid, elapsedMs: this.programsAtMs - beforeMs });
  }

  private keepFastest({ readBytesPerS, flopsPerS }: CanaryReading): void {
    this.fastest = {
      readBytesPerS: Math.max(readBytesPerS, this.fastest?.readBytesPerS ?? 0),
      flopsPerS: Math.max(flopsPerS, this.fastest?.flopsPerS ?? 0),
    };
  }
}
