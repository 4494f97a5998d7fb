/** Makes a twin on the disk, after looking whether there is room for it. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, messageOf } from '../../core/errors.ts';
import { freeBytes } from '../../platform/folders.ts';
import { planTwin, type TwinAsk, type TwinPlan } from './plan-twin.ts';
import { layoutTwin, writeTwin, type WriteOptions } from './write-twin.ts';

/** Raise it when the same ask gives other bytes: twins in the cache are then made anew. */
const GENERATOR_VERSION = 3;

/** Never replaces a file. Rejects with `conversion-failed`: the file exists, no room, a failed write. */
export async function makeTwin(
  plan: TwinPlan,
  path: string,
  options: WriteOptions = {},
): Promise<{ readonly path: string; readonly fileBytes: number }> {
  if (existsSync(path)) {
    throw new AppError('conversion-failed', `${path} exists already`, {
      hint: 'Remove it, or choose another name with --out.',
    });
  }
  const layout = layoutTwin(plan.file);
  await requireRoom(path, layout.totalBytes);
  try {
    return { path, fileBytes: await writeTwin(path, { file: plan.file, layout }, options) };
  } catch (error) {
    if (error instanceof AppError || options.signal?.aborted === true) throw error;
    throw new AppError('conversion-failed', `writing ${path} failed: ${messageOf(error)}`, {
      hint: 'Check the free space and the permissions of the folder.',
      cause: error,
    });
  }
}

export async function requireRoom(path: string, neededBytes: number): Promise<void> {
  const free = await freeBytes(dirname(path));
  if (free === null || free >= neededBytes) return;
  const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`;
  throw new AppError(
    'conversion-failed',
    `the twin needs ${megabytes(neededBytes)}, ${megabytes(free)} are free in ${dirname(path)}`,
    { hint: 'Free some space (runoff cache shows what runoff keeps), or choose another place with --out.' },
  );
}

/** The twin in the cache; made when it is not there. */
export async function cachedTwin(
  ask: TwinAsk,
  { cacheFolder, ...options }: WriteOptions & { readonly cacheFolder: string },
): Promise<{ readonly path: string; readonly plan: TwinPlan }> {
  const plan = await planTwin(ask);
  // Equal names may stand for different files or vocabularies: the header tells them apart.
  const header = createHash('sha256').update(layoutTwin(plan.file).header).digest('hex').slice(0, 8);
  const folder = join(cacheFolder, 'twins', `v${GENERATOR_VERSION}-${header}`);
  const path = join(folder, twinFileName(plan));
  if (existsSync(path)) return { path, plan };
  await mkdir(folder, { recursive: true });
  await makeTwin(plan, path, options);
  return { path, plan };
}

/** `llama-3.2-1b-twin-q4_0.gguf`: the name says what it is. */
export function twinFileName({ source, quantisation, file }: TwinPlan): string {
  const types = /^[A-Z0-9_]+$/.test(quantisation) ? `-${quantisation.toLowerCase()}` : '';
  return `${source.slug}-twin${types}${file.seed === DEFAULT_TWIN_SEED ? '' : `-seed${file.seed}`}.gguf`;
}

export const DEFAULT_TWIN_SEED = 1;
