/** What a person wants to know about a GGUF before shipping it, from its header alone. */
import { cacheValuesPerToken, countOf, LAYER_COUNT_MAX } from './cache-values.ts';
import { textOf, type GgufMetadata } from './metadata.ts';
import { factsOf, type GgufModelFacts } from './model-facts.ts';
import { readGgufModel } from './parts.ts';
import { readGgufHeader, type GgufHeader } from './read-header.ts';
import type { FilePart } from './byte-cursor.ts';

type Facts = Omit<GgufModelFacts, 'addBos' | 'bosTokenId' | 'eosTokenId' | 'endTokenIds' | 'traffic'>;

export interface GgufSummary extends Facts {
  /** Bytes of all tensors: what has to be in memory. */
  readonly weightBytes: number;
  /** Largest first. */
  readonly tensorTypes: readonly TensorTypeShare[];
  readonly layerCount: number | null;
  /** `gpt2`, `llama` ...; null without a vocabulary. */
  readonly tokenizer: string | null;
  readonly preTokenizer: string | null;
  /** general.license, as the file says; null when it does not. */
  readonly license: string | null;
  /** No output matrix of its own: the embeddings serve for both. */
  readonly tiedEmbeddings: boolean;
  /** Of the f16 key-value cache, an upper bound with a sliding window; null where the architecture keeps another kind of state. */
  readonly cacheBytesPerToken: number | null;
}

export interface TensorTypeShare {
  readonly type: string;
  readonly tensorCount: number;
  readonly byteLength: number;
}

const F16_BYTES = 2;
/** Per-layer numbers fit, vocabularies do not. */
const ARRAY_ITEMS_MAX = 1_024;

/** In little memory: only the length of the vocabulary is kept. Rejects as `readGgufModel` does. */
export async function summarizeGguf(path: string, part?: FilePart): Promise<GgufSummary> {
  const header =
    part === undefined ? await readGgufModel(path, ARRAY_ITEMS_MAX) : await readGgufHeader(path, part, ARRAY_ITEMS_MAX);
  return summaryOf(header);
}

function summaryOf(header: GgufHeader): GgufSummary {
  const { metadata, tensors, arrayLengths } = header;
  const {
    addBos: _,
    bosTokenId: _bos,
    eosTokenId: _eos,
    endTokenIds: _ends,
    traffic: _traffic,
    ...facts
  } = factsOf(header);
  const layerCount = countOf(metadata, `${facts.architecture}.block_count`);
  return {
    ...facts,
    vocabularySize: arrayLengths.get('tokenizer.ggml.tokens') ?? 0,
    weightBytes: tensors.reduce((sum, { byteLength }) => sum + byteLength, 0),
    tensorTypes: tensorTypesOf(header),
    layerCount: layerCount !== null && layerCount <= LAYER_COUNT_MAX ? layerCount : null,
    tokenizer: textOf(metadata, 'tokenizer.ggml.model'),
    preTokenizer: textOf(metadata, 'tokenizer.ggml.pre'),
    license: textOf(metadata, 'general.license'),
    tiedEmbeddings:
      tensors.some(({ name }) => name === 'token_embd.weight') && !tensors.some(({ name }) => name === 'output.weight'),
    cacheBytesPerToken: cacheBytes(metadata, facts.architecture),
  };
}

/** Pure: bytes of weights and f16 key-value cache; the engine's own buffers come on top. */
export function memoryBytes(summary: GgufSummary, contextTokens: number): { weights: number; cache: number | null } {
  const { weightBytes, cacheBytesPerToken: perToken } = summary;
  return { weights: weightBytes, cache: perToken === null ? null : perToken * contextTokens };
}

function tensorTypesOf({ tensors }: GgufHeader): TensorTypeShare[] {
  const shares = new Map<string, TensorTypeShare>();
  for (const { type, byteLength } of tensors) {
    const { tensorCount, byteLength: before } = shares.get(type.name) ?? { tensorCount: 0, byteLength: 0 };
    shares.set(type.name, { type: type.name, tensorCount: tensorCount + 1, byteLength: before + byteLength });
  }
  return [...shares.values()].sort((a, b) => b.byteLength - a.byteLength);
}

function cacheBytes(metadata: GgufMetadata, architecture: string): number | null {
  const values = cacheValuesPerToken(metadata, architecture);
  return values === null ? null : values * F16_BYTES;
}
