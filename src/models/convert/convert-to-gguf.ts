/** Hugging Face safetensors or a GGUF into a GGUF of another type: one pass, bounded memory, complete or not there. */
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { AppError, messageOf } from '../../core/errors.ts';
import { writeFully, writeThenRename } from '../file-io.ts';
import { readGgufHeader } from '../gguf/read-header.ts';
import { tensorTypeById } from '../gguf/tensor-types.ts';
import { kernelFor } from './kernels.ts';
import type { ConversionPlan } from './plan.ts';
import { plainConverter, PLAIN_LANES, runJobs } from './run-jobs.ts';
import { runWithGgml } from './run-with-ggml.ts';
import type { JobProgress } from './tensor-job.ts';

export interface ConvertOptions {
  /** Needed when the plan needs ggml, used when it gains from it. */
  readonly libraryPath: string | null;
  readonly importancePath: string | null;
  readonly threads?: number | undefined;
  readonly onProgress: (progress: JobProgress) => void;
  readonly signal?: AbortSignal | undefined;
  /** Called when the file is complete, under its temporary name; a rejection takes it back. */
  readonly prove?: ((temporaryPath: string) => Promise<void>) | undefined;
}

/** True when some tensor's type can only be made or read by ggml. */
export function needsGgml({ jobs }: ConversionPlan): boolean {
  return jobs.some(({ sourceType, targetType }) => {
    const [source, target] = [tensorTypeById(sourceType), tensorTypeById(targetType)];
    return source === undefined || target === undefined || kernelFor(source, target) === null;
  });
}

/** Q8_0 can be made in JavaScript; ggml does it on every processor. */
export function gainsFromGgml({ jobs }: ConversionPlan): boolean {
  return jobs.some(
    ({ sourceType, targetType }) => sourceType !== targetType && tensorTypeById(targetType)?.name === 'Q8_0',
  );
}

/** Overwrites `outPath` only when complete and checked. @throws AppError `conversion-failed`, `model-invalid`, `environment-failed` */
export async function writeConverted(plan: ConversionPlan, outPath: string, options: ConvertOptions): Promise<void> {
  try {
    await writeThenRename(resolve(outPath), async (temporary) => {
      await write(plan, temporary, options);
      await check(plan, temporary);
      await options.prove?.(temporary);
    });
  } catch (error) {
    if (error instanceof AppError || options.signal?.aborted === true) throw error;
    throw new AppError('conversion-failed', `Writing ${outPath} failed: ${messageOf(error)}.`, {
      hint: 'Check the free space and the permissions of the output folder.',
      cause: error,
    });
  }
}

async function write(plan: ConversionPlan, temporary: string, options: ConvertOptions): Promise<void> {
  const { jobs, layout, constants } = plan;
  const { signal, onProgress } = options;
  const usesGgml = needsGgml(plan) || (options.libraryPath !== null && gainsFromGgml(plan));
  const target = await open(temporary, 'wx');
  try {
    // Also the padding between tensors, which nobody writes.
    await target.truncate(layout.totalBytes);
    writeFully(target, layout.header, 0);
    for (const { bytes, offset } of constants) writeFully(target, bytes, offset);
    const converters = Array.from({ length: PLAIN_LANES }, plainConverter);
    if (!usesGgml) await runJobs({ jobs, target, converters, onProgress, signal });
  } finally {
    await target.close();
  }
  if (!usesGgml) return;
  if (options.libraryPath === null) {
    throw new AppError('environment-failed', 'Quantising needs ggml, which comes with the engine llama-cpp.', {
      hint: 'runoff engines install llama-cpp; without it F32, F16, BF16 and Q8_0 can be written.',
    });
  }
  const { libraryPath, importancePath, threads } = options;
  await runWithGgml({ jobs, libraryPath, importancePath, threads, outputPath: temporary, onProgress, signal });
}

/** What was written reads back as what was planned: names, types, shapes, places, length. */
async function check({ layout, plans }: ConversionPlan, path: string): Promise<void> {
  const header = await readGgufHeader(path, undefined, 0);
  const isEqual =
    header.fileBytes === layout.totalBytes &&
    header.tensors.length === plans.length &&
    header.tensors.every((tensor, i) => {
      const plan = plans[i];
      return tensor.name === plan?.name && tensor.type === plan.type && tensor.offset === layout.offsets[i];
    });
  if (isEqual) return;
  throw new AppError('conversion-failed', `The file that was written does not read back as planned: ${path}.`, {
    hint: 'Check the disk, then convert again.',
  });
}
