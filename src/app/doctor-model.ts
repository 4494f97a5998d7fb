/** What the doctor looks at in a model: its header, nothing of its weights. */
import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { FileHazard, ModelLook, ReadableModel, TokenizerLook } from '../core/doctor/facts.ts';
import type { ModelShape } from '../core/doctor/memory-need.ts';
import { AppError } from '../core/errors.ts';
import { numberOf, numbersOf } from '../models/gguf/metadata.ts';
import type { GgufMetadata } from '../models/gguf/metadata.ts';
import { factsOf } from '../models/gguf/model-facts.ts';
import { readGgufHeader } from '../models/gguf/read-header.ts';
import type { GgufHeader } from '../models/gguf/read-header.ts';
import { readVocabulary } from '../models/gguf/vocabulary.ts';
import { llamafileHazards } from '../models/llamafile/hazards.ts';
import type { Hazard, HazardId } from '../models/llamafile/hazards.ts';
import { embeddedGguf, readLlamafile } from '../models/llamafile/read-llamafile.ts';
import { isRemoteSpec } from '../models/sources/resolve-model.ts';
import { preTokenizer } from '../models/tokenizer/pre-tokenizers.ts';
import { cacheFolder } from '../platform/folders.ts';
import { fileSystemOf } from '../platform/doctor/places.ts';
import { demonstrationModel } from './demonstration-model.ts';
import { bytesOfParts } from './doctor-parts.ts';
import { DEFAULT_MODEL } from './plan.ts';

/** Text models have at most some hundred layers. */
const LAYERS_MAX = 10_000;

/**
 * The file that a look at `spec` means; null: nothing was named and the demonstration model is not in the cache.
 * @throws AppError `model-not-found`, or `usage` for a model that is no file
 */
export function modelPath(spec: string | null): string | null {
  if (spec === null || spec === DEFAULT_MODEL) {
    const path = demonstrationModel(cacheFolder());
    return existsSync(path) ? path : null;
  }
  if (isRemoteSpec(spec)) {
    throw new AppError('usage', `${spec} is not a file yet`, {
      hint: `runoff models pull ${spec} fetches it and prints its path; the doctor looks at a .gguf or .llamafile, and at hf:OWNER/NAME:FILE.`,
    });
  }
  if (statSync(spec, { throwIfNoEntry: false })?.isFile() === true) return resolve(spec);
  throw new AppError('model-not-found', `There is no model at ${spec}.`, {
    hint: 'Name a .gguf or .llamafile file, or hf:OWNER/NAME:FILE.',
  });
}

export function isLlamafilePath(path: string): boolean {
  return /\.llamafile(\.exe)?$/i.test(path);
}

/** A model that cannot be read is a finding, not an error of the doctor. */
export async function lookAtModel(path: string, mounts: Parameters<typeof fileSystemOf>[1]): Promise<ModelLook> {
  try {
    const { header, fileBytes, hazards } = await readHeader(path);
    const fileSystem = await fileSystemOf(path, mounts);
    return lookOfHeader(header, { path, fileBytes, hazards, fileSystem, isOnHub: false });
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return unreadable(path, error);
  }
}

async function readHeader(
  path: string,
): Promise<{ header: GgufHeader; fileBytes: number; hazards: FileHazard[] | null }> {
  if (!isLlamafilePath(path)) {
    const header = await readGgufHeader(path);
    return { header, fileBytes: header.fileBytes, hazards: null };
  }
  const facts = await readLlamafile(path);
  const { entry } = embeddedGguf(facts);
  const header = await readGgufHeader(path, {
    start: entry.dataOffset,
    byteLength: entry.byteLength,
    name: entry.name,
  });
  return { header, fileBytes: facts.fileBytes, hazards: ownHazards(llamafileHazards(facts), process.platform) };
}

/** Told by checks of this machine, with what this machine says. */
const CHECKED_HERE: readonly HazardId[] = ['windows-4-gib', 'loader', 'macos-compiler', 'gatekeeper'];
const FATAL: readonly HazardId[] = [
  'no-model',
  'several-models',
  'model-compressed',
  'architecture-unknown',
  'tied-embeddings',
];
const OS_NAMES: Readonly<Record<string, Hazard['os']>> = { linux: 'linux', darwin: 'macos', win32: 'windows' };

/** Pure: those that hold on every system or on this one. */
export function ownHazards(hazards: readonly Hazard[], platform: string): FileHazard[] {
  return hazards
    .filter(({ id, os }) => !CHECKED_HERE.includes(id) && (os === 'all' || os === OS_NAMES[platform]))
    .map(({ id, what, remedy }) => ({ what, remedy, fatal: FATAL.includes(id) }));
}

export function unreadable(path: string, error: AppError): Extract<ModelLook, { state: 'unreadable' }> {
  const { fileBytes, neededBytes } = error.context;
  const cut = typeof fileBytes === 'number' && typeof neededBytes === 'number';
  return {
    state: 'unreadable',
    path,
    fileBytes: cut ? fileBytes : null,
    missingBytes: cut ? neededBytes - fileBytes : null,
    message: error.message,
    hint: error.hint ?? null,
  };
}

/** Pure, but for the sizes of a model's other parts. @throws AppError `model-invalid` for parts that are missing */
export function lookOfHeader(
  header: GgufHeader,
  file: Pick<ReadableModel, 'path' | 'fileBytes' | 'hazards' | 'fileSystem' | 'isOnHub'>,
): ReadableModel {
  const { quantisation, contextTokens } = factsOf(header);
  const parts = numberOf(header.metadata, 'split.count') ?? 1;
  const shape = shapeOf(header);
  // On the hub the headers of all parts were read.
  const weightBytes = parts > 1 && !file.isOnHub ? bytesOfParts(file.path, parts) : shape.weightBytes;
  return {
    state: 'readable',
    ...file,
    quantisation,
    contextTokens,
    shape: { ...shape, weightBytes },
    tokenizer: lookAtTokenizer(header.metadata),
  };
}

function lookAtTokenizer(metadata: GgufMetadata): TokenizerLook {
  const vocabulary = readVocabulary(metadata);
  if (vocabulary === null) return { kind: null, preTokenizer: null, isKnownHere: false };
  return {
    kind: vocabulary.model,
    preTokenizer: vocabulary.pre,
    isKnownHere: preTokenizer(vocabulary.pre).warning === undefined,
  };
}

/** Pure: the sizes that memory depends on. Key names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (2026-11-25). */
export function shapeOf(header: Pick<GgufHeader, 'metadata' | 'tensors'>): ModelShape {
  const { metadata, tensors } = header;
  const { architecture, vocabularySize } = factsOf({ ...header, path: '', fileBytes: 0 } as GgufHeader);
  const number = (key: string): number | null => numberOf(metadata, `${architecture}.${key}`);
  const layers = Math.min(LAYERS_MAX, number('block_count') ?? 0);
  const embedding = number('embedding_length') ?? 0;
  const heads = perLayer(metadata, `${architecture}.attention.head_count`, layers);
  const kvHeads = perLayer(metadata, `${architecture}.attention.head_count_kv`, layers) ?? heads;
  const headLength = embedding / Math.max(1, ...(heads ?? []));
  return {
    architecture,
    weightBytes: tensors.reduce((sum, { byteLength }) => sum + byteLength, 0),
    layers,
    embedding,
    feedForward: Math.max(0, ...(perLayer(metadata, `${architecture}.feed_forward_length`, layers) ?? [])),
    vocabulary: vocabularySize,
    kvHeads,
    keyLength: number('attention.key_length') ?? headLength,
    valueLength: number('attention.value_length') ?? headLength,
    kvIsUpperBound: KEEPS_LESS.some((key) => metadata.has(`${architecture}.${key}`)),
  };
}

/** Windows, compressed keys and values, layers without attention. */
const KEEPS_LESS = [
  'attention.sliding_window',
  'attention.kv_lora_rank',
  'full_attention_interval',
  'ssm.state_size',
  'shortconv.l_cache',
];

/** One number for all layers, or one for each. */
function perLayer(metadata: GgufMetadata, key: string, layers: number): number[] | null {
  const values = numbersOf(metadata, key);
  if (values !== null) return Array.from(values).slice(0, LAYERS_MAX);
  const value = numberOf(metadata, key);
  return value === null || layers === 0 ? null : Array.from({ length: layers }, () => value);
}
