/** The tensors of a model that is converted to MLX, from a Hugging Face folder or a GGUF, under Hugging Face's names. */
import { stat } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';
import { canDequantize } from '../gguf/dequantize.ts';
import { readGgufModel } from '../gguf/parts.ts';
import type { GgufHeader } from '../gguf/read-header.ts';
import { FAMILIES } from '../hugging-face/families.ts';
import { mapTensors, type MappedModel } from '../hugging-face/tensor-map.ts';
import { readMlxModel, type ModelConfig } from './read-model.ts';

export interface SourceTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly file: string;
  readonly offset: number;
  /** Rows as they lie in the file. */
  readonly rows: number;
  readonly rowBytes: number;
  /** Values in a row. */
  readonly columns: number;
  /** ggml's name of the type: `BF16`, `Q4_K`. */
  readonly type: string;
  /** Rows of a head, where they are interleaved: see `unpermuteRows`. */
  readonly headRows: number | null;
  /** -1 for a norm that is stored as 1 + weight. */
  readonly addend: 0 | -1;
}

export type ConversionSource = {
  readonly path: string;
  readonly tensors: readonly SourceTensor[];
  readonly layerCount: number;
} & (
  | { readonly format: 'safetensors'; readonly config: ModelConfig }
  | { readonly format: 'gguf'; readonly header: GgufHeader; readonly model: MappedModel }
);

/** Model types whose tensors mlx-lm takes as Hugging Face stores them. */
const MODEL_TYPES: ReadonlySet<string> = new Set([
  'mistral',
  'gemma',
  ...Object.values(FAMILIES).map(({ modelType }) => modelType),
]);
const LAYER_COUNT_MAX = 10_000;

/** Rejects with `model-not-found`, `model-invalid` or `model-unsupported`. */
export async function openConversionSource(path: string): Promise<ConversionSource> {
  const info = await stat(path).catch((cause: unknown) => {
    throw new AppError('model-not-found', `There is no model at ${path}.`, { hint: 'Check the path.', cause });
  });
  return info.isDirectory() ? folderSource(path) : ggufSource(path);
}

async function folderSource(path: string): Promise<ConversionSource> {
  const { config, tensors, isQuantized } = await readMlxModel(path);
  if (isQuantized) {
    throw new AppError('model-unsupported', `${path} is quantised for MLX already.`, {
      hint: 'Convert from the original weights: quantising twice loses more.',
    });
  }
  const modelType = config['model_type'];
  if (typeof modelType !== 'string' || !MODEL_TYPES.has(modelType)) {
    throw new AppError(
      'model-unsupported',
      `${path}: the architecture ${JSON.stringify(modelType)} is not one of those that are converted here: ${[...MODEL_TYPES].join(', ')}.`,
      {
        hint: 'Add --with-reference: mlx_lm.convert, which knows more architectures, then makes it.',
        context: { architecture: modelType },
      },
    );
  }
  const tied = config['tie_word_embeddings'] === true;
  const kept = [...tensors.values()].filter(
    ({ name }) => !name.endsWith('rotary_emb.inv_freq') && !(tied && name === 'lm_head.weight'),
  );
  return {
    path,
    format: 'safetensors',
    config,
    layerCount: layerCountOf(path, config),
    tensors: kept.map(({ name, shape, file, offset, dtype, byteLength }) => {
      if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
        throw new AppError('model-unsupported', `${file}: ${name} is ${dtype}; F32, F16 and BF16 are converted.`, {
          hint: 'Take the model in one of these.',
        });
      }
      const columns = shape.at(-1) ?? 1;
      const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
      const rowBytes = rows === 0 ? 0 : byteLength / rows;
      return { name, shape, file, offset, rows, rowBytes, columns, type: dtype, headRows: null, addend: 0 };
    }),
  };
}

function layerCountOf(path: string, config: ModelConfig): number {
  const count = config['num_hidden_layers'];
  if (typeof count === 'number' && Number.isInteger(count) && count > 0 && count <= LAYER_COUNT_MAX) return count;
  throw new AppError('model-invalid', `${path}: config.json has ${JSON.stringify(count)} as num_hidden_layers.`, {
    hint: 'Download the model again.',
  });
}

async function ggufSource(path: string): Promise<ConversionSource> {
  const header = await readGgufModel(path);
  const model = mapTensors(header);
  const tensors = model.tensors.map(({ name, shape, source, rows, rowBytes, permutedHeadRows, holdsFactor }) => {
    if (!canDequantize(source.type)) {
      throw new AppError(
        'model-unsupported',
        `${path}: the values of ${source.name} (${source.type.name}) cannot be read.`,
        {
          hint: 'Take the model in another type.',
        },
      );
    }
    return {
      name,
      shape,
      file: source.path,
      offset: source.offset,
      rows,
      rowBytes,
      columns: (source.rows * source.columns) / rows,
      type: source.type.name,
      headRows: permutedHeadRows,
      addend: holdsFactor ? (-1 as const) : (0 as const),
    };
  });
  return { path, format: 'gguf', header, model, layerCount: model.architecture.layerCount, tensors };
}
