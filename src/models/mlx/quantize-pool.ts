/** Spreads slabs over threads; memory is bounded by the number of threads, whatever the model's size. */
import { availableParallelism } from 'node:os';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { AppError } from '../../core/errors.ts';
import { breathe } from '../file-io.ts';
import { SlabConverter, type SlabDone, type SlabJob } from './quantize-job.ts';
import type { SlabAnswer } from './quantize-worker.ts';

/** Each takes some 40 MB; beyond this the disk is the limit, and 400 MB are promised. */
const THREADS_MAX = 6;
/** One in work and one waiting, so that a thread never waits for this one. */
const JOBS_PER_THREAD = 2;
const WORKER = new URL(`./quantize-worker${extname(import.meta.url)}`, import.meta.url);

/** Below this, starting a thread takes longer than the work. */
const INLINE_BYTES_MAX = 8 << 20;

export interface PoolRequest {
  readonly jobs: Iterable<SlabJob>;
  /** Of the source, all jobs together. */
  readonly totalBytes: number;
  readonly threads: number | null;
  readonly onDone: (done: SlabDone) => void;
  readonly signal: AbortSignal | undefined;
}

/** Resolves when every slab is written; on failure or abort all threads have ended before it rejects. */
export async function runSlabs(request: PoolRequest): Promise<void> {
  request.signal?.throwIfAborted();
  if (request.threads === null && request.totalBytes <= INLINE_BYTES_MAX) await runHere(request);
  else await runInThreads(request);
}

async function runHere({ jobs, onDone, signal }: PoolRequest): Promise<void> {
  const converter = new SlabConverter();
  for (const job of jobs) {
    await breathe();
    signal?.throwIfAborted();
    onDone(converter.run(job));
  }
}

async function runInThreads({ jobs, threads, onDone, signal }: PoolRequest): Promise<void> {
  const count = Math.min(threads ?? availableParallelism(), THREADS_MAX);
  const queue = jobs[Symbol.iterator]();
  const workers = Array.from({ length: count }, () => new Worker(WORKER));
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal?.reason as Error);
    signal?.addEventListener('abort', onAbort);
  });
  try {
    await Promise.race([Promise.all(workers.map((worker) => feed(worker, queue, onDone))), aborted]);
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function feed(worker: Worker, queue: Iterator<SlabJob>, onDone: PoolRequest['onDone']): Promise<void> {
  return new Promise((resolve, reject) => {
    let pending = 0;
    const send = (): void => {
      const next = queue.next();
      if (next.done === true) return;
      pending++;
      worker.postMessage(next.value, []);
    };
    worker.on('error', reject);
    worker.on('message', (answer: SlabAnswer) => {
      if (answer.state === 'failed') {
        reject(failure(answer));
        return;
      }
      pending--;
      onDone(answer.done);
      send();
      if (pending === 0) resolve();
    });
    for (let i = 0; i < JOBS_PER_THREAD; i++) send();
    if (pending === 0) resolve();
  });
}

function failure({ code, message }: Extract<SlabAnswer, { state: 'failed' }>): Error {
  return code === 'model-invalid' || code === 'model-unsupported' ? new AppError(code, message) : new Error(message);
}
