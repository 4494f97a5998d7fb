/** An MLX folder by mlx_lm.convert: read back, and compared where that is possible. */
import { rm } from 'node:fs/promises';
import { writeThenRename } from '../../models/file-io.ts';
import { summarizeFolder } from '../../models/mlx/summary.ts';
import { folderBytes } from '../../platform/folders.ts';
import {
  compareWithSource,
  nameOf,
  readyReference,
  recordReference,
  runReference,
  type Reference,
  type ReferenceAsk,
} from './reference.ts';

export const MLX_REFERENCE: Reference = { id: 'mlx-lm', title: 'mlx_lm.convert', packages: ['mlx-lm', 'mlx'] };

export interface MlxReferenceAsk extends ReferenceAsk {
  readonly out: string;
  /** Null: dense. */
  readonly affine: { readonly bits: number; readonly groupSize: number; readonly recipe: string | null } | null;
  readonly dtype: 'f16' | 'bf16' | 'f32' | null;
}

export interface ReferenceMlx {
  readonly fileBytes: number;
  readonly bitsPerWeight: number;
  readonly notes: readonly string[];
}

const DTYPES = { f16: 'float16', bf16: 'bfloat16', f32: 'float32' } as const;

/** @throws AppError `environment-failed`, `conversion-failed`, `model-invalid`, `interrupted` */
export async function convertToMlxByReference(ask: MlxReferenceAsk): Promise<ReferenceMlx> {
  const { out, source } = ask;
  const environment = await readyReference(MLX_REFERENCE, ask);
  const run = { reference: MLX_REFERENCE, environment };
  return writeThenRename(out, async (temporary) => {
    await runReference({ ...run, args: argsOf(temporary, ask), output: temporary }, ask);
    const { bitsPerWeight } = await summarizeFolder(temporary);
    const comparison = await compareWithSource(source, temporary, ask);
    await recordReference({ path: temporary, kind: 'folder' }, { ...run, args: argsOf(out, ask), source, comparison });
    const fileBytes = await folderBytes(temporary);
    await rm(out, { recursive: true, force: true });
    const by = `Made by ${nameOf(MLX_REFERENCE, environment)}, not by runoff.`;
    return { fileBytes, bitsPerWeight, notes: [by, comparison] };
  });
}

function argsOf(output: string, { source, affine, dtype }: MlxReferenceAsk): string[] {
  const args = ['-I', '-m', 'mlx_lm', 'convert', '--hf-path', source, '--mlx-path', output];
  if (affine !== null) {
    args.push('--quantize', '--q-group-size', String(affine.groupSize));
    if (affine.recipe === null) args.push('--q-bits', String(affine.bits));
    else args.push('--quant-predicate', affine.recipe);
  }
  if (dtype !== null) args.push('--dtype', DTYPES[dtype]);
  return args;
}
