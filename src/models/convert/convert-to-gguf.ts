/** Hugging Face safetensors or a GGUF into a GGUF of another type: one pass, bounded memory, complete or not there. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { AppError, messageOf } from '../../core/errors.ts';
import { writeFully, writeThenRename } from '../file-io.ts';
import { formatPartName, parsePartName } from '../gguf/parts.ts';
import { readGgufHeader } from '../gguf/read-header.ts';
import { tensorTypeById } from '../gguf/tensor-types.ts';
import { kernelFor } from './kernels.ts';
import type { ConversionPlan } from './plan.ts';
import { plainConverter, PLAIN_LANES, runJobs } from './run-jobs.ts';
import { runWithGgml } from './run-with-ggml.ts';
import type { PartPlan } from './split-plans.ts';
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

/** The files that a plan becomes: `out` itself, or parts named as gguf-split names them. */
export function outputPaths({ parts }: Pick<ConversionPlan, 'parts'>, out: string): string[] {
  if (parts.length === 1) return [resolve(out)];
  const folder = dirname(resolve(out));
  const name = basename(out);
  const stem = parsePartName(name)?.stem ?? name.replace(/\.gguf$/i, '');
  return parts.map((_, part) => join(folder, formatPartName({ stem, part: part + 1, count: parts.length })));
}

/**
 * Overwrites the output only when complete and checked.
 * @returns the files written, the first part first
 * @throws AppError `conversion-failed`, `model-invalid`, `environment-failed`
 */
export async function writeConverted(
  plan: ConversionPlan,
  outPath: string,
  options: ConvertOptions,
): Promise<readonly string[]> {
  const paths = outputPaths(plan, outPath);
  try {
    if (paths.length === 1) {
      await writeThenRename(resolve(outPath), (temporary) => writeAndCheck(plan, [temporary], options));
      return paths;
    }
    await writeParts(plan, { paths, outPath: resolve(outPath) }, options);
    return paths;
  } catch (error) {
    if (error instanceof AppError || options.signal?.aborted === true) throw error;
    throw new AppError('conversion-failed', `Writing ${outPath} failed: ${messageOf(error)}.`, {
      hint: 'Check the free space and the permissions of the output folder.',
      cause: error,
    });
  }
}

/** In a folder beside, under their final names: a part finds its brothers by name. The first comes last, so that none can be loaded before. */
async function writeParts(
  plan: ConversionPlan,
  { paths, outPath }: { paths: readonly string[]; outPath: string },
  options: ConvertOptions,
): Promise<void> {
  const folder = `${outPath}.${process.pid}-${randomBytes(4).toString('hex')}.partial`;
  await mkdir(folder);
  const moved: string[] = [];
  try {
    const temporary = paths.map((path) => join(folder, basename(path)));
    await writeAndCheck(plan, temporary, options);
    for (const path of paths.toReversed()) {
      await rename(join(folder, basename(path)), path);
      moved.push(path);
    }
  } catch (error) {
    for (const path of moved) await rm(path, { force: true });
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function writeAndCheck(plan: ConversionPlan, paths: readonly string[], options: ConvertOptions): Promise<void> {
  await write(plan, paths, options);
  for (const [part, path] of paths.entries()) await check(plan.parts[part] as PartPlan, path);
  await options.prove?.(paths[0] as string);
}

async function write(plan: ConversionPlan, paths: readonly string[], options: ConvertOptions): Promise<void> {
  const { jobs, parts, constants } = plan;
  const { signal, onProgress } = options;
  const usesGgml = needsGgml(plan) || (options.libraryPath !== null && gainsFromGgml(plan));
  const targets: FileHandle[] = [];
  try {
    for (const path of paths) targets.push(await open(path, 'wx'));
    for (const [part, target] of targets.entries()) {
      const { layout } = parts[part] as PartPlan;
      // Also the padding between tensors, which nobody writes.
      await target.truncate(layout.totalBytes);
      writeFully(target, layout.header, 0);
    }
    for (const { bytes, offset, part } of constants) writeFully(targets[part] as FileHandle, bytes, offset);
    const converters = Array.from({ length: PLAIN_LANES }, plainConverter);
    if (!usesGgml) await runJobs({ jobs, targets, converters, onProgress, signal });
  } finally {
    for (const target of targets) await target.close();
  }
  if (!usesGgml) return;
  if (options.libraryPath === null) {
    throw new AppError('environment-failed', 'Quantising needs ggml, which comes with the engine llama-cpp.', {
      hint: 'runoff engines install llama-cpp; without it F32, F16, BF16 and Q8_0 can be written.',
    });
  }
  const { libraryPath, importancePath, threads } = options;
  await runWithGgml({ jobs, libraryPath, importancePath, threads, outputPaths: paths, onProgress, signal });
}

/** What was written reads back as what was planned: names, types, shapes, places, length. */
async function check({ layout, plans }: PartPlan, path: string): Promise<void> {
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
