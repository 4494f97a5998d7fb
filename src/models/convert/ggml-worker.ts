/**
 * Runs jobs with ggml in a process of its own: a failed check inside ggml ends the process that it runs in. It gets one
 * message with the work, answers with progress, and ends when its parent does.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { AppError, messageOf, type ErrorCode } from '../../core/errors.ts';
import { loadGgml } from './ggml.ts';
import { readImportance } from './importance.ts';
import { runJobs } from './run-jobs.ts';
import type { TensorDone } from '../resume/tensors-in-work.ts';
import type { JobProgress, TensorJob } from './tensor-job.ts';

export interface WorkerTask {
  readonly libraryPath: string;
  /** By the jobs' `targetPart`. */
  readonly outputPaths: readonly string[];
  readonly importancePath: string | null;
  readonly jobs: readonly TensorJob[];
  readonly lanes: number;
}

export type WorkerMessage =
  | { readonly kind: 'progress'; readonly progress: JobProgress }
  | { readonly kind: 'tensor'; readonly tensor: TensorDone }
  | { readonly kind: 'done' }
  | {
      readonly kind: 'failed';
      readonly code: ErrorCode | null;
      readonly message: string;
      readonly hint: string | null;
    };

/** A progress line is repainted once a second. */
const PROGRESS_MS = 250;

async function run(task: WorkerTask): Promise<void> {
  const importance =
    task.importancePath === null ? new Map<string, Float32Array>() : await readImportance(task.importancePath);
  const ggml = await loadGgml(task.libraryPath);
  const targets: FileHandle[] = [];
  let toldMs = 0;
  try {
    for (const path of task.outputPaths) targets.push(await open(path, 'r+'));
    await runJobs({
      jobs: task.jobs,
      targets,
      converters: Array.from({ length: task.lanes }, () => ggml.converter(importance)),
      onProgress(progress) {
        if (performance.now() - toldMs < PROGRESS_MS) return;
        toldMs = performance.now();
        tell({ kind: 'progress', progress });
      },
      onTensor: (tensor) => tell({ kind: 'tensor', tensor }),
    });
  } finally {
    for (const target of targets) await target.close();
  }
}

function tell(message: WorkerMessage): void {
  process.send?.(message);
}

async function main(task: WorkerTask): Promise<void> {
  try {
    await run(task);
    tell({ kind: 'done' });
  } catch (error) {
    const [code, hint] = error instanceof AppError ? [error.code, error.hint ?? null] : [null, null];
    tell({ kind: 'failed', code, message: messageOf(error), hint });
  }
  process.disconnect();
}

// Ctrl-C reaches the whole group; the parent decides, and its end is ours.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(0));
process.once('message', (task) => void main(task as WorkerTask));
