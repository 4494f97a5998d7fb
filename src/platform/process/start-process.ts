import { spawn } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LaunchPlan } from '../../core/engine.ts';
import { AppError, messageOf } from '../../core/errors.ts';
import { minimumEnvironment } from './environment.ts';
import { RunningProcess } from './running-process.ts';
import type { StartedProcess } from './started-process.ts';

export type { StartedProcess, StopReport } from './started-process.ts';

/** Starting a node keeper takes some 50 ms; ten seconds pass only on a machine that is swapping. */
const LAUNCH_TIMEOUT_MS = 10_000;
/** What an engine gets for a clean end when nobody says otherwise. */
const GRACE_MS = 2_000;
/** The keeper lies beside this file: TypeScript in the source tree, JavaScript in the package. */
const KEEPER = fileURLToPath(new URL(`./keeper${extname(import.meta.url)}`, import.meta.url));

export interface StartOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the platform's minimum; nothing else of our environment is passed on. */
  readonly env: Readonly<Record<string, string>>;
  readonly channel: LaunchPlan['channel'];
  readonly cwd?: string;
  /** The whole stderr goes there too, up to a limit. */
  readonly stderrLogPath?: string;
}

const live = new Set<RunningProcess>();

/**
 * Starts an engine under a keeper that kills it when we are gone, however we went.
 * @throws AppError `engine-launch-failed` when the command cannot be started.
 */
export async function startProcess(options: StartOptions): Promise<StartedProcess> {
  const { command, args, env, cwd, channel, stderrLogPath } = options;
  const keeper = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', KEEPER, command, ...args], {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
    env: { ...minimumEnvironment(process.platform, process.env), ...env },
    ...(cwd === undefined ? {} : { cwd }),
    // A process group of its own: what kills our group must not kill the one that cleans up. On Windows it would open a console.
    detached: process.platform !== 'win32',
    windowsHide: true,
  });
  const started = new RunningProcess(keeper, channel, stderrLogPath ?? null);
  live.add(started);
  void started.exited.then(() => live.delete(started));
  try {
    await started.launched(LAUNCH_TIMEOUT_MS);
  } catch (error) {
    await started.stop(0);
    throw new AppError('engine-launch-failed', `cannot start ${command}: ${messageOf(error)}`, {
      context: { command, args },
      cause: error,
    });
  }
  return started;
}

/** Sessions with servers that are not ours to end: what is under way there ends when we do. */
const attached = new Set<() => Promise<void>>();

/** Registers what `stopAll` calls beside ending engines. @returns takes it off again. */
export function onStopAll(leave: () => Promise<void>): () => void {
  attached.add(leave);
  return () => void attached.delete(leave);
}

/** Ends every engine that is still running: for Ctrl-C and for the end of a run. */
export async function stopAll(graceMs: number = GRACE_MS): Promise<void> {
  await Promise.all([...[...live].map((running) => running.stop(graceMs)), ...[...attached].map((leave) => leave())]);
}

/** Processor time of the keepers counts as runoff's own. */
export function liveKeeperPids(): number[] {
  return [...live].map((running) => running.keeperPid).filter((pid) => pid > 0);
}
