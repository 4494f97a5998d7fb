/** What a conversion writes: header, place and type of every tensor, and where its values come from. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { encodeMetadata, layoutGguf, type GgufLayout, type GgufTensorPlan } from '../gguf/write.ts';
import type { GgufMetadata, GgufValue } from '../gguf/metadata.ts';
import { tensorTypeNamed, type TensorType } from '../gguf/tensor-types.ts';
import { readJson } from '../read-json.ts';
import { readSafetensorsFolder, type FolderTensor } from '../safetensors/open-folder.ts';
import { architectureMetadata, leadingMetadata } from './architecture-metadata.ts';
import { generalMetadata } from './general-metadata.ts';
import { readModelConfig, type ModelConfig } from './model-config.ts';
import { chooseTypes, compareNames, fileTypeOf, isConverterType, type QuantName } from './recipes.ts';
import { extraTensors } from './rope-factors.ts';
import type { TensorJob } from './tensor-job.ts';
import { ggufNameOf, missingTensor } from './tensor-names.ts';

export interface ConversionPlan {
  readonly architecture: string;
  /** In the order of the file. */
  readonly plans: readonly GgufTensorPlan[];
  readonly layout: GgufLayout;
  readonly jobs: readonly TensorJob[];
  /** Tensors that are computed, not read. */
  readonly constants: readonly { readonly bytes: Uint8Array; readonly offset: number }[];
  readonly parameterCount: number;
  readonly sourceBytes: number;
}

export interface PlanOptions {
  readonly quant: QuantName;
  /** The tokenizer's keys, in order. */
  readonly tokenizer: GgufMetadata;
  readonly importance: { readonly fileName: string; readonly entryCount: number } | null;
}

/** One tensor of the result before its place is known. */
export interface Item {
  readonly name: string;
  readonly dimensions: readonly number[];
  readonly keptType: TensorType;
  readonly source:
    | Pick<TensorJob, 'sourcePath' | 'sourceOffset' | 'sourceType' | 'rows' | 'columns' | 'headRows' | 'addsOne'>
    | Uint8Array;
}

/** @throws AppError `model-invalid`, `model-unsupported`, `model-not-found` */
export async function planFromFolder(
  folder: string,
  { quant, tokenizer, importance }: PlanOptions,
): Promise<ConversionPlan> {
  const configPath = join(folder, 'config.json');
  const value = await readJson(configPath);
  if (value === undefined) {
    throw new AppError('model-not-found', `${folder} has no config.json.`, {
      hint: 'Give the folder of a Hugging Face model.',
    });
  }
  const config = readModelConfig(value, configPath);
  const items = await itemsOf(folder, config, configPath);
  const parameterCount = items.reduce((sum, { dimensions }) => sum + valuesOf(dimensions), 0);
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: config.family.architecture }],
    ...leadingMetadata(config, configPath),
    ...(await generalMetadata(folder, parameterCount)),
    ...architectureMetadata(config, fileTypeOf(quant), configPath),
    ['general.quantization_version', { type: 'u32', value: 2 }],
    ...tokenizer,
  ]);
  if (!isConverterType(quant)) finishAsQuantize(metadata, importance);
  const { architecture } = config.family;
  const { layerCount, headCount, keyValueHeadCount } = config;
  const model = { architecture, layerCount, headCount, keyValueHeadCount, hasImportance: importance !== null };
  return place(items, { quant, model, metadata: encodeMetadata(metadata), alignment: 32, parameterCount });
}

/** llama-quantize sets its keys last, and those of an importance matrix behind them. */
function finishAsQuantize(metadata: Map<string, GgufValue>, importance: PlanOptions['importance']): void {
  for (const key of ['general.quantization_version', 'general.file_type']) {
    const value = metadata.get(key) as GgufValue;
    metadata.delete(key);
    metadata.set(key, value);
  }
  for (const [key, value] of importanceEntries(importance)) metadata.set(key, value);
}

export function importanceEntries(importance: PlanOptions['importance']): [string, GgufValue][] {
  if (importance === null) return [];
  return [
    ['quantize.imatrix.file', { type: 'string', value: importance.fileName }],
    ['quantize.imatrix.entries_count', { type: 'u32', value: importance.entryCount }],
  ];
}

interface Placement {
  readonly quant: QuantName;
  readonly model: Parameters<typeof chooseTypes>[1];
  readonly metadata: ReturnType<typeof encodeMetadata>;
  readonly alignment: number;
  readonly parameterCount: number;
}

export function place(
  items: readonly Item[],
  { quant, model, metadata, alignment, parameterCount }: Placement,
): ConversionPlan {
  const ordered = isConverterType(quant) ? items : items.toSorted((a, b) => compareNames(a.name, b.name));
  const types = chooseTypes(quant, model, ordered);
  const plans = ordered.map(({ name, dimensions }, i) => ({ name, dimensions, type: types[i] as TensorType }));
  const layout = layoutGguf(metadata, plans, alignment);
  const jobs: TensorJob[] = [];
  const constants: { bytes: Uint8Array; offset: number }[] = [];
  for (const [i, { name, source }] of ordered.entries()) {
    const offset = layout.offsets[i] as number;
    if (source instanceof Uint8Array) constants.push({ bytes: source, offset });
    else jobs.push({ ...source, name, targetType: (types[i] as TensorType).id, targetOffset: offset });
  }
  const sourceBytes = jobs.reduce((sum, job) => sum + job.rows * job.columns, 0);
  return { architecture: model.architecture, plans, layout, jobs, constants, parameterCount, sourceBytes };
}

async function itemsOf(folder: string, config: ModelConfig, configPath: string): Promise<Item[]> {
  const float32 = tensorTypeNamed('F32');
  const items: Item[] = extraTensors(config, configPath).map(({ name, values }) => ({
    name,
    dimensions: [values.length],
    keptType: float32,
    source: new Uint8Array(values.buffer),
  }));
  const names = new Set(items.map(({ name }) => name));
  const embeddingRows = await embeddingRowsMax(folder, config);
  for (const tensor of await readSafetensorsFolder(folder)) {
    const name = ggufNameOf(tensor.name, config, folder);
    if (name === null) continue;
    if (names.has(name)) throw invalid(folder, `two tensors would be called ${name}`);
    names.add(name);
    items.push(itemOf(tensor, { name, config, folder, embeddingRows, keptType: float32 }));
  }
  const missing = missingTensor(names, config);
  if (missing !== null)
    throw invalid(folder, `config.json announces ${config.layerCount} layers but the tensor for ${missing} is missing`);
  return items;
}

interface ItemContext {
  readonly name: string;
  readonly config: ModelConfig;
  readonly folder: string;
  readonly embeddingRows: number | null;
  readonly keptType: TensorType;
}

function itemOf(tensor: FolderTensor, { name, config, folder, embeddingRows, keptType }: ItemContext): Item {
  const { shape, dtype, path, offset } = tensor;
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
    throw new AppError(
      'model-unsupported',
      `${path}: the tensor ${tensor.name} is ${dtype}; F32, F16 and BF16 can be converted.`,
      {
        hint: "Take the model's original, unquantised weights.",
      },
    );
  }
  if (shape.length < 1 || shape.length > 2 || shape.some((size) => size === 0))
    throw invalid(folder, `${tensor.name} has the shape ${JSON.stringify(shape)}`);
  checkShape(tensor, name, config, folder);
  const isEmbedding = name === 'token_embd.weight';
  const wholeRows = shape.length === 1 ? 1 : (shape[0] as number);
  const rows = isEmbedding ? Math.min(wholeRows, embeddingRows ?? wholeRows) : wholeRows;
  const columns = shape.at(-1) as number;
  const headRows = headRowsOf(tensor, name, config, folder);
  const source = {
    sourcePath: path,
    sourceOffset: offset,
    sourceType: tensorTypeNamed(dtype).id,
    // A bias is permuted element by element.
    ...(shape.length === 1 && headRows !== null ? { rows: columns, columns: 1 } : { rows, columns }),
    headRows,
    addsOne: config.family.shiftsNorms && tensor.name.endsWith('norm.weight'),
  };
  return { name, dimensions: shape.length === 1 ? [columns] : [columns, rows], keptType, source };
}

/** Sizes that config.json promises: a tensor of another shape would load as garbage or not at all. */
function checkShape(
  { name: tensorName, shape }: FolderTensor,
  name: string,
  config: ModelConfig,
  folder: string,
): void {
  const columns = shape.at(-1) as number;
  const { hiddenSize, feedForwardSize } = config;
  if (!name.endsWith('.weight')) return;
  const readsHidden =
    /^(?:token_embd|output|output_norm)\.|\.(?:attn_[qkv]|attn_qkv|ffn_gate|ffn_up|attn_norm|ffn_norm)\.weight$/.test(
      name,
    );
  const expected = readsHidden ? hiddenSize : name.endsWith('.ffn_down.weight') ? feedForwardSize : columns;
  if (columns === expected) return;
  throw invalid(folder, `${tensorName} has rows of ${columns} values, config.json says ${expected}`);
}

function headRowsOf(
  { shape, name: tensorName }: FolderTensor,
  name: string,
  config: ModelConfig,
  folder: string,
): number | null {
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

function valuesOf(dimensions: readonly number[]): number {
  return dimensions.reduce((product, size) => product * size, 1);
}

function invalid(where: string, reason: string): AppError {
  return new AppError('model-invalid', `${where} is not a usable model: ${reason}.`, {
    hint: 'Download the model again.',
  });
}
