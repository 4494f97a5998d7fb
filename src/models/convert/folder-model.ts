/** A model folder as the source of a conversion: configuration and tensors, dense as Hugging Face stores them or packed by MLX. */
import { join } from 'node:path';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { twinOfConfig } from '../gguf/twin-of-key.ts';
import { checkDtype, logicalTensors, type LogicalTensor } from '../mlx/logical-tensors.ts';
import type { PackedSource } from '../mlx/packed-source.ts';
import { readMlxModel, type MlxTensor } from '../mlx/read-model.ts';
import { readJson } from '../read-json.ts';
import type { Dtype } from '../safetensors/format.ts';
import { readSafetensorsFolder } from '../safetensors/open-folder.ts';
import { readModelConfig, type ModelConfig } from './model-config.ts';

export interface SourceTensor {
  readonly name: string;
  /** Of a packed matrix: that of its values. */
  readonly shape: readonly number[];
  readonly dtype: Dtype | 'packed';
  readonly path: string;
  readonly offset: number;
  readonly packed: PackedSource | null;
}

export interface FolderModel {
  readonly folder: string;
  readonly config: ModelConfig;
  readonly configPath: string;
  /** Of whose shape the weights are random numbers; null for a real model. */
  readonly twinOf: string | null;
  /** By file, and by name within. */
  readonly tensors: readonly SourceTensor[];
}

/** @throws AppError `model-invalid`, `model-unsupported`, `model-not-found` */
export async function readFolderModel(folder: string): Promise<FolderModel> {
  const { isPacked, ...found } = await readFolderConfig(folder);
  if (isPacked) return { folder, ...found, tensors: await mlxTensors(folder) };
  const tensors = await readSafetensorsFolder(folder);
  return { folder, ...found, tensors: tensors.map((tensor) => ({ ...tensor, packed: null })) };
}

/** Whether it can be converted at all, before anything large is read. @throws AppError as `readFolderModel` */
export async function readFolderConfig(
  folder: string,
): Promise<Pick<FolderModel, 'config' | 'configPath' | 'twinOf'> & { readonly isPacked: boolean }> {
  const configPath = join(folder, 'config.json');
  const value = await readJson(configPath);
  if (value === undefined) {
    throw new AppError('model-not-found', `${folder} has no config.json.`, {
      hint: 'Give the folder of a Hugging Face or MLX model.',
    });
  }
  const found = { configPath, twinOf: twinOfConfig(value) };
  const mlx = mlxConfigSchema.safeParse(value);
  if (!mlx.success) return { ...found, config: readModelConfig(value, configPath), isPacked: false };
  const rest = Object.fromEntries(Object.entries(mlx.data).filter(([key]) => !PACKING_KEYS.includes(key)));
  if (rest['rope_traditional'] === true) {
    throw new AppError('model-unsupported', `${configPath}: rope_traditional is true, another order of the rows.`, {
      hint: 'Convert from a model whose query and key rows have Hugging Face’s order.',
    });
  }
  return { ...found, config: readModelConfig(rest, configPath), isPacked: true };
}

/** How MLX says that matrices are packed. */
const mlxConfigSchema = z.looseObject({ quantization: z.looseObject({}) });
/** mlx-lm writes both, the same; the second alone belongs to other methods. */
const PACKING_KEYS: readonly string[] = ['quantization', 'quantization_config'];

/** Tied output matrices and rotary frequencies are left out. */
async function mlxTensors(folder: string): Promise<SourceTensor[]> {
  const logical = logicalTensors(folder, await readMlxModel(folder));
  return logical.map(sourceTensor).toSorted((a, b) => byText(a.path, b.path) || byText(a.name, b.name));
}

function sourceTensor({ name, shape, weight, rows, columns, packed }: LogicalTensor): SourceTensor {
  const place = { name, shape, path: weight.file, offset: weight.offset };
  if (packed === null) return { ...place, dtype: weight.dtype, packed: null };
  const { packing, scales, biases } = packed;
  const codes = { path: weight.file, offset: weight.offset };
  const source = { ...packing, rows, columns, codes, scales: floatPart(scales) };
  return { ...place, dtype: 'packed', packed: { ...source, biases: biases === null ? null : floatPart(biases) } };
}

function floatPart(tensor: MlxTensor): PackedSource['scales'] {
  const { file: path, offset, dtype } = tensor;
  // Exponents of mxfp4; affine scales are floats.
  if (dtype === 'U8') return { path, offset, dtype };
  checkDtype(tensor);
  return { path, offset, dtype: dtype as 'F32' | 'F16' | 'BF16' };
}

/** As Python sorts the ASCII names of the reference. */
function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
