/** From what the user names to a twin's header and tensors, before a byte is written. */
import { AppError } from '../../core/errors.ts';
import type { EncodedArray, GgufValue, WritableMetadata } from '../gguf/metadata.ts';
import type { GgufTensor } from '../gguf/read-header.ts';
import { GGUF_ALIGNMENT } from '../gguf/write.ts';
import type { HubOptions } from '../sources/hub.ts';
import { findShape, type TwinSource } from './find-shape.ts';
import { isFixed } from './gguf-shape.ts';
import { labelEntries, twinMetadata, u32, type TwinLabel } from './metadata.ts';
import { typeInPreset, type Preset } from './presets.ts';
import { normCentre, parameterCountOf, tensorsOf, type ShapeTensor } from './tensors.ts';
import { standInVocabulary, vocabularyOfFolder, vocabularyOfGguf, type TwinVocabulary } from './vocabulary.ts';
import type { TwinFile, TypedTensor } from './write-twin.ts';

export interface TwinAsk {
  /** An id of the catalogue, a config.json (or its folder), a .gguf file, or `hf:OWNER/NAME[@REVISION][:FILE]`. */
  readonly id: string;
  /** Null: the types of a .gguf file. */
  readonly preset: Preset | null;
  readonly seed: number;
  /** A .gguf file whose vocabulary the twin gets; null: what suits the model, else a stand-in. */
  readonly tokenizer: string | null;
  /** The demonstration model, whose vocabulary SmolLM2's twins get where it is in the cache. */
  readonly demonstrationModel: string | null;
  /** How the hub may be asked, for `hf:`. */
  readonly hub?: HubOptions;
}

export interface TwinPlan {
  readonly source: TwinSource;
  readonly quantisation: string;
  readonly parameterCount: number;
  /** Where the vocabulary comes from, in words. */
  readonly tokenizer: string;
  /** Why the vocabulary is a stand-in; null where it is a model's own. */
  readonly standInBecause: string | null;
  readonly file: TwinFile;
}

export async function planTwin(ask: TwinAsk): Promise<TwinPlan> {
  const source = await findShape(ask.id, ask.hub);
  const { preset, seed } = ask;
  if (preset === null && source.header === null) {
    throw new AppError('usage', 'the shape alone does not say how the weights are quantised', {
      hint: 'Add --quant, for example --quant Q4_K_M.',
    });
  }
  const vocabulary = await vocabularyFor(source, ask);
  const label = { of: source.of, seed, tokenizer: vocabulary?.label ?? "the model's own" };
  const tensors = source.header === null ? tensorsOf(source.shape) : await tensorsOfGguf(source.header.tensors, source);
  const typed = tensors.map((tensor) => ({ ...tensor, type: typeOf(tensor, source, preset) }));
  return {
    source,
    quantisation: preset?.name ?? 'types as in the file',
    parameterCount: parameterCountOf(tensors),
    tokenizer: label.tokenizer,
    standInBecause: vocabulary?.standInBecause ?? null,
    file: {
      metadata: metadataFor(source, { preset, label, vocabulary }),
      tensors: typed,
      alignment: source.header?.alignment ?? GGUF_ALIGNMENT,
      seed,
    },
  };
}

/** Null: the .gguf file's own. */
async function vocabularyFor(source: TwinSource, ask: TwinAsk): Promise<TwinVocabulary | null> {
  const { shape, header, entry, tokenizerFolder } = source;
  if (ask.tokenizer !== null) return vocabularyOfGguf(ask.tokenizer, shape.vocabularySize);
  if (header !== null) return null;
  if (entry?.tokenizer === 'smollm2' && ask.demonstrationModel !== null)
    return vocabularyOfGguf(ask.demonstrationModel, shape.vocabularySize);
  if (tokenizerFolder !== null) return vocabularyOfFolder(tokenizerFolder, shape.vocabularySize, ask.hub?.signal);
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

function metadataFor({ shape, header }: TwinSource, { preset, label, vocabulary }: MetadataParts): WritableMetadata {
  if (header === null) {
    const tokenizer = vocabulary?.entries ?? new Map<string, GgufValue>();
    return twinMetadata(shape, { label, fileType: preset?.fileType ?? 0, tokenizer });
  }
  // The file's own entries in their order; what differs is declared.
  const metadata = new Map<string, GgufValue | EncodedArray>(header.metadata);
  if (vocabulary !== null) {
    for (const key of metadata.keys()) if (key.startsWith('tokenizer.')) metadata.delete(key);
    for (const [key, value] of vocabulary.entries) metadata.set(key, value);
  }
  // A twin is one file, whatever it was made from.
  for (const key of metadata.keys()) if (key.startsWith('split.')) metadata.delete(key);
  for (const [key, value] of labelEntries(label)) metadata.set(key, value);
  if (preset !== null) metadata.set('general.file_type', u32(preset.fileType));
  return metadata;
}

/** Rotary factors and their like have tens to hundreds of values. */
const FIXED_BYTES_MAX = 1 << 20;

async function tensorsOfGguf(
  tensors: readonly GgufTensor[],
  { shape, readTensor }: TwinSource,
): Promise<ShapeTensor[]> {
  const found: ShapeTensor[] = [];
  for (const tensor of tensors) {
    const { name, dimensions } = tensor;
    if (dimensions.length > 1) {
      found.push({ name, dimensions, kind: 'matrix' });
      continue;
    }
    if (tensor.type.name !== 'F32' || (isFixed(name) && tensor.byteLength > FIXED_BYTES_MAX)) {
      throw new AppError(
        'model-unsupported',
        `no twin can be made of ${name}: a vector of ${tensor.columns} in ${tensor.type.name}`,
        {
          hint: 'Make the twin from the model’s config.json instead.',
        },
      );
    }
    if (isFixed(name)) found.push({ name, dimensions, kind: 'fixed', values: toFloats(await readTensor(tensor)) });
    else if (name.endsWith('.bias')) found.push({ name, dimensions, kind: 'bias' });
    else found.push({ name, dimensions, kind: 'norm', centre: normCentre(name, shape) });
  }
  return found;
}

/** A copy: a view needs an aligned start. */
function toFloats(bytes: Uint8Array): Float32Array {
  const copy = new Uint8Array(bytes);
  return new Float32Array(copy.buffer, 0, copy.byteLength / 4);
}

/** What was made, in one clause: for the record. */
export function describeTwin({ source, quantisation, tokenizer, file }: TwinPlan): string {
  return `made by runoff: random weights (seed ${file.seed}) in the shape of ${source.of}, ${quantisation}; vocabulary: ${tokenizer}`;
}
