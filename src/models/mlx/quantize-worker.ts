/** A thread that converts slabs: one answer for each job. */
import { parentPort } from 'node:worker_threads';
import { assert } from '../../core/assert.ts';
import { AppError, messageOf } from '../../core/errors.ts';
import { SlabConverter, type SlabJob } from './quantize-job.ts';

export type SlabAnswer =
  | { readonly state: 'done'; readonly sourceBytes: number }
  | { readonly state: 'failed'; readonly code: string | null; readonly message: string };

const port = parentPort;
assert(port !== null, 'quantize-worker runs as a thread');
const converter = new SlabConverter();

port.on('message', (job: SlabJob) => {
  port.postMessage(answer(job));
});

function answer(job: SlabJob): SlabAnswer {
  try {
    converter.run(job);
    return { state: 'done', sourceBytes: job.source.byteLength };
  } catch (error) {
    return { state: 'failed', code: error instanceof AppError ? error.code : null, message: messageOf(error) };
  }
}
