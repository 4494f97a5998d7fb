/**
 * Reads what an MLX or Hugging Face folder contains: its tensors by name, and how each quantised layer is packed. The folder
 * is untrusted.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { readSafetensorsHeader, type SafetensorsTensor } from '../safetensors/read-header.ts';

/** Configurations are a few kilobytes; those with an entry for every layer reach some hundred. */
const CONFIG_BYTES_MAX = 16 << 20;
/** An entry of about 100 bytes for each tensor. */
const INDEX_BYTES_MAX = 64 << 20;
const SHARD_COUNT_MAX = 1_000;

const layerSchema = z.object({ group_size: z.int().positive(), bits: z.int().positive(), mode: z.string().optional() });
const quantizationSchema = layerSchema.catchall(z.unknown());

export interface MlxTensor extends SafetensorsTensor {
  readonly file: string;
}

export type Packing =
  | { readonly mode: 'affine'; readonly bits: number; readonly groupSize: number }
  /** 4-bit floats in groups of 32 with a power of two each. */
  | { readonly mode: 'mxfp4'; readonly bits: 4; readonly groupSize: 32 };

export type ModelConfig = Readonly<Record<string, unknown>>;

export interface MlxModel {
  readonly tensors: ReadonlyMap<string, MlxTensor>;
  /** Empty for a single file without a configuration beside it. */
  readonly config: ModelConfig;
  /** True for MLX's own layout; a dense folder is the same in both. */
  readonly isQuantized: boolean;
  /** Packing of a layer that has scales. */
  readonly packingOf: (module: string) => Packing;
}

/** `path`: a folder, or one .safetensors file. */
export async function readMlxModel(path: string): Promise<MlxModel> {
  const isFile = path.endsWith('.safetensors');
  const folder = isFile ? dirname(path) : path;
  const config = await readConfig(folder, isFile);
  const quantization = quantizationOf(folder, config);
  const tensors = new Map<string, MlxTensor>();
  for (const file of isFile ? [path] : await shardFiles(folder)) {
    for (const tensor of await readSafetensorsHeader(file)) {
      if (tensors.has(tensor.name)) throw invalid(folder, `${tensor.name} is in two files`);
      tensors.set(tensor.name, { ...tensor, file });
    }
  }
  if (!isFile) await checkIndex(folder, tensors);
  return {
    tensors,
    config,
    isQuantized: quantization !== null,
    packingOf: (module) => packing(folder, quantization, module),
  };
}

type Quantization = z.infer<typeof quantizationSchema> | null;

/** config.json of a model folder. Rejects with `model-not-found` or `model-invalid`. */
export async function readConfig(folder: string, mayBeMissing = false): Promise<ModelConfig> {
  const path = join(folder, 'config.json');
  const text = await readBounded(path, CONFIG_BYTES_MAX);
  if (text === null) {
    if (mayBeMissing) return {};
    throw new AppError('model-not-found', `${folder} is not a model folder: it has no config.json.`, {
      hint: 'Give a folder with config.json and *.safetensors, as the hub, mlx_lm.convert or runoff write it.',
    });
  }
  const parsed = z.record(z.string(), z.unknown()).safeParse(parseJson(path, text));
  if (!parsed.success) throw invalid(folder, 'config.json is not an object');
  return parsed.data;
}

async function readBounded(path: string, bytesMax: number): Promise<string | null> {
  const info = await stat(path).catch(() => null);
  if (info === null) return null;
  if (!info.isFile() || info.size > bytesMax)
    throw new AppError('model-invalid', `${path} has ${info.size} bytes, at most ${bytesMax} are read.`, {
      hint: 'Download or convert the model again.',
    });
  return readFile(path, 'utf8');
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AppError('model-invalid', `${path} is not JSON.`, {
      hint: 'Download or convert the model again.',
      cause,
    });
  }
}

function quantizationOf(folder: string, config: ModelConfig): Quantization {
  const parsed = z.object({ quantization: quantizationSchema.nullish() }).safeParse(config);
  if (!parsed.success) throw invalid(folder, `its quantization is not understood: ${z.prettifyError(parsed.error)}`);
  const method = z.object({ quantization_config: z.object({ quant_method: z.string() }) }).safeParse(config);
  if (method.success && parsed.data.quantization === undefined) {
    const name = method.data.quantization_config.quant_method;
    throw new AppError('model-unsupported', `${folder} is quantised with ${name}, which this program does not read.`, {
      hint: 'Take the model in F32, F16 or BF16, as MLX, or as a GGUF.',
    });
  }
  return parsed.data.quantization ?? null;
}

/** As mlx_lm: every model*.safetensors of the folder. */
async function shardFiles(folder: string): Promise<string[]> {
  const names = (await readdir(folder))
    .filter((name) => name.startsWith('model') && name.endsWith('.safetensors'))
    .sort();
  if (names.length === 0)
    throw new AppError('model-not-found', `${folder} has no model*.safetensors.`, { hint: 'Convert the model again.' });
  if (names.length > SHARD_COUNT_MAX) throw invalid(folder, `it has ${names.length} weight files`);
  return names.map((name) => join(folder, name));
}

/** The index is not needed for reading and its paths are never opened; it tells when a shard was not downloaded. */
async function checkIndex(folder: string, tensors: ReadonlyMap<string, MlxTensor>): Promise<void> {
  const path = join(folder, 'model.safetensors.index.json');
  const text = await readBounded(path, INDEX_BYTES_MAX);
  if (text === null) return;
  const parsed = z.object({ weight_map: z.record(z.string(), z.string()) }).safeParse(parseJson(path, text));
  if (!parsed.success) throw invalid(folder, 'model.safetensors.index.json has no weight_map');
  for (const [name, file] of Object.entries(parsed.data.weight_map)) {
    const found = tensors.get(name);
    if (found === undefined) throw invalid(folder, `${name} is missing; the index says it is in ${basename(file)}`);
    if (basename(found.file) !== file)
      throw invalid(folder, `${name} is in ${basename(found.file)}, the index says ${file}`);
  }
}

function packing(folder: string, quantization: Quantization, module: string): Packing {
  if (quantization === null) throw invalid(folder, `${module} has scales but config.json has no quantization`);
  const own = Object.hasOwn(quantization, module) ? quantization[module] : undefined;
  const layer = own === undefined ? quantization : layerSchema.safeParse(own).data;
  if (layer === undefined) throw invalid(folder, `the quantization of ${module} is ${JSON.stringify(own)}`);
  const mode = layer.mode ?? 'affine';
  const { bits, group_size: groupSize } = layer;
  if (mode === 'mxfp4') {
    if (bits !== 4 || groupSize !== 32) throw invalid(folder, `${module} has ${bits} bits in groups of ${groupSize}`);
    return { mode, bits, groupSize };
  }
  if (mode !== 'affine') {
    throw new AppError(
      'model-unsupported',
      `${folder}: ${module} is quantised in mode ${mode}; affine and mxfp4 are supported.`,
      { hint: 'Convert the model in affine mode.' },
    );
  }
  if (![2, 3, 4, 5, 6, 8].includes(bits) || ![32, 64, 128].includes(groupSize)) {
    throw invalid(folder, `${module} has ${bits} bits in groups of ${groupSize}`);
  }
  return { mode, bits, groupSize };
}

function invalid(folder: string, reason: string): AppError {
  return new AppError('model-invalid', `${folder} is not a usable model folder: ${reason}.`, {
    hint: 'Download or convert the model again.',
  });
}
