/** Plan for a GGUF as source: the same metadata and names, other tensor types. Split files are joined. */
import { open } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, readFully } from '../file-io.ts';
import { numberOf, requiredCount, textOf } from '../gguf/metadata.ts';
import { readGgufModel } from '../gguf/parts.ts';
import type { GgufHeader, GgufTensor } from '../gguf/read-header.ts';
import { encodeMetadata, type EncodedMetadata } from '../gguf/write.ts';
import { isKnownArchitecture } from './model-families.ts';
import type { Item } from './folder-items.ts';
import { importanceEntries, place, type SourcedPlan } from './plan.ts';
import { fileTypeOf, type QuantName } from './recipes.ts';
import type { GgufValue } from '../gguf/metadata.ts';

/** Longer metadata does not exist: vocabularies of 262,144 tokens take 15 MB. */
const METADATA_BYTES_MAX = 256 << 20;
/** Arrays of more items are stepped over: the vocabulary is copied as bytes. */
const ARRAY_ITEMS_MAX = 64;

export interface GgufPlanOptions {
  /** Null: every tensor keeps its type, and the metadata stays as it is. */
  readonly quant: QuantName | null;
  readonly importance: { readonly fileName: string; readonly entryCount: number } | null;
  /** Bytes of tensors in a file; null: one file. */
  readonly partBytesMax?: number | null;
}

/** @throws AppError `model-invalid`, `model-unsupported`, `model-not-found` */
export async function planFromGguf(
  path: string,
  { quant, importance, partBytesMax = null }: GgufPlanOptions,
): Promise<SourcedPlan> {
  const header = await readGgufModel(path, ARRAY_ITEMS_MAX);
  const { metadata, tensors, alignment } = header;
  const architecture = textOf(metadata, 'general.architecture') ?? '(none)';
  const parameterCount = tensors.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const encoded = await patchedMetadata(header, quant === null ? null : fileTypeOf(quant), importance);
  const common = { metadata: encoded, alignment, parameterCount, partBytesMax };
  const items = tensors.map(itemOf);
  const quantisedBefore = quantisedTypes(tensors);
  // A copy needs no knowledge of the model.
  if (quant === null) return { ...place(items, { quant, architecture, ...common }), quantisedBefore };
  refuseOthers(header, architecture);
  const headCount = requiredCount(metadata, `${architecture}.attention.head_count`, path);
  const model = {
    architecture,
    layerCount: requiredCount(metadata, `${architecture}.block_count`, path),
    headCount,
    keyValueHeadCount: numberOf(metadata, `${architecture}.attention.head_count_kv`) ?? headCount,
    hasImportance: importance !== null,
  };
  return { ...place(items, { quant, architecture, model, ...common }), quantisedBefore };
}

function itemOf({ name, path, dimensions, type, rows, columns, offset }: GgufTensor): Item {
  return {
    name,
    dimensions,
    keptType: type,
    exactType: type,
    source: {
      sourcePath: path,
      sourceOffset: offset,
      sourceType: type.id,
      rows,
      columns,
      headRows: null,
      addsOne: false,
      addsExactly: false,
      packed: null,
    },
  };
}

function refuseOthers({ path, metadata }: GgufHeader, architecture: string): void {
  if (!isKnownArchitecture(architecture)) {
    throw new AppError('model-unsupported', `${path}: the architecture ${architecture} cannot be converted.`, {
      hint: 'Use llama.cpp’s llama-quantize for this model; runoff measures the GGUF that it writes.',
    });
  }
  const experts = numberOf(metadata, `${architecture}.expert_count`) ?? 0;
  if (experts === 0) return;
  throw new AppError('model-unsupported', `${path}: a mixture of ${experts} experts cannot be converted.`, {
    hint: 'Dense models can; for this one use llama.cpp’s llama-quantize.',
  });
}

function quantisedTypes(tensors: readonly GgufTensor[]): string[] {
  const values = new Map<string, number>();
  for (const { type, rows, columns } of tensors) {
    if (type.blockValues > 1) values.set(type.name, (values.get(type.name) ?? 0) + rows * columns);
  }
  return [...values].sort(([, a], [, b]) => b - a).map(([name]) => name);
}

/** The entries as they lie in the file but for the few that change, which go to the end, as llama-quantize does it. */
async function patchedMetadata(
  header: GgufHeader,
  fileType: number | null,
  importance: GgufPlanOptions['importance'],
): Promise<EncodedMetadata> {
  const { path, metadata, arrayLengths, metadataRange } = header;
  const length = metadataRange.end - metadataRange.start;
  if (length > METADATA_BYTES_MAX)
    throw new AppError(
      'model-unsupported',
      `${path} has ${length} bytes of metadata; up to ${METADATA_BYTES_MAX} are handled.`,
    );
  const bytes = alignedBuffer(length);
  const handle = await open(path, 'r');
  try {
    readFully(handle, bytes, { position: metadataRange.start, length });
  } finally {
    await handle.close();
  }
  const replaced = fileType === null ? SPLIT_KEYS : [...SPLIT_KEYS, ...QUANTISER_KEYS];
  const cuts = replaced.flatMap((key) => cutOf(header, key)).sort((a, b) => a.start - b.start);
  const kept: Uint8Array[] = [];
  let at = 0;
  for (const { start, end } of cuts) {
    kept.push(bytes.subarray(at, start));
    at = end;
  }
  kept.push(bytes.subarray(at));
  const entries: [string, GgufValue][] =
    fileType === null
      ? []
      : [
          ['general.quantization_version', { type: 'u32', value: 2 }],
          ['general.file_type', { type: 'u32', value: fileType }],
          ...importanceEntries(importance),
        ];
  const added = encodeMetadata(new Map(entries));
  const present = new Set([...metadata.keys(), ...arrayLengths.keys()]).size;
  return { count: present - cuts.length + added.count, bytes: Buffer.concat([...kept, added.bytes]) };
}

const SPLIT_KEYS = ['split.no', 'split.count', 'split.tensors.count'];

const QUANTISER_KEYS = [
  'general.quantization_version',
  'general.file_type',
  'quantize.imatrix.file',
  'quantize.imatrix.dataset',
  'quantize.imatrix.entries_count',
  'quantize.imatrix.chunks_count',
];

/** Where an entry lies in the metadata's bytes: key with its length, type, value. */
function cutOf(
  { path, metadata, valueOffsets, metadataRange }: GgufHeader,
  key: string,
): { start: number; end: number }[] {
  const offset = valueOffsets.get(key);
  const value = metadata.get(key);
  if (offset === undefined) return [];
  if (value === undefined || value.type === 'array') {
    throw new AppError('model-invalid', `${path}: ${key} is an array.`, {
      hint: 'Download or convert the model again.',
    });
  }
  const start = offset - 4 - Buffer.byteLength(key) - 8;
  const encoded = encodeMetadata(new Map([[key, value]])).bytes.byteLength;
  return [{ start: start - metadataRange.start, end: start - metadataRange.start + encoded }];
}
