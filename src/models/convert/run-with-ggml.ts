/** The parent's side of the worker that quantises: starts it, passes progress on, and turns its death into an error. */
import { fork, type ChildProcess } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../core/errors.ts';
import { exitText } from '../../core/process-exit.ts';
import { ByteTail, lastLines } from '../../platform/process/byte-tail.ts';
import { minimumEnvironment } from '../../platform/process/environment.ts';
import type { WorkerMessage, WorkerTask } from './ggml-worker.ts';
import type { TensorDone } from '../resume/tensors-in-work.ts';
import type { JobProgress } from './tensor-job.ts';

/** The worker lies beside this file: TypeScript in the source tree, JavaScript in the package. */
const WORKER = fileURLToPath(new URL(`./ggml-worker${extname(import.meta.url)}`, import.meta.url));
/** An assertion of ggml prints a line and a stack. */
const STDERR_BYTES_MAX = 16 * 1024;
const STDERR_SHOWN_LINES = 4;
/** Each lane holds a few megabytes; more than Node's own thread pool has would only wait. */
const LANES_MAX = 64;

export interface GgmlRequest extends Omit<WorkerTask, 'lanes'> {
  /** Default: every processor. */
  readonly threads?: number | undefined;
  readonly onProgress: (progress: JobProgress) => void;
  readonly onTensor: (done: TensorDone) => void;
  readonly signal?: AbortSignal | undefined;
}

/** @throws AppError of the worker, or `conversion-failed` with its last words when it died */
export async function runWithGgml({ threads, onProgress, onTensor, signal, ...task }: GgmlRequest): Promise<void> {
  const lanes = Math.max(1, Math.min(LANES_MAX, threads ?? availableParallelism()));
  const child = fork(WORKER, [], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    // A lane blocks a thread of the pool while ggml computes.
    env: { ...minimumEnvironment(process.platform, process.env), UV_THREADPOOL_SIZE: String(Math.max(4, lanes)) },
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const stop = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', stop, { once: true });
  try {
    if (signal?.aborted === true) stop();
    await finished(child, { ...task, lanes }, { onProgress, onTensor });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    stop();
  }
}

/** Settles when the child is gone: only then is its output file nobody's. */
function finished(
  child: ChildProcess,
  task: WorkerTask,
  { onProgress, onTensor }: Pick<GgmlRequest, 'onProgress' | 'onTensor'>,
): Promise<void> {
  const stderr = new ByteTail(STDERR_BYTES_MAX);
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
  const results: WorkerMessage[] = [];
  child.on('message', (message) => {
    const told = message as WorkerMessage;
    if (told.kind === 'progress') onProgress(told.progress);
    else if (told.kind === 'tensor') onTensor(told.tensor);
    else results.push(told);
  });
  return new Promise((resolve, reject) => {
    child.once('error', (cause) => reject(died('it cannot be started', stderr, cause)));
    child.once('close', (code, signal) => {
      const how = exitText({ code, signal });
      const end = results[0];
      if (end?.kind === 'done') resolve();
      else if (end?.kind === 'failed') reject(failureOf(end));
      else reject(died(`it ended with ${how}`, stderr));
    });
    child.send(task, (error) => {
      if (error !== null) child.kill('SIGKILL');
    });
  });
}

function failureOf({ code, message, hint }: Extract<WorkerMessage, { kind: 'failed' }>): AppError {
  return new AppError(code ?? 'conversion-failed', message, {
    hint: hint ?? 'Check the free space and the permissions of the output folder.',
  });
}

function died(how: string, stderr: ByteTail, cause?: unknown): AppError {
  const words = lastLines(stderr.text(), STDERR_SHOWN_LINES);
  return new AppError(
    'conversion-failed',
    `The process that quantises with ggml failed: ${how}.${words === '' ? '' : `\n${words}`}`,
    {
      hint: 'Convert with --quant bf16 to see whether the model itself is sound.',
      cause,
    },
  );
}

/** The library with the quantisers in an environment that holds node-llama-cpp. @throws AppError `environment-failed` */
export async function findGgmlLibrary(environmentRoot: string): Promise<string> {
  const scope = join(environmentRoot, 'node_modules', '@node-llama-cpp');
  for (const name of await list(scope)) {
    const bins = join(scope, name, 'bins');
    for (const variant of await list(bins)) {
      const file = (await list(join(bins, variant))).find((candidate) => isGgmlBase(candidate));
      if (file !== undefined) return join(bins, variant, file);
    }
  }
  throw new AppError('environment-failed', `No ggml library below ${scope}.`, {
    hint: 'runoff engines remove llama-cpp, then runoff engines install llama-cpp.',
  });
}

/** `libggml-base.so`, `libggml-base.v0.4.0.dylib`, `ggml-base.dll`. */
export function isGgmlBase(fileName: string): boolean {
  return /^(?:lib)?ggml-base(?:\.[\w.]+)?\.(?:so|dylib|dll)$/.test(fileName);
}

/** Sorted, so that every run takes the same; empty when there is no such folder. */
async function list(folder: string): Promise<string[]> {
  return (await readdir(folder).catch((): string[] => [])).toSorted();
}
