/**
 * What the application needs of the machine, as ports: tests run the whole protocol on simulated engines and a
 * simulated clock, the real ones are put together in `realMachinery`.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  AvailableEngine,
  Engine,
  EngineProcess,
  EngineSession,
  EngineSettings,
  LaunchPlan,
} from '../core/engine.ts';
import { AppError } from '../core/errors.ts';
import type { Interference, Memory } from '../core/record.ts';
import { monotonicMs } from '../platform/clock.ts';
import { interference, readCpuSnapshot } from '../platform/cpu/interference.ts';
import type { CpuSnapshot } from '../platform/cpu/interference.ts';
import { openMachineWatch } from '../platform/canary/machine-watch.ts';
import type { MachineWatch, WatchAsk } from '../platform/canary/machine-watch.ts';
import { warmPageCache } from '../platform/files/warm-page-cache.ts';
import { readTreeMemory } from '../platform/memory/tree-memory.ts';
import { freePort } from '../platform/network/free-port.ts';
import { onStopAll, startProcess } from '../platform/process/start-process.ts';

/** An engine that this run measures, with the model in its format. */
export interface PreparedEngine {
  readonly engine: Engine;
  readonly found: AvailableEngine;
  readonly modelPath: string;
  /** Null for folders and served models. */
  readonly modelSha256: string | null;
}

/** Pure: whether prompts go in as text: the way that was found decides, where it says so. */
export function takesText({ engine, found }: Pick<PreparedEngine, 'engine' | 'found'>): boolean {
  return found.takesText ?? !engine.capabilities.tokenIds;
}

export interface RunningEngine {
  readonly session: EngineSession;
  /** Root of the engine's process tree; null for a running server whose process cannot be told. */
  readonly pid: number | null;
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
  memory(pid: number | null): Promise<Memory>;
  cpu(pid: number | null): Promise<CpuSnapshot>;
  interference(before: CpuSnapshot, after: CpuSnapshot): Interference;
  /** For looks at the machine between processes; to be closed. */
  openWatch(ask: WatchAsk): Promise<MachineWatch>;
}

const UNKNOWN_MEMORY: Memory = { peakBytes: null, anonymousBytes: null, fileBackedBytes: null };
/** A graceful stop that takes longer is ended by SIGKILL. */
const STOP_GRACE_MS = 2_000;

export const realMachinery: Machinery = {
  nowMs: monotonicMs,
  start: startEngine,
  warmPageCache,
  memory: async (pid) => (pid === null ? UNKNOWN_MEMORY : readTreeMemory(pid)),
  cpu: readCpuSnapshot,
  interference,
  openWatch: openMachineWatch,
};

async function startEngine(
  { engine, found, modelPath, modelSha256 }: PreparedEngine,
  settings: EngineSettings,
  timeoutMs: number,
): Promise<RunningEngine> {
  // An empty working folder: some engines prefer files that lie there, and some write logs.
  const workFolder = await mkdtemp(join(tmpdir(), 'runoff-engine-'));
  const removeFolder = (): Promise<void> => rm(workFolder, { recursive: true, force: true });
  try {
    const request = {
      engine: found,
      modelPath,
      modelSha256,
      workFolder,
      settings,
      port: await freePort(),
      runId: `runoff-${randomBytes(8).toString('hex')}`,
    };
    const plan = engine.launchPlan(request);
    const startedMs = monotonicMs();
    const process = plan === null ? ATTACHED : await startProcess({ ...plan, cwd: workFolder });
    let session: EngineSession | null = null;
    let closed: Promise<void> | undefined;
    const close = async (): Promise<void> => (closed ??= session?.close?.());
    const release = plan === null ? onStopAll(close) : () => {};
    const stop = async (): Promise<void> => {
      release();
      try {
        await close();
      } finally {
        if (plan !== null) await process.stop(STOP_GRACE_MS);
        await removeFolder();
      }
    };
    try {
      session = await engine.connect(process, request, timeoutMs);
      const pid = plan === null ? (session.info.serverPid ?? null) : process.pid;
      const command = plan === null ? [] : [...variables(plan.env), plan.command, ...plan.args];
      return { session, pid, loadMs: monotonicMs() - startedMs, command, stop };
    } catch (error) {
      await stop();
      throw error;
    }
  } catch (error) {
    await removeFolder();
    throw error;
  }
}

/** As a shell takes them: they are part of how an engine was started. */
function variables(env: LaunchPlan['env']): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}

/** Stands for a server that we did not start: there is nothing to ask, to read or to stop. */
const ATTACHED: EngineProcess & { stop(graceMs: number): Promise<void> } = {
  pid: 0,
  request: async () => {
    throw new AppError('engine-protocol', 'a running server has no worker to ask');
  },
  stderrTail: () => '',
  exited: new Promise(() => {}),
  stop: async () => {},
};
