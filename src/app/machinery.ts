/**
 * What the application needs of the machine, as ports: tests run the whole protocol on simulated engines and a
 * simulated clock, the real ones are put together in `realMachinery`.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AvailableEngine, Engine, EngineSession, EngineSettings } from '../core/engine.ts';
import type { Interference, Memory } from '../core/record.ts';
import { monotonicMs } from '../platform/clock.ts';
import { interference, readCpuSnapshot } from '../platform/cpu/interference.ts';
import type { CpuSnapshot } from '../platform/cpu/interference.ts';
import { warmPageCache } from '../platform/files/warm-page-cache.ts';
import { readTreeMemory } from '../platform/memory/tree-memory.ts';
import { freePort } from '../platform/network/free-port.ts';
import { startProcess } from '../platform/process/start-process.ts';

/** An engine that this run measures, with the model in its format. */
export interface PreparedEngine {
  readonly engine: Engine;
  readonly found: AvailableEngine;
  readonly modelPath: string;
}

export interface RunningEngine {
  readonly session: EngineSession;
  /** Root of the engine's process tree. */
  readonly pid: number;
  /** From the start of the process to the model being ready, page cache warm. */
  readonly loadMs: number;
  readonly command: readonly string[];
  stop(): Promise<void>;
}

export interface Machinery {
  nowMs(): number;
  /** Starts a fresh process and loads the model. */
  start(prepared: PreparedEngine, settings: EngineSettings, timeoutMs: number): Promise<RunningEngine>;
  warmPageCache(path: string): Promise<void>;
  memory(pid: number): Promise<Memory>;
  cpu(pid: number | null): Promise<CpuSnapshot>;
  interference(before: CpuSnapshot, after: CpuSnapshot): Interference;
}

/** A graceful stop that takes longer is ended by SIGKILL. */
const STOP_GRACE_MS = 2_000;

export const realMachinery: Machinery = {
  nowMs: monotonicMs,
  start: startEngine,
  warmPageCache,
  memory: readTreeMemory,
  cpu: readCpuSnapshot,
  interference,
};

async function startEngine(
  { engine, found, modelPath }: PreparedEngine,
  settings: EngineSettings,
  timeoutMs: number,
): Promise<RunningEngine> {
  const request = {
    engine: found,
    modelPath,
    settings,
    port: await freePort(),
    runId: `runoff-${randomBytes(8).toString('hex')}`,
  };
  const plan = engine.launchPlan(request);
  // An empty working folder: some engines prefer files that lie there, and some write logs.
  const cwd = await mkdtemp(join(tmpdir(), 'runoff-engine-'));
  const startedMs = monotonicMs();
  const removeFolder = (): Promise<void> => rm(cwd, { recursive: true, force: true });
  const process = await startProcess({ ...plan, cwd }).catch(async (error: unknown) => {
    await removeFolder();
    throw error;
  });
  const stop = async (): Promise<void> => {
    await process.stop(STOP_GRACE_MS);
    await removeFolder();
  };
  try {
    const session = await engine.connect(process, request, timeoutMs);
    return {
      session,
      pid: process.pid,
      loadMs: monotonicMs() - startedMs,
      command: [plan.command, ...plan.args],
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
