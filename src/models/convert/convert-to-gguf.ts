/** Hugging Face safetensors or a GGUF into a GGUF of another type: one pass, bounded memory, complete or not there. */
import { constants as fileConstants } from 'node:fs';
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { AppError, messageOf } from '../../core/errors.ts';
import { writeFully, writeHeaderRest, writeHeaderStart } from '../file-io.ts';
import { formatPartName, parsePartName } from '../gguf/parts.ts';
import { readGgufHeader } from '../gguf/read-header.ts';
import { tensorTypeById } from '../gguf/tensor-types.ts';
import type { OutputPlace } from '../resume/check-done.ts';
import { identifySources, planDigest } from '../resume/identity.ts';
import type { ConversionIdentity } from '../resume/journal.ts';
import { writeResumably, type Continuation, type PartialOutput } from '../resume/resumable-output.ts';
import { kernelFor } from './kernels.ts';
import type { ConversionPlan } from './plan.ts';
import { plainConverter, PLAIN_LANES, runJobs, targetBytes } from './run-jobs.ts';
import { runWithGgml, type GgmlRequest } from './run-with-ggml.ts';
import type { PartPlan } from './split-plans.ts';
import { sourcePathsOf, type JobProgress, type TensorJob } from './tensor-job.ts';

export interface ConvertOptions {
  /** Needed when the plan needs ggml, used when it gains from it. */
  readonly libraryPath: string | null;
  readonly importancePath: string | null;
  readonly threads?: number | undefined;
  /** Left out: nothing is kept of a conversion that is interrupted. */
  readonly continuation?: Continuation | undefined;
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
  const { continuation = null, signal } = options;
  const paths = outputPaths(plan, outPath);
  const names = paths.map((path) => basename(path));
  await writeResumably(
    {
      finalPath: resolve(outPath),
      continuation,
      identity: (chosen) => identityOf(plan, options, chosen),
      places: placesOf(plan, names),
      signal,
      explain(error) {
        if (error instanceof AppError || signal?.aborted === true) return error;
        return new AppError('conversion-failed', `Writing ${outPath} failed: ${messageOf(error)}.`, {
          hint: 'Check the free space and the permissions of the output folder.',
          cause: error,
        });
      },
    },
    {
      write: (output) => write(plan, { output, names }, options),
      async finish(path) {
        const made = temporaryPaths(path, names);
        for (const [part, name] of made.entries()) await check(plan.parts[part] as PartPlan, name);
        await options.prove?.(made[0] as string);
      },
      ...(paths.length === 1 ? {} : { place: (folder: string) => placeParts(folder, paths) }),
    },
  );
  return paths;
}

/** Several are in a folder, under their final names: a part finds its brothers by name. */
function temporaryPaths(path: string, names: readonly string[]): string[] {
  return names.length === 1 ? [path] : names.map((name) => join(path, name));
}

/** The first comes last, so that none can be loaded before. */
async function placeParts(folder: string, paths: readonly string[]): Promise<void> {
  const moved: string[] = [];
  try {
    for (const path of paths.toReversed()) {
      await rename(join(folder, basename(path)), path);
      moved.push(path);
    }
  } catch (error) {
    for (const path of moved) await rm(path, { force: true });
    throw error;
  }
  await rm(folder, { recursive: true, force: true });
}

/** Raise when the bytes that a conversion writes change: one that was begun before is then not resumed. */
const CONVERTER_VERSION = 1;

async function identityOf(
  plan: ConversionPlan,
  options: ConvertOptions,
  chosen: Readonly<Record<string, string | null>>,
): Promise<ConversionIdentity> {
  const { jobs, parts, constants } = plan;
  const ggml = usesGgml(plan, options) ? options.libraryPath : null;
  const [library] = ggml === null ? [] : await identifySources([ggml]);
  return {
    converter: `to GGUF, ${CONVERTER_VERSION}`,
    // Another release of ggml may round otherwise.
    options: { ...chosen, ggml: library === undefined ? null : `${library.name} of ${library.bytes} bytes` },
    sources: await identifySources(jobs.flatMap(sourcePathsOf)),
    plan: planDigest([
      ...parts.map(({ layout }) => layout.header),
      ...jobs.map(withoutFolders),
      ...constants.map(({ bytes }) => bytes),
    ]),
  };
}

/** The model may lie elsewhere when it is taken up again. */
function withoutFolders(job: TensorJob): string {
  const paths = new Set(sourcePathsOf(job));
  return JSON.stringify(job, (_, value: unknown) =>
    typeof value === 'string' && paths.has(value) ? basename(value) : value,
  );
}

function placesOf({ jobs }: ConversionPlan, names: readonly string[]): ReadonlyMap<string, readonly OutputPlace[]> {
  const fileOf = (part: number): string | null => (names.length === 1 ? null : (names[part] as string));
  return new Map(
    jobs.map((job) => {
      const place = { file: fileOf(job.targetPart), offset: job.targetOffset, bytes: targetBytes(job) };
      return [job.name, [place]] as const;
    }),
  );
}

function usesGgml(plan: ConversionPlan, { libraryPath }: ConvertOptions): boolean {
  return needsGgml(plan) || (libraryPath !== null && gainsFromGgml(plan));
}

async function write(
  plan: ConversionPlan,
  { output, names }: { output: PartialOutput; names: readonly string[] },
  options: ConvertOptions,
): Promise<void> {
  const { parts, constants } = plan;
  const { signal, onProgress } = options;
  const jobs = plan.jobs.filter(({ name }) => !output.isDone(name));
  const onTensor = output.tensorDone;
  const isWithGgml = usesGgml(plan, options);
  const paths = temporaryPaths(output.path, names);
  if (paths.length > 1) await mkdir(output.path, { recursive: true });
  const targets: FileHandle[] = [];
  try {
    for (const path of paths) targets.push(await open(path, fileConstants.O_RDWR | fileConstants.O_CREAT));
    for (const [part, target] of targets.entries()) {
      const { layout } = parts[part] as PartPlan;
      // Also the padding between tensors, which nobody writes.
      await target.truncate(layout.totalBytes);
      writeHeaderRest(target, layout.header);
    }
    for (const { bytes, offset, part } of constants) writeFully(targets[part] as FileHandle, bytes, offset);
    const converters = Array.from({ length: PLAIN_LANES }, plainConverter);
    if (isWithGgml) await runWithGgml({ jobs, ...ggmlTask(paths, options), onProgress, onTensor, signal });
    else await runJobs({ jobs, targets, converters, onProgress, onTensor, signal });
    for (const [part, target] of targets.entries()) writeHeaderStart(target, (parts[part] as PartPlan).layout.header);
  } finally {
    for (const target of targets) await target.close();
  }
}

function ggmlTask(
  paths: readonly string[],
  { libraryPath, importancePath, threads }: ConvertOptions,
): Pick<GgmlRequest, 'libraryPath' | 'importancePath' | 'threads' | 'outputPaths'> {
  if (libraryPath !== null) return { libraryPath, importancePath, threads, outputPaths: paths };
  throw new AppError('environment-failed', 'Quantising needs ggml, which comes with the engine llama-cpp.', {
    hint: 'runoff engines install llama-cpp; without it F32, F16, BF16 and Q8_0 can be written.',
  });
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
