/** The tensors of a folder under GGUF's names, each with what is done to it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { tensorTypeNamed, type TensorType } from '../gguf/tensor-types.ts';
import { chooseExactForm } from '../mlx/choose-exact-form.ts';
import { readJson } from '../read-json.ts';
import type { FolderModel, SourceTensor } from './folder-model.ts';
import type { ModelConfig } from './model-config.ts';
import { isKept } from './recipes.ts';
import { extraTensors } from './rope-factors.ts';
import { SourceFiles } from './source-files.ts';
import type { TensorJob } from './tensor-job.ts';
import { ggufNameOf, missingTensor } from './tensor-names.ts';

/** One tensor of the result before its place is known. */
export interface Item {
  readonly name: string;
  readonly dimensions: readonly number[];
  readonly keptType: TensorType;
  /** The type that holds the source's values as they are. */
  readonly exactType: TensorType;
  readonly source: ItemSource | Uint8Array;
}

type ItemSource = Omit<TensorJob, 'name' | 'targetType' | 'targetOffset' | 'targetPart'>;

export interface ItemOptions {
  /** Every value stays the same number: refused where a type or llama.cpp does not allow it. */
  readonly exact: boolean;
  readonly signal?: AbortSignal | undefined;
}

const FLOAT32 = tensorTypeNamed('F32');

/** @throws AppError `model-invalid`, `model-unsupported` */
export async function itemsOf(model: FolderModel, options: ItemOptions): Promise<Item[]> {
  const { folder, config, configPath } = model;
  const items: Item[] = extraTensors(config, configPath).map(({ name, values }) => ({
    name,
    dimensions: [values.length],
    keptType: FLOAT32,
    exactType: FLOAT32,
    source: new Uint8Array(values.buffer),
  }));
  const names = new Set(items.map(({ name }) => name));
  const embeddingRows = await embeddingRowsMax(folder, config);
  const context = { ...options, config, folder, embeddingRows, sizes: promisedSizes(config) };
  const files = new SourceFiles();
  try {
    for (const tensor of model.tensors) {
      const name = ggufNameOf(tensor.name, config, folder);
      if (name === null) {
        if (options.exact) refuseOtherPart(tensor, folder);
        continue;
      }
      if (names.has(name)) throw invalid(folder, `two tensors would be called ${name}`);
      names.add(name);
      items.push(await itemOf(tensor, { ...context, name, files }));
    }
  } finally {
    files.close();
  }
  const missing = missingTensor(names, config);
  if (missing !== null)
    throw invalid(folder, `config.json announces ${config.layerCount} layers but the tensor for ${missing} is missing`);
  return items;
}

interface ItemContext extends ItemOptions {
  readonly name: string;
  readonly config: ModelConfig;
  readonly folder: string;
  readonly embeddingRows: number | null;
  readonly sizes: PromisedSizes;
  readonly files: SourceFiles;
}

async function itemOf(tensor: SourceTensor, context: ItemContext): Promise<Item> {
  const { name, config, folder, exact } = context;
  const { shape, path, offset, packed } = tensor;
  if (shape.length < 1 || shape.length > 2 || shape.some((size) => size === 0))
    throw invalid(folder, `${tensor.name} has the shape ${JSON.stringify(shape)}`);
  checkShape(tensor, context);
  const rows = rowsOf(tensor, context);
  const columns = shape.at(-1) as number;
  const dimensions = shape.length === 1 ? [columns] : [columns, rows];
  const headRows = headRowsOf(tensor, context);
  const storedType = await storedTypeOf(tensor, context);
  const source: ItemSource = {
    sourcePath: path,
    sourceOffset: offset,
    sourceType: storedType.id,
    // A bias is permuted element by element.
    ...(shape.length === 1 && headRows !== null ? { rows: columns, columns: 1 } : { rows, columns }),
    headRows,
    addsOne: config.family.shiftsNorms && tensor.name.endsWith('norm.weight'),
    addsExactly: exact,
    packed,
  };
  const exactType = isKept({ name, dimensions }) ? FLOAT32 : storedType;
  return { name, dimensions, keptType: FLOAT32, exactType, source };
}

/** What the rows are read as. */
async function storedTypeOf(
  { name, dtype, path, packed }: SourceTensor,
  { folder, exact, files, signal }: ItemContext,
): Promise<TensorType> {
  if (packed !== null) {
    if (!exact) return FLOAT32;
    const readAt = (...[from, into, position]: Parameters<SourceFiles['readAll']>): Promise<void> =>
      files.readAll(from, into, position);
    return chooseExactForm({ model: folder, name, source: packed }, { readAt, signal });
  }
  if (dtype === 'F32' || dtype === 'F16' || dtype === 'BF16') return tensorTypeNamed(dtype);
  throw new AppError(
    'model-unsupported',
    `${path}: the tensor ${name} is ${dtype}; F32, F16 and BF16 can be converted.`,
    {
      hint: "Take the model's original, unquantised weights.",
    },
  );
}

function rowsOf({ shape }: SourceTensor, { name, embeddingRows, exact, folder }: ItemContext): number {
  if (shape.length === 1) return 1;
  const rows = shape[0] as number;
  if (name !== 'token_embd.weight' || embeddingRows === null || rows <= embeddingRows) return rows;
  if (!exact) return embeddingRows;
  throw new AppError(
    'model-unsupported',
    `${folder} has ${rows} rows of embeddings for ${embeddingRows} tokens; llama.cpp takes no more rows than tokens.`,
    { hint: 'Convert with --quant q8_0 or another type: rows without a token are left out then.' },
  );
}

/** Rotary frequencies are derived; a tower for images is not. */
function refuseOtherPart({ name }: SourceTensor, folder: string): void {
  if (name.endsWith('.rotary_emb.inv_freq')) return;
  throw new AppError('model-unsupported', `${folder}: ${name} is no part of a language model alone.`, {
    hint: 'Convert with --quant q8_0 or another type: the language model is taken then, and the rest left out.',
  });
}

/** Sizes that config.json promises: a tensor of another shape would load as garbage or not at all. */
function checkShape({ name: tensorName, shape }: SourceTensor, { name, sizes, folder }: ItemContext): void {
  const part = /^(?:blk\.\d+\.)?(\w+)\.weight$/.exec(name)?.[1];
  const expected = part !== undefined && Object.hasOwn(sizes, part) ? sizes[part] : undefined;
  if (expected === undefined) return;
  const [rows, columns] = [shape.length === 1 ? null : (shape[0] as number), shape.at(-1) as number];
  if (columns !== expected.columns)
    throw invalid(folder, `${tensorName} has rows of ${columns} values, config.json says ${expected.columns}`);
  if (expected.rows !== null && rows !== expected.rows)
    throw invalid(folder, `${tensorName} has ${rows ?? 'no'} rows, config.json says ${expected.rows}`);
}

/** By GGUF's name within a layer. Null: a vector, or as many rows as there are tokens, which models pad as they like. */
type PromisedSizes = Readonly<Record<string, { readonly rows: number | null; readonly columns: number }>>;

function promisedSizes(config: ModelConfig): PromisedSizes {
  const { hiddenSize, feedForwardSize, headCount, keyValueHeadCount, family } = config;
  const headSize = config.headSize ?? hiddenSize / headCount;
  const [queries, keys] = [headCount * headSize, keyValueHeadCount * headSize];
  const vector = { rows: null, columns: hiddenSize };
  return {
    token_embd: vector,
    output: vector,
    output_norm: vector,
    attn_norm: vector,
    ffn_norm: vector,
    attn_q_norm: { rows: null, columns: headSize },
    attn_k_norm: { rows: null, columns: headSize },
    attn_q: { rows: queries, columns: hiddenSize },
    attn_k: { rows: keys, columns: hiddenSize },
    attn_v: { rows: keys, columns: hiddenSize },
    attn_qkv: { rows: queries + 2 * keys, columns: hiddenSize },
    attn_output: { rows: hiddenSize, columns: queries },
    ffn_gate: { rows: feedForwardSize, columns: hiddenSize },
    // Phi-3 keeps gate and up in one matrix.
    ffn_up: { rows: (family.architecture === 'phi3' ? 2 : 1) * feedForwardSize, columns: hiddenSize },
    ffn_down: { rows: hiddenSize, columns: feedForwardSize },
  };
}

function headRowsOf({ shape, name: tensorName }: SourceTensor, { name, config, folder }: ItemContext): number | null {
  const part = /\.attn_([qk])\.(?:weight|bias)$/.exec(name)?.[1];
  if (!config.family.permutesQueryAndKey || part === undefined) return null;
  const heads = part === 'q' ? config.headCount : config.keyValueHeadCount;
  const rows = shape[0] as number;
  if (rows % (2 * heads) === 0) return rows / heads;
  throw invalid(folder, `${tensorName} has ${rows} rows, which are not ${heads} heads of an even size`);
}

/** The values are nobody's business here: only how many there are. */
const tokenizerSchema = z.looseObject({
  model: z.looseObject({ vocab: z.custom<object>((value) => typeof value === 'object' && value !== null) }),
  added_tokens: z.array(z.unknown()),
});

/** Gemma 3 has rows for tokens that its tokenizer does not know: the reference cuts them off where it counts in tokenizer.json. */
async function embeddingRowsMax(folder: string, { family }: ModelConfig): Promise<number | null> {
  if (family.name !== 'gemma3') return null;
  if (existsSync(join(folder, 'tokenizer.model'))) return null;
  const tokenizer = tokenizerSchema.safeParse(await readJson(join(folder, 'tokenizer.json')));
  if (!tokenizer.success) return null;
  return Object.keys(tokenizer.data.model.vocab).length + tokenizer.data.added_tokens.length;
}

function invalid(where: string, reason: string): AppError {
  return new AppError('model-invalid', `${where} is not a usable model: ${reason}.`, {
    hint: 'Download the model again.',
  });
}
