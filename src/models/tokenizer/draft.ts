/** A tokenizer's key-values in the order of llama.cpp's converter, complete but for the name of the pre-tokenizer. */
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import type { GgufMetadata, GgufValue } from '../gguf/metadata.ts';
import { bpeVocabulary } from './bpe-vocabulary.ts';
import { booleanIn, isRecord, recordsIn, textIn, type JsonRecord } from './json-values.ts';
import { jsonPieces, modelPieces, type PieceVocabulary } from './piece-vocabulary.ts';
import { readSentencePieceModel, type SentencePieceModel } from './sentencepiece-model.ts';
import { specialVocabulary } from './special-vocabulary.ts';
import { TOKEN_COUNT_MAX } from './token-checks.ts';
import type { TokenizerFiles, TokenizerJsonFile } from './tokenizer-files.ts';

export interface TokenizerDraft {
  /** Byte-level BPE needs a pre-tokenizer; pieces (SentencePiece, Unigram) have none and say `default`. */
  readonly kind: 'byte-level' | 'pieces';
  readonly tokens: readonly string[];
  metadata(preTokenizer: string): GgufMetadata;
}

type Entries = [string, GgufValue][];

/** @param vocabularySize rows of the embedding; null: vocab_size of config.json */
export function draftTokenizer(files: TokenizerFiles, vocabularySize: number | null): TokenizerDraft {
  const facts = modelFacts(files, vocabularySize);
  const prefix = facts.family === 'llama' ? spacePrefixEntry(files.tokenizerConfig) : [];
  const kind = tokenizerKind(files, facts.family);
  const { model, tokens, entries } =
    kind.name === 'bpe' ? byteLevel(files, kind.tokenizer, facts) : pieces(files, kind, facts);
  return {
    kind: kind.name === 'bpe' ? 'byte-level' : 'pieces',
    tokens,
    metadata: (preTokenizer) =>
      new Map([
        ...prefix,
        ['tokenizer.ggml.model', { type: 'string', value: model }],
        ['tokenizer.ggml.pre', { type: 'string', value: preTokenizer }],
        ...entries,
        ...finalEntries(facts),
      ]),
  };
}

type ModelFamily = 'llama' | 'qwen' | 'gemma1' | 'gemma' | 'phi3' | 'other';

interface ModelFacts {
  readonly family: ModelFamily;
  readonly vocabularySize: number | null;
}

/** By model_type: the family whose habits the converter follows, and the vocab_size of transformers' defaults. */
const MODEL_TYPES: Readonly<Record<string, readonly [ModelFamily, number]>> = {
  llama: ['llama', 32_000],
  mistral: ['llama', 32_000],
  smollm3: ['llama', 128_256],
  qwen2: ['qwen', 151_936],
  qwen3: ['qwen', 151_936],
  gemma: ['gemma1', 256_000],
  gemma2: ['gemma', 256_000],
  gemma3: ['gemma', 262_208],
  gemma3_text: ['gemma', 262_208],
  phi3: ['phi3', 32_064],
};

function modelFacts({ config }: TokenizerFiles, given: number | null): ModelFacts {
  const modelType = config === null ? null : textIn(config, 'model_type');
  const known = modelType !== null && Object.hasOwn(MODEL_TYPES, modelType) ? MODEL_TYPES[modelType] : undefined;
  const inner = config !== null && isRecord(config['text_config']) ? config['text_config'] : {};
  const stored = inner['vocab_size'] ?? config?.['vocab_size'];
  const size =
    given ?? (Number.isSafeInteger(stored) && (stored as number) > 0 ? (stored as number) : (known?.[1] ?? null));
  if (size !== null && size > TOKEN_COUNT_MAX) {
    throw new AppError('model-invalid', `the model claims ${size} rows for tokens, ${TOKEN_COUNT_MAX} are allowed.`, {
      hint: 'Download config.json again: vocab_size in it is wrong.',
    });
  }
  return { family: known?.[0] ?? 'other', vocabularySize: size };
}

function spacePrefixEntry(config: JsonRecord | null): Entries {
  const value = config === null ? null : booleanIn(config, 'add_prefix_space');
  return value === null ? [] : [['tokenizer.ggml.add_space_prefix', { type: 'bool', value }]];
}

type Kind =
  | { readonly name: 'bpe'; readonly tokenizer: TokenizerJsonFile }
  | { readonly name: 'pieces'; readonly model: SentencePieceModel }
  | { readonly name: 'json-pieces'; readonly tokenizer: TokenizerJsonFile };

function tokenizerKind(files: TokenizerFiles, family: ModelFamily): Kind {
  const { tokenizerJson, sentencePiece, tokenizerConfig, folder } = files;
  // Phi-4 carries Phi-3's architecture with GPT-2's tokenizer.
  const bytesFirst = family === 'phi3' && tokenizerConfig?.['tokenizer_class'] === 'GPT2Tokenizer';
  if (sentencePiece !== null && !(bytesFirst && tokenizerJson !== null)) {
    return { name: 'pieces', model: readSentencePieceModel(sentencePiece, join(folder, 'tokenizer.model')) };
  }
  if (tokenizerJson === null)
    throw new AppError('model-not-found', `${folder} contains no tokenizer.json.`, { hint: 'Download it too.' });
  if (tokenizerJson.type === 'Unigram' || isSentencePieceStyle(tokenizerJson))
    return { name: 'json-pieces', tokenizer: tokenizerJson };
  return { name: 'bpe', tokenizer: tokenizerJson };
}

/** Tokens are text with ▁ for spaces and <0x0A> for bytes, not byte-level BPE's alphabet. */
function isSentencePieceStyle({ byteFallback, decoder, preTokenizer }: TokenizerJsonFile): boolean {
  const steps = [
    decoder,
    ...(decoder === null ? [] : recordsIn(decoder, 'decoders')),
    preTokenizer,
    ...(preTokenizer === null ? [] : recordsIn(preTokenizer, 'pretokenizers')),
  ];
  return byteFallback && !steps.some((step) => step?.['type'] === 'ByteLevel');
}

interface Body {
  readonly model: 'gpt2' | 'llama' | 't5';
  readonly tokens: readonly string[];
  readonly entries: Entries;
}

function byteLevel(files: TokenizerFiles, tokenizer: TokenizerJsonFile, { vocabularySize }: ModelFacts): Body {
  const { tokens, types, merges } = bpeVocabulary(files, { tokenizer, vocabularySize });
  const mergeEntries: Entries =
    merges.length === 0 ? [] : [['tokenizer.ggml.merges', { type: 'array', itemType: 'string', items: merges }]];
  return {
    model: 'gpt2',
    tokens,
    entries: [
      ['tokenizer.ggml.tokens', { type: 'array', itemType: 'string', items: tokens }],
      ['tokenizer.ggml.token_type', { type: 'array', itemType: 'i32', items: Int32Array.from(types) }],
      ...mergeEntries,
      ...specialVocabulary(files, null),
    ],
  };
}

function pieces(
  files: TokenizerFiles,
  kind: Exclude<Kind, { name: 'bpe' }>,
  { family, vocabularySize }: ModelFacts,
): Body {
  const unigram = kind.name === 'pieces' ? kind.model.modelType === 'unigram' : kind.tokenizer.type === 'Unigram';
  const style = unigram ? 'unigram' : family === 'phi3' ? 'phi3' : 'common';
  const vocabulary =
    kind.name === 'pieces'
      ? modelPieces(files, { model: kind.model, vocabularySize, style })
      : jsonPieces(files, { tokenizer: kind.tokenizer, vocabularySize });
  const { tokens } = vocabulary;
  // llama.cpp puts a space in front unless told not to. The converter forgets that for files without tokenizer.model.
  const noPrefix =
    family === 'gemma1' ||
    family === 'gemma' ||
    (kind.name === 'json-pieces' && !unigram && !prependsSpace(kind.tokenizer));
  const gemma1: Entries = family === 'gemma1' ? [['tokenizer.ggml.eot_token_id', { type: 'u32', value: 107 }]] : [];
  const prefix: Entries = noPrefix ? [['tokenizer.ggml.add_space_prefix', { type: 'bool', value: false }]] : [];
  return {
    model: unigram ? 't5' : 'llama',
    tokens,
    entries: [
      ...vocabularyEntries(vocabulary),
      ...(unigram ? unigramEntries(kind) : []),
      ...specialVocabulary(files, tokens.length),
      ...gemma1,
      ...prefix,
    ],
  };
}

function vocabularyEntries({ tokens, scores, types }: PieceVocabulary): Entries {
  return [
    ['tokenizer.ggml.tokens', { type: 'array', itemType: 'string', items: tokens }],
    ['tokenizer.ggml.scores', { type: 'array', itemType: 'f32', items: Float32Array.from(scores) }],
    ['tokenizer.ggml.token_type', { type: 'array', itemType: 'i32', items: Int32Array.from(types) }],
  ];
}

function unigramEntries(kind: Exclude<Kind, { name: 'bpe' }>): Entries {
  const facts = kind.name === 'pieces' ? kind.model : unigramFacts(kind.tokenizer);
  const map = facts.precompiledCharsMap;
  return [
    ['tokenizer.ggml.add_space_prefix', { type: 'bool', value: facts.addDummyPrefix }],
    ['tokenizer.ggml.remove_extra_whitespaces', { type: 'bool', value: facts.removeExtraWhitespaces }],
    ...((map.length === 0
      ? []
      : [['tokenizer.ggml.precompiled_charsmap', { type: 'array', itemType: 'u8', items: map }]]) as Entries),
  ];
}

function unigramFacts(
  tokenizer: TokenizerJsonFile,
): Pick<SentencePieceModel, 'addDummyPrefix' | 'removeExtraWhitespaces' | 'precompiledCharsMap'> {
  const { normalizer } = tokenizer;
  const steps =
    normalizer === null ? [] : normalizer['type'] === 'Sequence' ? recordsIn(normalizer, 'normalizers') : [normalizer];
  const map = steps.find(({ type }) => type === 'Precompiled');
  return {
    addDummyPrefix: prependsSpace(tokenizer),
    removeExtraWhitespaces: steps.some(
      ({ type, pattern }) => type === 'Replace' && isRecord(pattern) && textIn(pattern, 'Regex') === ' {2,}',
    ),
    precompiledCharsMap: new Uint8Array(Buffer.from((map && textIn(map, 'precompiled_charsmap')) ?? '', 'base64')),
  };
}

/** The text gets a space in front: by a normaliser, or by Metaspace in its old or its new spelling. */
function prependsSpace({ normalizer, preTokenizer }: TokenizerJsonFile): boolean {
  const within = (part: JsonRecord | null, key: string): readonly JsonRecord[] =>
    part === null ? [] : [part, ...recordsIn(part, key)];
  return (
    within(normalizer, 'normalizers').some(({ type }) => type === 'Prepend') ||
    within(preTokenizer, 'pretokenizers').some(
      (step) =>
        step['type'] === 'Metaspace' &&
        (step['prepend_scheme'] ?? (step['add_prefix_space'] === false ? 'never' : 'always')) !== 'never',
    )
  );
}

/** The converter's habits for two sizes: CodeLlama's end of turn, and no BOS for SmolLM and small Granite models. */
function finalEntries({ family, vocabularySize }: ModelFacts): Entries {
  if (family !== 'llama') return [];
  if (vocabularySize === 32_016) return [['tokenizer.ggml.eot_token_id', { type: 'u32', value: 32_010 }]];
  return vocabularySize === 49_152 ? [['tokenizer.ggml.add_bos_token', { type: 'bool', value: false }]] : [];
}
