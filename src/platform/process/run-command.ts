import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { AppError } from '../../core/errors.ts';
import { ByteTail } from './byte-tail.ts';
import { LineReader } from './line-reader.ts';

/** Outputs that we read are at most a process list; of the rest only the end matters. */
const OUTPUT_BYTES_MAX = 8 * 1024 * 1024;
const LINE_BYTES_MAX = 1024 * 1024;

export interface CommandOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Called with each line of stdout as it comes, for progress. */
  readonly onLine?: (line: string) => void;
}

export interface CommandResult {
  /** Null when it was ended by a signal. */
  readonly code: number | null;
  /** The last 8 MiB of each. */
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

/**
 * Runs a helper program to its end: no shell, no input, bounded output and time.
 * A failing program is a result; one that cannot be started rejects with the system's error (`ENOENT`).
 * @throws AppError `interrupted` when the signal is aborted.
 */
export function runCommand(command: string, args: readonly string[], options: CommandOptions): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    if (options.signal?.aborted) return reject(interrupted(command));
    const { env, cwd, signal, timeoutMs } = options;
    // A group of its own: an installer's helpers end with it.
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: env ?? process.env,
      detached: process.platform !== 'win32',
      windowsHide: true,
      ...(cwd === undefined ? {} : { cwd }),
    });
    const output = collect(child, options.onLine);
    let timedOut = false;
    const abort = (): void => killTree(child);
    const timer = setTimeout(() => {
      timedOut = true;
      killTree(child);
    }, timeoutMs);
    signal?.addEventListener('abort', abort, { once: true });
    const finish = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    child.on('error', (error) => {
      finish();
      reject(error);
    });
    child.on('close', (code) => {
      finish();
      if (signal?.aborted) return reject(interrupted(command));
      resolve({ code, stdout: output.stdout.text(), stderr: output.stderr.text(), timedOut });
    });
  });
}

/** The output of a command that must succeed soon; null when it is missing, fails or hangs: an unknown fact. */
export async function readCommand(command: string, args: readonly string[], timeoutMs: number): Promise<string | null> {
  try {
    const { code, stdout } = await runCommand(command, args, { timeoutMs });
    return code === 0 ? stdout : null;
  } catch {
    return null;
  }
}

function collect(
  child: ChildProcess,
  onLine: ((line: string) => void) | undefined,
): { stdout: ByteTail; stderr: ByteTail } {
  const stdout = new ByteTail(OUTPUT_BYTES_MAX);
  const stderr = new ByteTail(OUTPUT_BYTES_MAX);
  const lines = new LineReader(LINE_BYTES_MAX);
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout.push(chunk);
    if (onLine !== undefined) for (const line of lines.push(chunk)) onLine(line);
  });
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
  return { stdout, stderr };
}

function killTree(child: ChildProcess): void {
  if (child.pid === undefined) return;
  if (process.platform === 'win32') {
    spawn('taskkill', ['/PID', String(child.pid), '/T', '/F'], { stdio: 'ignore', windowsHide: true }).on('error', () =>
      child.kill(),
    );
    return;
  }
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}

function interrupted(command: string): AppError {
  return new AppError('interrupted', `interrupted while ${command} ran`);
}
