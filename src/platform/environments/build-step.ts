import { writeFile } from 'node:fs/promises';
import { AppError, messageOf } from '../../core/errors.ts';
import { runCommand } from '../process/run-command.ts';
import { explainFailure } from './install-failure.ts';
import { pipStep } from './pip-progress.ts';
import { installerEnvironment } from './installer-environment.ts';

/** 100 MB over a slow line (1 Mbit/s) take 14 minutes; an installer that needs longer hangs. */
const STEP_TIMEOUT_MS = 30 * 60_000;

export interface BuildContext {
  readonly title: string;
  readonly root: string;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (text: string) => void;
}

export interface BuildStep {
  readonly what: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  /** Default: half an hour. */
  readonly timeoutMs?: number;
  /** What a line of its output tells a waiting person; null: nothing. Default: pip's. */
  readonly progress?: (line: string) => string | null;
}

/** One program of an installation, to its end. @throws AppError `environment-failed` with the cause in words, `interrupted`. */
export async function runStep(context: BuildContext, step: BuildStep): Promise<string> {
  const { title, root, signal, onProgress } = context;
  const logPath = logPathOf(root);
  const { timeoutMs = STEP_TIMEOUT_MS, progress = pipStep } = step;
  try {
    const result = await runCommand(step.command, step.args, {
      timeoutMs,
      env: installerEnvironment(process.env),
      cwd: step.cwd ?? root,
      onLine: (line) => {
        const said = progress(line);
        if (said !== null) onProgress(`${title}: ${said}`);
      },
      ...(signal === undefined ? {} : { signal }),
    });
    if (result.code === 0) return result.stdout;
    const output = `${result.stdout}\n${result.stderr}${result.timedOut ? `\nstopped after ${timeoutMs / 60_000} minutes` : ''}`;
    await writeFile(logPath, `$ ${[step.command, ...step.args].join(' ')}\n${output}\n`).catch(() => {});
    const { reason, nextStep } = explainFailure(output, logPath);
    throw new AppError('environment-failed', `cannot install ${title}: ${step.what} failed: ${reason}`, {
      hint: nextStep,
      context: { command: [step.command, ...step.args], code: result.code },
    });
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('environment-failed', `cannot install ${title}: ${step.what}: ${messageOf(error)}`, { cause: error });
  }
}

/** Beside the environment: its folder is deleted before the next try. */
export function logPathOf(root: string): string {
  return `${root}.log`;
}
