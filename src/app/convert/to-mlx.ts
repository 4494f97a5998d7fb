/**
 * `runoff models convert --to mlx`: lossless from a GGUF where that is possible, or quantised as mlx_lm.convert does it.
 * Everything that can be wrong is checked before anything is written.
 */
import { readdir, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { assert } from '../../core/assert.ts';
import { AppError } from '../../core/errors.ts';
import { readGgufModel } from '../../models/gguf/parts.ts';
import { writeMlxFolder } from '../../models/mlx/quantize-folder.ts';
import { type FloatDtype, type Rounding } from '../../models/mlx/quantize-kernel.ts';
import {
  DEFAULT_BITS,
  DEFAULT_GROUP_SIZE,
  planQuantize,
  type QuantizeRequest,
  type Recipe,
} from '../../models/mlx/quantize-plan.ts';
import { repackToMlx } from '../../models/mlx/repack.ts';
import { openConversionSource, type ConversionSource } from '../../models/mlx/source.ts';
import { summarizeFolder } from '../../models/mlx/summary.ts';
import { ownEnvironments } from '../engines.ts';
import { requireFolderOf } from '../require-folder.ts';
import type { Ui } from '../ui.ts';
import { modelName } from './model-name.ts';
import { conversionProgress } from './progress.ts';
import { proveIdentical } from './prove-identical.ts';
import { isForReference, type ReferencePermission } from './reference.ts';
import { convertToMlxByReference } from './reference-mlx.ts';
import { checkRoom, continuationOf } from './resuming.ts';

export interface ConvertToMlxAsk {
  /** A Hugging Face folder or a .gguf file. */
  readonly source: string;
  /** Null with no group and no recipe: dense from a folder, lossless from a GGUF. */
  readonly bits: number | null;
  readonly groupSize: number | null;
  readonly recipe: Recipe | null;
  readonly dtype: 'f16' | 'bf16' | 'f32' | null;
  readonly rounding: Rounding;
  /** What runoff does not convert goes to mlx_lm.convert; null: is an error. */
  readonly reference: ReferencePermission | null;
  /** Null: named after the source, in this folder. */
  readonly out: string | null;
  readonly overwrite: boolean;
  /** Go on with what an interrupted conversion left. */
  readonly resume: boolean;
  readonly threads: number | null;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

export interface ConvertedToMlx {
  readonly path: string;
  readonly fileBytes: number;
  readonly bitsPerWeight: number;
  readonly seconds: number;
  readonly notes: readonly string[];
}

const DTYPES = { f16: 'F16', bf16: 'BF16', f32: 'F32' } as const satisfies Record<string, FloatDtype>;

/** @throws AppError `usage`, `model-*`, `conversion-failed` */
export async function convertToMlx(ask: ConvertToMlxAsk): Promise<ConvertedToMlx> {
  const startedMs = performance.now();
  const affine = affineOf(ask);
  const out = resolve(ask.out ?? defaultName(ask, affine));
  await checkOutput(ask, out);
  ask.ui.status('Reading the model');
  const isFolder = await stat(ask.source).then(
    (info) => info.isDirectory(),
    (cause: unknown) => {
      throw new AppError('model-not-found', `There is no model at ${ask.source}.`, { hint: 'Check the path.', cause });
    },
  );
  const written = affine === null && !isFolder ? await lossless(ask, out) : await quantised(ask, affine, out);
  const seconds = (performance.now() - startedMs) / 1_000;
  return { path: out, ...written, seconds };
}

function affineOf({ bits, groupSize, recipe }: ConvertToMlxAsk): QuantizeRequest['affine'] {
  if (bits !== null && recipe !== null) {
    throw new AppError('usage', `--recipe ${recipe} chooses the bits of every layer; --bits ${bits} contradicts it.`, {
      hint: 'Leave one of them out.',
    });
  }
  if (bits === null && groupSize === null && recipe === null) return null;
  return { bits: bits ?? DEFAULT_BITS, groupSize: groupSize ?? DEFAULT_GROUP_SIZE, recipe };
}

function defaultName({ source }: ConvertToMlxAsk, affine: QuantizeRequest['affine']): string {
  const form = affine === null ? '' : `-${affine.recipe ?? `${affine.bits}bit`}`;
  return `${modelName(source)}-mlx${form}`;
}

async function quantised(
  ask: ConvertToMlxAsk,
  affine: QuantizeRequest['affine'],
  out: string,
): Promise<Omit<ConvertedToMlx, 'path' | 'seconds'>> {
  const source = await openOrHandOver(ask);
  if (source === null) return byReference(ask, affine, out);
  const dtype = ask.dtype === null ? null : DTYPES[ask.dtype];
  const plan = planQuantize(source, { affine, dtype, rounding: ask.rounding });
  const bytes = plan.placement.shards.reduce((sum, { totalBytes }) => sum + totalBytes, 0);
  await checkRoom(out, bytes);
  const { outputBytes, warnings } = await writeMlxFolder(source, {
    plan,
    folder: out,
    options: {
      threads: ask.threads,
      continuation: continuationOf(ask, optionsOf(ask)),
      signal: ask.signal,
      onProgress: conversionProgress(ask.ui, 'Converting to MLX'),
    },
  });
  const notes = [...warnings];
  if (affine !== null && ask.rounding === 'metal') {
    notes.push('Rounded as Metal does by its source; this was not compared with conversions made on that hardware.');
  }
  const wasQuantised = source.tensors.find(({ type }) => !['F32', 'F16', 'BF16'].includes(type));
  if (wasQuantised !== undefined) {
    notes.push(
      `The source is ${wasQuantised.type}: what that lost is not coming back, and quantising again loses more.`,
    );
  }
  const weightBytes = plan.placement.shards.reduce(
    (sum, { totalBytes, header }) => sum + totalBytes - header.length,
    0,
  );
  return { fileBytes: outputBytes, bitsPerWeight: (8 * weightBytes) / plan.parameterCount, notes };
}

/** Null: it goes to the reference. */
async function openOrHandOver({ source, reference, ui }: ConvertToMlxAsk): Promise<ConversionSource | null> {
  try {
    return await openConversionSource(resolve(source));
  } catch (error) {
    if (!isForReference(error) || reference === null) throw error;
    ui.line(`runoff does not convert ${String(error.context['architecture'])} itself: it goes to mlx_lm.convert.`);
    return null;
  }
}

function byReference(
  ask: ConvertToMlxAsk,
  affine: QuantizeRequest['affine'],
  out: string,
): Promise<Omit<ConvertedToMlx, 'path' | 'seconds'>> {
  const { source, reference, dtype, rounding, signal, ui } = ask;
  assert(reference !== null, 'the user asked for the reference');
  if (rounding === 'metal') {
    throw new AppError('usage', 'mlx_lm.convert, which makes this model, rounds as this machine does.', {
      hint: 'Leave --rounding out.',
    });
  }
  const environments = ownEnvironments(ui);
  return convertToMlxByReference({
    source: resolve(source),
    affine,
    dtype,
    out,
    environments,
    ...reference,
    signal,
    ui,
  });
}

async function lossless(ask: ConvertToMlxAsk, out: string): Promise<Omit<ConvertedToMlx, 'path' | 'seconds'>> {
  if (ask.dtype === 'bf16') {
    throw new AppError('usage', 'The scales of a GGUF are not exact in bf16.', {
      hint: 'Use --dtype f16 or f32 for a lossless form, or --bits 4 --dtype bf16 to quantise anew.',
    });
  }
  const { fileBytes } = await readGgufModel(resolve(ask.source), 0);
  // Scales of f32 and codes of one byte are the most that a block of 4 bits can become.
  await checkRoom(out, 2 * fileBytes);
  const { outputBytes, warnings } = await repackToMlx(resolve(ask.source), out, {
    scales: ask.dtype === 'f32' ? 'f32' : 'f16',
    continuation: continuationOf(ask, optionsOf(ask)),
    signal: ask.signal,
    onProgress: conversionProgress(ask.ui, 'Repacking for MLX, lossless'),
    check: (made) => proveIdentical({ source: resolve(ask.source), made, form: 'MLX', signal: ask.signal, ui: ask.ui }),
  });
  const { bitsPerWeight } = await summarizeFolder(out);
  const notes = [...warnings, 'Every weight is the same number as in the GGUF; that was checked.'];
  return { fileBytes: outputBytes, bitsPerWeight, notes };
}

/** An existing folder is replaced only where asked for, and only if it is a model. */
async function checkOutput({ source, overwrite }: ConvertToMlxAsk, out: string): Promise<void> {
  if (resolve(source) === out) {
    throw new AppError('usage', `Input and output are the same: ${out}.`, {
      hint: 'Choose another output with --out.',
    });
  }
  await requireFolderOf(out);
  const info = await stat(out).catch(() => null);
  if (info === null) return;
  const entries = info.isDirectory() ? await readdir(out) : ['a file'];
  if (entries.length === 0) return;
  const isModel = entries.includes('config.json') && entries.some((name) => name.endsWith('.safetensors'));
  if (!isModel) {
    throw new AppError('usage', `${out} exists and is not a model folder.`, {
      hint: 'Choose another output with --out.',
    });
  }
  if (!overwrite) {
    throw new AppError('usage', `${out} exists already.`, {
      hint: 'Choose another output with --out, or add --overwrite.',
    });
  }
}

/** What the result depends on; null: not given. */
function optionsOf({ bits, groupSize, recipe, dtype, rounding }: ConvertToMlxAsk): Record<string, string | null> {
  const text = (value: number | null): string | null => (value === null ? null : String(value));
  return {
    '--bits': text(bits),
    '--group': text(groupSize),
    '--recipe': recipe,
    '--dtype': dtype,
    '--rounding': rounding,
  };
}
