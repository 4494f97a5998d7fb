/** Reads what an MLX folder contains: its tensors by name, and how each quantised layer is packed. The folder is untrusted. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { readSafetensorsHeader, type SafetensorsTensor } from '../safetensors/read-header.ts';

/** Configurations are a few kilobytes; those with an entry for every layer reach some hundred. */
const CONFIG_BYTES_MAX = 16 << 20;
const SHARD_COUNT_MAX = 1_000;

const layerSchema = z.object({ group_size: z.int().positive(), bits: z.int().positive(), mode: z.string().optional() });
const quantizationSchema = layerSchema.catchall(z.unknown());

export interface MlxTensor extends SafetensorsTensor {
  readonly file: string;
}

export interface AffineParameters {
  readonly bits: number;
  readonly groupSize: number;
}

export interface MlxModel {
  readonly tensors: ReadonlyMap<string, MlxTensor>;
  /** Packing of a layer that has scales. */
  readonly affineOf: (module: string) => AffineParameters;
}

export async function readMlxModel(folder: string): Promise<MlxModel> {
  const quantization = await readQuantization(folder);
  const tensors = new Map<string, MlxTensor>();
  // As mlx_lm: every model*.safetensors of the folder; the index is not needed, and its paths are not trusted.
  for (const file of await shardFiles(folder)) {
    for (const tensor of await readSafetensorsHeader(file)) {
      if (tensors.has(tensor.name)) throw invalid(folder, `${tensor.name} is in two files`);
      tensors.set(tensor.name, { ...tensor, file });
    }
  }
  return { tensors, affineOf: (module) => affineParameters(folder, quantization, module) };
}

type Quantization = z.infer<typeof quantizationSchema> | null;

async function readQuantization(folder: string): Promise<Quantization> {
  const path = join(folder, 'config.json');
  const size = await stat(path).then(
    (info) => info.size,
    (cause: unknown) => {
      throw new AppError('model-not-found', `${folder} is not an MLX model: it has no config.json.`, {
        hint: 'Give the folder that mlx_lm.convert or runoff wrote.',
        cause,
      });
    },
  );
  if (size > CONFIG_BYTES_MAX) throw invalid(folder, `config.json has ${size} bytes`);
  let config: unknown;
  try {
    config = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new AppError('model-invalid', `${path} is not JSON.`, {
      hint: 'Download or convert the model again.',
      cause,
    });
  }
  const parsed = z.object({ quantization: quantizationSchema.nullish() }).safeParse(config);
  if (!parsed.success) throw invalid(folder, `its quantization is not understood: ${z.prettifyError(parsed.error)}`);
  return parsed.data.quantization ?? null;
}

async function shardFiles(folder: string): Promise<string[]> {
  const names = (await readdir(folder))
    .filter((name) => name.startsWith('model') && name.endsWith('.safetensors'))
    .sort();
  if (names.length === 0)
    throw new AppError('model-not-found', `${folder} has no model*.safetensors.`, { hint: 'Convert the model again.' });
  if (names.length > SHARD_COUNT_MAX) throw invalid(folder, `it has ${names.length} weight files`);
  return names.map((name) => join(folder, name));
}

function affineParameters(folder: string, quantization: Quantization, module: string): AffineParameters {
  if (quantization === null) throw invalid(folder, `${module} has scales but config.json has no quantization`);
  const own = quantization[module];
  const layer = own === undefined ? quantization : layerSchema.safeParse(own).data;
  if (layer === undefined) throw invalid(folder, `the quantization of ${module} is ${JSON.stringify(own)}`);
  if ((layer.mode ?? 'affine') !== 'affine') {
    throw new AppError(
      'model-unsupported',
      `${folder}: ${module} is quantised in mode ${layer.mode}; affine is supported.`,
      { hint: 'Convert the model in affine mode.' },
    );
  }
  if (![2, 3, 4, 5, 6, 8].includes(layer.bits) || ![32, 64, 128].includes(layer.group_size)) {
    throw invalid(folder, `${module} has ${layer.bits} bits in groups of ${layer.group_size}`);
  }
  return { bits: layer.bits, groupSize: layer.group_size };
}

function invalid(folder: string, reason: string): AppError {
  return new AppError('model-invalid', `${folder} is not a usable MLX model: ${reason}.`, {
    hint: 'Download or convert the model again.',
  });
}
