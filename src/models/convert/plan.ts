/** What a conversion writes: header, place and type of every tensor, and where its values come from. */
import { encodeMetadata, GGUF_ALIGNMENT, type EncodedMetadata, type GgufTensorPlan } from '../gguf/write.ts';
import type { EncodedArray, GgufValue, WritableMetadata } from '../gguf/metadata.ts';
import type { TensorType } from '../gguf/tensor-types.ts';
import { TWIN_OF_KEY } from '../gguf/twin-of-key.ts';
import { architectureMetadata, leadingMetadata } from './architecture-metadata.ts';
import { itemsOf, type Item } from './folder-items.ts';
import { readFolderModel, type SourceTensor } from './folder-model.ts';
import { generalMetadata } from './general-metadata.ts';
import { chooseTypes, commonFileType, compareNames, fileTypeOf, isConverterType, type QuantName } from './recipes.ts';
import { splitPlans, type PartPlan } from './split-plans.ts';
import type { TensorJob } from './tensor-job.ts';

export interface ConversionPlan {
  readonly architecture: string;
  /** In the order of the files. */
  readonly plans: readonly GgufTensorPlan[];
  /** One for each file; jobs and constants name theirs. */
  readonly parts: readonly PartPlan[];
  readonly jobs: readonly TensorJob[];
  /** Tensors that are computed, not read. */
  readonly constants: readonly { readonly bytes: Uint8Array; readonly offset: number; readonly part: number }[];
  readonly parameterCount: number;
  readonly sourceBytes: number;
}

/** A plan with what is known of the source's losses. */
export interface SourcedPlan extends ConversionPlan {
  /** Forms of the source that had lost precision already, most common first; empty for F32, F16 and BF16. */
  readonly quantisedBefore: readonly string[];
}

export interface PlanOptions {
  /** Null: every value stays the same number. */
  readonly quant: QuantName | null;
  /** The tokenizer's keys, in order. */
  readonly tokenizer: WritableMetadata;
  readonly importance: { readonly fileName: string; readonly entryCount: number } | null;
  readonly signal?: AbortSignal | undefined;
  /** Bytes of tensors in a file; null: one file. */
  readonly partBytesMax?: number | null;
}

/** @throws AppError `model-invalid`, `model-unsupported`, `model-not-found` */
export async function planFromFolder(
  folder: string,
  { quant, tokenizer, importance, signal, partBytesMax = null }: PlanOptions,
): Promise<SourcedPlan> {
  const source = await readFolderModel(folder);
  const { config, configPath, twinOf } = source;
  const items = await itemsOf(source, { exact: quant === null, signal });
  const parameterCount = items.reduce((sum, { dimensions }) => sum + valuesOf(dimensions), 0);
  const fileType = quant === null ? commonFileType(items) : fileTypeOf(quant);
  const metadata = new Map<string, GgufValue | EncodedArray>([
    ['general.architecture', { type: 'string', value: config.family.architecture }],
    ...leadingMetadata(config, configPath),
    ...(await generalMetadata(folder, parameterCount)),
    ...architectureMetadata(config, fileType, configPath),
    ['general.quantization_version', { type: 'u32', value: 2 }],
    ...tokenizer,
    ...(twinOf === null ? [] : [[TWIN_OF_KEY, { type: 'string', value: twinOf }] as const]),
  ]);
  if (quant !== null && !isConverterType(quant)) finishAsQuantize(metadata, importance);
  const { architecture } = config.family;
  const { layerCount, headCount, keyValueHeadCount } = config;
  const model = { architecture, layerCount, headCount, keyValueHeadCount, hasImportance: importance !== null };
  const common = { architecture, metadata: encodeMetadata(metadata), alignment: GGUF_ALIGNMENT, parameterCount };
  const plan = place(items, { quant, model, partBytesMax, ...common });
  return { ...plan, quantisedBefore: packingsOf(source.tensors) };
}

/** `4-bit affine`, commonest first. */
function packingsOf(tensors: readonly SourceTensor[]): string[] {
  const values = new Map<string, number>();
  for (const { packed } of tensors) {
    if (packed === null) continue;
    const name = packed.mode === 'mxfp4' ? 'mxfp4' : `${packed.bits}-bit affine`;
    values.set(name, (values.get(name) ?? 0) + packed.rows * packed.columns);
  }
  return [...values].sort(([, a], [, b]) => b - a).map(([name]) => name);
}

/** llama-quantize sets its keys last, and those of an importance matrix behind them. */
function finishAsQuantize(
  metadata: Map<string, GgufValue | EncodedArray>,
  importance: PlanOptions['importance'],
): void {
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

interface CommonPlacement {
  readonly architecture: string;
  readonly metadata: EncodedMetadata;
  readonly alignment: number;
  readonly parameterCount: number;
  readonly partBytesMax: number | null;
}

type Placement = CommonPlacement &
  (
    | { readonly quant: QuantName; readonly model: Parameters<typeof chooseTypes>[1] }
    /** Every tensor in its exact type. */
    | { readonly quant: null }
  );

export function place(items: readonly Item[], placement: Placement): ConversionPlan {
  const { architecture, metadata, alignment, parameterCount, partBytesMax } = placement;
  const keepsOrder = placement.quant === null || isConverterType(placement.quant);
  const ordered = keepsOrder ? items : items.toSorted((a, b) => compareNames(a.name, b.name));
  const types =
    placement.quant === null
      ? ordered.map(({ exactType }) => exactType)
      : chooseTypes(placement.quant, placement.model, ordered);
  const plans = ordered.map(({ name, dimensions }, i) => ({ name, dimensions, type: types[i] as TensorType }));
  const parts = splitPlans(plans, { metadata, alignment, bytesMax: partBytesMax });
  const places = parts.flatMap(({ layout }, part) => layout.offsets.map((offset) => ({ part, offset })));
  const jobs: TensorJob[] = [];
  const constants: { bytes: Uint8Array; offset: number; part: number }[] = [];
  for (const [i, { name, source }] of ordered.entries()) {
    const { part, offset } = places[i] as { part: number; offset: number };
    if (source instanceof Uint8Array) constants.push({ bytes: source, offset, part });
    else
      jobs.push({ ...source, name, targetType: (types[i] as TensorType).id, targetOffset: offset, targetPart: part });
  }
  const sourceBytes = jobs.reduce((sum, job) => sum + job.rows * job.columns, 0);
  return { architecture, plans, parts, jobs, constants, parameterCount, sourceBytes };
}

function valuesOf(dimensions: readonly number[]): number {
  return dimensions.reduce((product, size) => product * size, 1);
}
