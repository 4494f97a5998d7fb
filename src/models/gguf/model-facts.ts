/** What a report and an engine need to know about a GGUF model, from its header alone. */
import { basename, resolve } from 'node:path';
import type { ModelTraffic } from '../../core/roofline-schema.ts';
import { countOf } from './cache-values.ts';
import { textOf } from './metadata.ts';
import { readGgufModel } from './parts.ts';
import type { GgufHeader } from './read-header.ts';
import { trafficOf } from './traffic.ts';
import { TWIN_OF_KEY } from './twin-of-key.ts';
import { readVocabulary } from './vocabulary.ts';

export interface GgufModelFacts {
  readonly path: string;
  readonly fileBytes: number;
  /** general.name, else the file name. */
  readonly name: string;
  readonly architecture: string;
  readonly parameterCount: number;
  /** Bits of tensor data per parameter. */
  readonly bitsPerWeight: number;
  /** Type that holds most parameters among the transformer's matrices, e.g. `Q4_1`. */
  readonly quantisation: string;
  /** 0 when the header does not tell. */
  readonly contextTokens: number;
  readonly vocabularySize: number;
  readonly addBos: boolean;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  /** Every end-of-generation token as llama.cpp determines them, ascending. */
  readonly endTokenIds: readonly number[];
  readonly chatTemplate: string | null;
  /** Set when runoff made the file with random weights: whose shape it has. */
  readonly twinOf: string | null;
  readonly traffic: ModelTraffic;
}

export async function modelFacts(path: string): Promise<GgufModelFacts> {
  return factsOf(await readGgufModel(path));
}

export function factsOf(header: GgufHeader): GgufModelFacts {
  const { metadata, tensors } = header;
  const architecture = textOf(metadata, 'general.architecture') ?? 'unknown';
  const vocabulary = readVocabulary(metadata);
  const parameterCount = tensors.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const dataBytes = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return {
    path: resolve(header.path),
    fileBytes: header.fileBytes,
    name: textOf(metadata, 'general.name') ?? basename(header.path, '.gguf'),
    architecture,
    parameterCount,
    bitsPerWeight: parameterCount === 0 ? 0 : (dataBytes * 8) / parameterCount,
    quantisation: dominantType(header),
    contextTokens: countOf(metadata, `${architecture}.context_length`) ?? 0,
    vocabularySize: vocabulary?.tokens.length ?? 0,
    addBos: vocabulary?.addBos ?? false,
    bosTokenId: vocabulary?.bosTokenId ?? null,
    eosTokenId: vocabulary?.eosTokenId ?? null,
    endTokenIds: vocabulary?.endTokenIds ?? [],
    chatTemplate: textOf(metadata, 'tokenizer.chat_template'),
    twinOf: textOf(metadata, TWIN_OF_KEY),
    traffic: trafficOf(header),
  };
}

/** Embeddings are left out where there is anything else: they are kept in a finer type and can outweigh a small model. */
function dominantType({ tensors }: GgufHeader): string {
  const matrices = tensors.filter(({ rows }) => rows > 1);
  const blocks = matrices.filter(({ name }) => name.startsWith('blk.'));
  const values = new Map<string, number>();
  for (const { type, rows, columns } of blocks.length > 0 ? blocks : matrices) {
    values.set(type.name, (values.get(type.name) ?? 0) + rows * columns);
  }
  const [first] = [...values].sort(([, a], [, b]) => b - a);
  return first?.[0] ?? 'unknown';
}
