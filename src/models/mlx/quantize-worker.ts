/** A thread that converts slabs: one answer for each job. */
import { parentPort } from 'node:worker_threads';
import { assert } from '../../core/assert.ts';
import { AppError, messageOf } from '../../core/errors.ts';
import { SlabConverter, type SlabDone, type SlabJob } from './quantize-job.ts';

export type SlabAnswer =
  | { readonly state: 'done'; readonly done: SlabDone }
  | { readonly state: 'failed'; readonly code: string | null; readonly message: string };

const port = parentPort;
assert(port !== null, 'quantize-worker runs as a thread');
const converter = new SlabConverter();

port.on('message', (job: SlabJob) => {
  port.postMessage(answer(job));
});

function answer(job: SlabJob): SlabAnswer {
  try {
    return { state: 'done', done: converter.run(job) };
  } catch (error) {
    return { state: 'failed', code: error instanceof AppError ? error.code : null, message: messageOf(error) };
  }
}
