/** One pip call in a child process: an argument array, no shell, no build scripts of packages. */
import { spawn } from 'node:child_process';
import { AppError, messageOf } from '../../core/errors.ts';
import { pipStep } from '../../platform/environments/pip-progress.ts';

/** A model of 98 MB at 1 Mbit/s takes 13 minutes; an hour means that nothing is coming. */
const TIMEOUT_MS = 60 * 60 * 1000;
/** Enough of pip's messages to see the cause. */
const TAIL_LINES = 12;

export interface PipRequest {
  readonly requirement: string;
  /** Folder that the package is unpacked into. */
  readonly target: string;
  readonly options: {
    readonly python?: string;
    readonly onProgress?: (text: string) => void;
    readonly signal?: AbortSignal;
  };
}

export async function runPip({ requirement, target, options }: PipRequest): Promise<void> {
  const python = options.python ?? (process.platform === 'win32' ? 'python' : 'python3');
  const args = [
    '-m',
    'pip',
    'install',
    '--target',
    target,
    '--no-deps',
    '--no-compile',
    '--only-binary',
    ':all:',
    '--no-input',
    '--disable-pip-version-check',
    '--progress-bar',
    'off',
    requirement,
  ];
  const { code, lines, spawnError } = await run(python, args, options);
  options.signal?.throwIfAborted();
  if (code === 0) return;
  if (spawnError !== null && 'code' in spawnError && spawnError.code === 'ENOENT') {
    throw new AppError('model-not-found', `${requirement} is downloaded with pip, and ${python} was not found.`, {
      hint: 'Install Python with pip (Debian/Ubuntu: sudo apt install python3 python3-venv), give the path of a .gguf file that you have, or measure a twin, which needs neither: runoff run --twin llama-3.2-1b',
      cause: spawnError,
    });
  }
  const reason =
    spawnError === null
      ? `exit code ${code ?? 'none: killed or timed out'}\n${lines.join('\n')}`
      : messageOf(spawnError);
  throw new AppError('model-not-found', `${requirement} could not be downloaded with ${python} -m pip: ${reason}`, {
    hint: 'Check the network and that this Python has pip, or give the path of a .gguf file that you have.',
    context: { command: [python, ...args] },
    cause: spawnError ?? undefined,
  });
}

interface Outcome {
  readonly code: number | null;
  readonly lines: readonly string[];
  readonly spawnError: Error | null;
}

function run(python: string, args: readonly string[], { onProgress, signal }: PipRequest['options']): Promise<Outcome> {
  return new Promise((resolve) => {
    // Not spawn's own `timeout`: where the program does not exist, its timer keeps Node alive for the hour.
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    const stop = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
    const child = spawn(python, args, { stdio: ['ignore', 'pipe', 'pipe'], windowsHide: true, signal: stop });
    const lines: string[] = [];
    const onText = (text: string): void => {
      for (const line of text.split(/\r?\n/).filter((part) => part.trim() !== '')) {
        lines.push(line.slice(0, 500));
        const step = pipStep(line);
        if (step !== null) onProgress?.(step);
      }
      lines.splice(0, Math.max(0, lines.length - TAIL_LINES));
    };
    child.stdout.setEncoding('utf8').on('data', onText);
    child.stderr.setEncoding('utf8').on('data', onText);
    let spawnError: Error | null = null;
    child.on('error', (error) => {
      spawnError = error;
      // A program that does not exist emits no `close`.
      if (child.pid === undefined) resolve({ code: null, lines, spawnError });
    });
    child.on('close', (code) => resolve({ code, lines, spawnError }));
  });
}
