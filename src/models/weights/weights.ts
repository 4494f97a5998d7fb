/** The weights of a model as values, whatever format holds them: names, shapes and row order are Hugging Face's. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { openFolderWeights } from './folder-weights.ts';
import { openGgufWeights } from './gguf-weights.ts';

export interface WeightTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** A vector is one row, unless its elements are reordered like rows. */
  readonly rows: number;
  readonly columns: number;
  /** How the file holds it: `Q4_K`, `BF16`, `4-bit affine, groups of 64`. */
  readonly storedAs: string;
  readonly storedBytes: number;
  /** Rows that are read together: `read` takes multiples of it, but for the last part. */
  readonly unitRows: number;
  /** Fills `out` with rowCount * columns float32 values, as the format defines them (see fingerprint.ts). */
  readonly read: (firstRow: number, rowCount: number, out: Float32Array) => void;
}

export type WeightsFormat = 'gguf' | 'mlx' | 'safetensors';

export interface Weights {
  readonly path: string;
  readonly format: WeightsFormat;
  readonly tensors: readonly WeightTensor[];
  readonly close: () => Promise<void>;
}

/**
 * `path` is a .gguf file, an MLX or Hugging Face folder, or one .safetensors file.
 * Rejects with `model-not-found`, `model-invalid` or `model-unsupported`. The caller closes.
 */
export async function openWeights(path: string): Promise<Weights> {
  const absolute = resolve(path);
  const info = await stat(absolute).catch((cause: unknown) => {
    throw new AppError('model-not-found', `There is no model at ${absolute}.`, {
      hint: 'Give a .gguf file, or a folder with config.json and *.safetensors.',
      cause,
    });
  });
  if (info.isDirectory() || absolute.endsWith('.safetensors')) return openFolderWeights(absolute);
  return openGgufWeights(absolute);
}

/** Values at a time: 1 MiB of float32, so that everything stays in the second-level cache. */
const CHUNK_VALUES = 1 << 18;

/** A row or a head beyond this does not exist; it would break the promise of bounded memory. */
const UNIT_VALUES_MAX = 1 << 24;

/** Rows to read at a time: about a megabyte of values, in whole units of all `tensors`, which have the same shape. */
export function chunkRowsOf(tensors: readonly WeightTensor[]): number {
  const unit = tensors.reduce((common, { unitRows }) => leastCommonMultiple(common, unitRows), 1);
  const { name, columns, rows } = tensors[0] as WeightTensor;
  if (unit * columns > UNIT_VALUES_MAX) {
    throw new AppError(
      'model-unsupported',
      `Tensor ${name} has rows (or heads) of ${unit * columns} values; up to ${UNIT_VALUES_MAX} are handled.`,
    );
  }
  return Math.min(rows, unit * Math.max(1, Math.floor(CHUNK_VALUES / (unit * columns))));
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y > 0) [x, y] = [y, x % y];
  return (a / x) * b;
}
