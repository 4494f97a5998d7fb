/** Hugging Face's tokenizer files as the `tokenizer.*` key-values of a GGUF, in the order of llama.cpp's converter. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import type { GgufMetadata, GgufValue } from '../gguf/metadata.ts';
import { bpeVocabulary } from './bpe-vocabulary.ts';
import { derivedCandidates, familyOf, splitRules } from './derive-pre-tokenizer.ts';
import { booleanIn, isRecord, recordsIn, textIn, type JsonRecord } from './json-values.ts';
import { jsonPieces, modelPieces, type PieceVocabulary } from './piece-vocabulary.ts';
import { FINGERPRINT_TEXT, NAME_BY_FINGERPRINT } from './reference-fingerprints.ts';
import { readSentencePieceModel, type SentencePieceModel } from './sentencepiece-model.ts';
import { specialVocabulary, tokenText } from './special-vocabulary.ts';
import { readTokenizerFiles, type TokenizerFiles, type TokenizerJsonFile } from './tokenizer-files.ts';

export interface TokenizerOptions {
  /** A name of llama.cpp's, decided by the user; null: derived from the file's rules. */
  readonly preTokenizer: string | null;
  /** Rows of the embedding; null: vocab_size of config.json. */
  readonly vocabularySize: number | null;
}

export interface TokenizerMetadata {
  readonly metadata: GgufMetadata;
  readonly preTokenizer: string;
  /** `given` by the user, `derived` from the file's rules, `fixed`: SentencePiece needs none. */
  readonly origin: 'given' | 'derived' | 'fixed';
  readonly tokenCount: number;
}

type Entries = [string, GgufValue][];

/** @throws AppError: those of `readTokenizerFiles`, and `model-unsupported` where no pre-tokenizer fits */
export async function tokenizerMetadata(folder: string, options: TokenizerOptions): Promise<TokenizerMetadata> {
  const files = await readTokenizerFiles(folder);
  const facts = modelFacts(files, options.vocabularySize);
  const prefix = facts.family === 'llama' ? spacePrefixEntry(files.tokenizerConfig) : [];
  const kind = tokenizerKind(files, facts.family);
  if (kind.name === 'bpe')
    return byteLevel(files, { tokenizer: kind.tokenizer, facts, prefix, given: options.preTokenizer });
  const { entries, tokenCount } = pieces(files, kind, facts);
  const metadata = new Map([...prefix, ...entries, ...finalEntries(facts)]);
  return { metadata, preTokenizer: 'default', origin: 'fixed', tokenCount };
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

async function byteLevel(
  files: TokenizerFiles,
  {
    tokenizer,
    facts,
    prefix,
    given,
  }: { tokenizer: TokenizerJsonFile; facts: ModelFacts; prefix: Entries; given: string | null },
): Promise<TokenizerMetadata> {
  const preTokenizer = given === null ? await derivedName(files, tokenizer) : checkedName(given);
  const { tokens, types, merges } = bpeVocabulary(files, { tokenizer, vocabularySize: facts.vocabularySize });
  const metadata = new Map<string, GgufValue>([
    ...prefix,
    ['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
    ['tokenizer.ggml.pre', { type: 'string', value: preTokenizer }],
    ['tokenizer.ggml.tokens', { type: 'array', itemType: 'string', items: tokens }],
    ['tokenizer.ggml.token_type', { type: 'array', itemType: 'i32', items: Int32Array.from(types) }],
    ...((merges.length === 0
      ? []
      : [['tokenizer.ggml.merges', { type: 'array', itemType: 'string', items: merges }]]) as Entries),
    ...specialVocabulary(files, null),
    ...finalEntries(facts),
  ]);
  return { metadata, preTokenizer, origin: given === null ? 'derived' : 'given', tokenCount: tokens.length };
}

function checkedName(name: string): string {
  if (familyOf(name) !== null) return name;
  throw new AppError('usage', `${name} is not a pre-tokenizer that llama.cpp knows.`, {
    hint: 'Names are those of tokenizer.ggml.pre, e.g. llama-bpe, qwen2, gpt-2, smollm, deepseek-v3, gpt-4o.',
  });
}

async function derivedName(files: TokenizerFiles, tokenizer: TokenizerJsonFile): Promise<string> {
  const best = derivedCandidates(tokenizer, await fingerprintName(files, tokenizer))[0];
  if (best !== undefined) return best.name;
  const { patterns, foreign } = splitRules(tokenizer.preTokenizer);
  throw new AppError(
    'model-unsupported',
    `${files.folder}: none of llama.cpp's pre-tokenizers has this file's rules: ${[...foreign, ...patterns].join('  ') || '(none)'}.`,
    {
      hint: 'Decide with --pre-tokenizer NAME.',
      context: { patterns, foreign },
    },
  );
}

/** The converter's own name for a tokenizer that it knows; null for all others. */
export async function fingerprintName(
  { tokenizerConfig }: TokenizerFiles,
  tokenizer: TokenizerJsonFile,
): Promise<string | null> {
  const { Tokenizer } = await import('@huggingface/tokenizers');
  const library = new Tokenizer(tokenizer.raw as object, tokenizerConfig ?? {});
  const own = library.encode(FINGERPRINT_TEXT).ids;
  const ids =
    classTemplate(tokenizerConfig, tokenizer)?.(library.encode(FINGERPRINT_TEXT, { add_special_tokens: false }).ids) ??
    own;
  return (
    NAME_BY_FINGERPRINT.get(
      createHash('sha256')
        .update(`[${ids.join(', ')}]`)
        .digest('hex'),
    ) ?? null
  );
}

/** transformers' Llama and Gemma classes put their own template in place of the file's. */
function classTemplate(config: JsonRecord | null, tokenizer: TokenizerJsonFile): ((ids: number[]) => number[]) | null {
  if (config === null || !/^(Llama|Gemma|CodeLlama)Tokenizer(Fast)?$/.test(String(config['tokenizer_class'])))
    return null;
  const idOf = (key: string): number[] => {
    const text = tokenText(config[key]);
    const id = tokenizer.addedTokens.find(({ content }) => content === text)?.id;
    return id === undefined ? [] : [id];
  };
  const first = booleanIn(config, 'add_bos_token') === false ? [] : idOf('bos_token');
  const last = booleanIn(config, 'add_eos_token') === true ? idOf('eos_token') : [];
  return (ids) => [...first, ...ids, ...last];
}

function pieces(
  files: TokenizerFiles,
  kind: Exclude<Kind, { name: 'bpe' }>,
  { family, vocabularySize }: ModelFacts,
): { entries: Entries; tokenCount: number } {
  const unigram = kind.name === 'pieces' ? kind.model.modelType === 'unigram' : kind.tokenizer.type === 'Unigram';
  const style = unigram ? 'unigram' : family === 'phi3' ? 'phi3' : 'common';
  const vocabulary =
    kind.name === 'pieces'
      ? modelPieces(files, { model: kind.model, vocabularySize, style })
      : jsonPieces(files, { tokenizer: kind.tokenizer, vocabularySize });
  const tokenCount = vocabulary.tokens.length;
  const entries: Entries = [
    ['tokenizer.ggml.model', { type: 'string', value: unigram ? 't5' : 'llama' }],
    ['tokenizer.ggml.pre', { type: 'string', value: 'default' }],
    ...vocabularyEntries(vocabulary),
    ...(unigram ? unigramEntries(kind) : []),
    ...specialVocabulary(files, tokenCount),
    ...(family === 'gemma1' ? ([['tokenizer.ggml.eot_token_id', { type: 'u32', value: 107 }]] as Entries) : []),
    ...(family === 'gemma1' ||
    family === 'gemma' ||
    (kind.name === 'json-pieces' && !unigram && !prependsSpace(kind.tokenizer))
      ? ([['tokenizer.ggml.add_space_prefix', { type: 'bool', value: false }]] as Entries)
      : []),
  ];
  return { entries, tokenCount };
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
