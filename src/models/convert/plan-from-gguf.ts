/** Plan for a GGUF as source: the same metadata and names, other tensor types. Split files are joined. */
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, readFully } from '../file-io.ts';
import { numberOf, requiredCount, textOf } from '../gguf/metadata.ts';
import { readGgufHeader, type GgufHeader } from '../gguf/read-header.ts';
import { encodeMetadata, type EncodedMetadata } from '../gguf/write.ts';
import { isKnownArchitecture } from './model-families.ts';
import type { Item } from './folder-items.ts';
import { importanceEntries, place, type SourcedPlan } from './plan.ts';
import { fileTypeOf, type QuantName } from './recipes.ts';
import type { GgufValue } from '../gguf/metadata.ts';

/** Longer metadata does not exist: vocabularies of 262,144 tokens take 15 MB. */
const METADATA_BYTES_MAX = 256 << 20;
/** llama-gguf-split's own names have five digits; a model of more parts than this has never been seen. */
const PARTS_MAX = 1_000;
/** Arrays of more items are stepped over: the vocabulary is copied as bytes. */
const ARRAY_ITEMS_MAX = 64;

export interface GgufPlanOptions {
  readonly quant: QuantName;
  readonly importance: { readonly fileName: string; readonly entryCount: number } | null;
}

/** @throws AppError `model-invalid`, `model-unsupported`, `model-not-found` */
export async function planFromGguf(path: string, { quant, importance }: GgufPlanOptions): Promise<SourcedPlan> {
  const headers = await readParts(path);
  const first = headers[0] as GgufHeader;
  const { metadata } = first;
  const architecture = textOf(metadata, 'general.architecture') ?? '(none)';
  refuseOthers(first, architecture);
  const items = headers.flatMap(itemsOf);
  checkNames(path, items);
  const headCount = requiredCount(metadata, `${architecture}.attention.head_count`, path);
  const model = {
    architecture,
    layerCount: requiredCount(metadata, `${architecture}.block_count`, path),
    headCount,
    keyValueHeadCount: numberOf(metadata, `${architecture}.attention.head_count_kv`) ?? headCount,
    hasImportance: importance !== null,
  };
  const parameterCount = headers
    .flatMap(({ tensors }) => tensors)
    .reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const encoded = await patchedMetadata(first, fileTypeOf(quant), importance);
  const plan = place(items, { quant, model, metadata: encoded, alignment: first.alignment, parameterCount });
  return { ...plan, quantisedBefore: quantisedTypes(headers) };
}

function itemsOf({ path, tensors }: GgufHeader): Item[] {
  return tensors.map(({ name, dimensions, type, rows, columns, offset }) => ({
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
  }));
}

/** `NAME-00001-of-00003.gguf` and its brothers, in order. */
async function readParts(path: string): Promise<GgufHeader[]> {
  const first = await readGgufHeader(path, undefined, ARRAY_ITEMS_MAX);
  const count = numberOf(first.metadata, 'split.count') ?? 1;
  if (count <= 1) return [first];
  const match = /^(.*)-00001-of-(\d{5})\.gguf$/.exec(path.slice(dirname(path) === '.' ? 0 : dirname(path).length + 1));
  if (match === null || Number(match[2]) !== count || count > PARTS_MAX) {
    throw new AppError(
      'model-unsupported',
      `${path} is a part of a model of ${count} files, but not named as the first of them.`,
      {
        hint: 'Give the file that ends in -00001-of-NNNNN.gguf.',
      },
    );
  }
  const headers = [first];
  for (let part = 2; part <= count; part++) {
    const name = `${match[1]}-${String(part).padStart(5, '0')}-of-${match[2]}.gguf`;
    headers.push(await readGgufHeader(join(dirname(path), name), undefined, ARRAY_ITEMS_MAX));
  }
  return headers;
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

/** The reader checks one file; parts may repeat a name. */
function checkNames(path: string, items: readonly Item[]): void {
  const seen = new Set<string>();
  for (const { name } of items) {
    if (seen.has(name)) {
      throw new AppError('model-invalid', `${path}: the tensor ${name} is in two parts of the model.`, {
        hint: 'Download the model again, all of its files.',
      });
    }
    seen.add(name);
  }
}

function quantisedTypes(headers: readonly GgufHeader[]): string[] {
  const values = new Map<string, number>();
  for (const { type, rows, columns } of headers.flatMap(({ tensors }) => tensors)) {
    if (type.blockValues > 1) values.set(type.name, (values.get(type.name) ?? 0) + rows * columns);
  }
  return [...values].sort(([, a], [, b]) => b - a).map(([name]) => name);
}

/** The entries as they lie in the file but for the few that change, which go to the end, as llama-quantize does it. */
async function patchedMetadata(
  header: GgufHeader,
  fileType: number,
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
  const cuts = REPLACED.flatMap((key) => cutOf(header, key)).sort((a, b) => a.start - b.start);
  const kept: Uint8Array[] = [];
  let at = 0;
  for (const { start, end } of cuts) {
    kept.push(bytes.subarray(at, start));
    at = end;
  }
  kept.push(bytes.subarray(at));
  const added = encodeMetadata(
    new Map<string, GgufValue>([
      ['general.quantization_version', { type: 'u32', value: 2 }],
      ['general.file_type', { type: 'u32', value: fileType }],
      ...importanceEntries(importance),
    ]),
  );
  const present = new Set([...metadata.keys(), ...arrayLengths.keys()]).size;
  return { count: present - cuts.length + added.count, bytes: Buffer.concat([...kept, added.bytes]) };
}

const REPLACED = [
  'general.quantization_version',
  'general.file_type',
  'split.no',
  'split.count',
  'split.tensors.count',
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
