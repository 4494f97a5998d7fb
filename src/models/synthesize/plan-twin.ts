/** From what the user names to a twin's header and tensors, before a byte is written. */
import { open, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, readFully } from '../file-io.ts';
import type { GgufMetadata, GgufValue } from '../gguf/metadata.ts';
import { textOf } from '../gguf/metadata.ts';
import { readGgufModel } from '../gguf/parts.ts';
import type { GgufHeader, GgufTensor } from '../gguf/read-header.ts';
import { GGUF_ALIGNMENT } from '../gguf/write.ts';
import { CATALOGUE, type CatalogueEntry } from './catalogue.ts';
import { shapeOfConfigFile } from './config-json.ts';
import { isFixed, shapeOfGguf } from './gguf-shape.ts';
import { labelEntries, twinMetadata, u32, type TwinLabel } from './metadata.ts';
import { typeInPreset, type Preset } from './presets.ts';
import type { ModelShape } from './shape.ts';
import { parameterCountOf, tensorsOf, type ShapeTensor } from './tensors.ts';
import { standInVocabulary, vocabularyOfGguf, type TwinVocabulary } from './vocabulary.ts';
import type { TwinFile, TypedTensor } from './write-twin.ts';

export interface TwinAsk {
  /** An id of the catalogue, a config.json (or its folder), or a .gguf file. */
  readonly id: string;
  /** Null: the types of a .gguf file. */
  readonly preset: Preset | null;
  readonly seed: number;
  /** A .gguf file whose vocabulary the twin gets; null: what suits the model, else a stand-in. */
  readonly tokenizer: string | null;
  /** The demonstration model, whose vocabulary SmolLM2's twins get where it is in the cache. */
  readonly demonstrationModel: string | null;
}

export interface TwinSource {
  /** For file names. */
  readonly slug: string;
  /** Whose shape it is, in words. */
  readonly of: string;
  /** Where the numbers come from, in words. */
  readonly source: string;
  readonly shape: ModelShape;
  /** Set where the shape comes from a .gguf file. */
  readonly header: GgufHeader | null;
  readonly entry: CatalogueEntry | null;
}

export interface TwinPlan {
  readonly source: TwinSource;
  readonly quantisation: string;
  readonly parameterCount: number;
  /** Where the vocabulary comes from, in words. */
  readonly tokenizer: string;
  readonly file: TwinFile;
}

/** Rejects with `model-not-found` (with the ids there are), `model-invalid` or `model-unsupported`. */
export async function findShape(id: string): Promise<TwinSource> {
  const entry = CATALOGUE.find((candidate) => candidate.id === id.toLowerCase());
  if (entry !== undefined) {
    const { model, source, shape } = entry;
    return { slug: entry.id, of: model, source, shape, header: null, entry };
  }
  const path = resolve(id);
  const info = await stat(path).catch(() => null);
  if (info === null) {
    throw new AppError('model-not-found', `there is no model "${id}" to make a twin of`, {
      hint: `Known: ${CATALOGUE.map((known) => known.id).join(', ')}; or the path of a config.json or a .gguf file.`,
    });
  }
  if (info.isDirectory() || path.endsWith('.json'))
    return fromConfig(info.isDirectory() ? join(path, 'config.json') : path);
  return fromGguf(path);
}

async function fromConfig(path: string): Promise<TwinSource> {
  const shape = await shapeOfConfigFile(path);
  const folder = basename(dirname(path));
  return { slug: slugOf(folder), of: folder, source: path, shape, header: null, entry: null };
}

async function fromGguf(path: string): Promise<TwinSource> {
  const header = await readGgufModel(path);
  const of = textOf(header.metadata, 'general.name') ?? basename(path);
  const slug = slugOf(basename(path).replace(/\.gguf$/i, ''));
  return { slug, of, source: path, shape: shapeOfGguf(header), header, entry: null };
}

function slugOf(name: string): string {
  const slug = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, '-')
    .slice(0, 100);
  return slug === '' ? 'model' : slug;
}

export async function planTwin(ask: TwinAsk): Promise<TwinPlan> {
  const source = await findShape(ask.id);
  const { preset, seed } = ask;
  if (preset === null && source.header === null) {
    throw new AppError('usage', 'the shape alone does not say how the weights are quantised', {
      hint: 'Add --quant, for example --quant Q4_K_M.',
    });
  }
  const vocabulary = await vocabularyFor(source, ask);
  const label = { of: source.of, seed, tokenizer: vocabulary?.label ?? "the model's own" };
  const tensors = source.header === null ? tensorsOf(source.shape) : await tensorsOfGguf(source.header);
  const typed = tensors.map((tensor) => ({ ...tensor, type: typeOf(tensor, source, preset) }));
  return {
    source,
    quantisation: preset?.name ?? 'types as in the file',
    parameterCount: parameterCountOf(tensors),
    tokenizer: label.tokenizer,
    file: {
      metadata: metadataFor(source, { preset, label, vocabulary }),
      tensors: typed,
      alignment: source.header?.alignment ?? GGUF_ALIGNMENT,
      seed,
    },
  };
}

/** Null: the .gguf file's own. */
async function vocabularyFor({ shape, header, entry }: TwinSource, ask: TwinAsk): Promise<TwinVocabulary | null> {
  if (ask.tokenizer !== null) return vocabularyOfGguf(ask.tokenizer, shape.vocabularySize);
  if (header !== null) return null;
  if (entry?.tokenizer === 'smollm2' && ask.demonstrationModel !== null)
    return vocabularyOfGguf(ask.demonstrationModel, shape.vocabularySize);
  return standInVocabulary(shape.vocabularySize);
}

function typeOf(tensor: ShapeTensor, { shape, header }: TwinSource, preset: Preset | null): TypedTensor['type'] {
  if (preset !== null) {
    const { layerCount, headCount, keyValueHeadCount, tiedEmbeddings } = shape;
    const model = { layerCount, groupedHeads: headCount / keyValueHeadCount, tiedEmbeddings };
    return typeInPreset(tensor, { preset, model });
  }
  const own = header?.tensors.find(({ name }) => name === tensor.name);
  // The plan was made from these tensors.
  return (own as GgufTensor).type;
}

interface MetadataParts {
  readonly preset: Preset | null;
  readonly label: TwinLabel;
  readonly vocabulary: TwinVocabulary | null;
}

function metadataFor({ shape, header }: TwinSource, { preset, label, vocabulary }: MetadataParts): GgufMetadata {
  if (header === null) {
    const tokenizer = vocabulary?.entries ?? new Map<string, GgufValue>();
    return twinMetadata(shape, { label, fileType: preset?.fileType ?? 0, tokenizer });
  }
  // The file's own entries in their order; what differs is declared.
  const metadata = new Map(header.metadata);
  if (vocabulary !== null) {
    for (const key of metadata.keys()) if (key.startsWith('tokenizer.')) metadata.delete(key);
    for (const [key, value] of vocabulary.entries) metadata.set(key, value);
  }
  for (const [key, value] of labelEntries(label)) metadata.set(key, value);
  if (preset !== null) metadata.set('general.file_type', u32(preset.fileType));
  return metadata;
}

async function tensorsOfGguf(header: GgufHeader): Promise<ShapeTensor[]> {
  const handle = await open(header.path, 'r');
  try {
    return header.tensors.map((tensor) => {
      const { name, dimensions } = tensor;
      if (dimensions.length > 1) return { name, dimensions, kind: 'matrix' as const };
      if (tensor.type.name !== 'F32') {
        throw new AppError('model-unsupported', `no twin can be made of ${name}: a vector in ${tensor.type.name}`, {
          hint: 'Make the twin from the model’s config.json instead.',
        });
      }
      if (!isFixed(name))
        return { name, dimensions, kind: name.endsWith('.bias') ? ('bias' as const) : ('norm' as const) };
      const bytes = alignedBuffer(tensor.byteLength);
      readFully(handle, bytes, { position: tensor.offset, length: tensor.byteLength });
      return { name, dimensions, kind: 'fixed' as const, values: new Float32Array(bytes.buffer, 0, tensor.columns) };
    });
  } finally {
    await handle.close();
  }
}

/** What was made, in one clause: for the record. */
export function describeTwin({ source, quantisation, tokenizer, file }: TwinPlan): string {
  return `made by runoff: random weights (seed ${file.seed}) in the shape of ${source.of}, ${quantisation}; vocabulary: ${tokenizer}`;
}
