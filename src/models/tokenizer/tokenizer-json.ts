/** Rebuilds Hugging Face's tokenizer files from a GGUF header. */
import { AppError } from '../../core/errors.ts';
import { TOKEN_TYPE, type Vocabulary } from '../gguf/vocabulary.ts';
import { preTokenizer, type PreTokenizer } from './pre-tokenizers.ts';
import { sentencePieceMerges } from './sentencepiece-merges.ts';

/** The parts of tokenizer.json that are written here. */
export interface TokenizerJson {
  readonly version: '1.0';
  readonly truncation: null;
  readonly padding: null;
  readonly added_tokens: readonly AddedToken[];
  readonly normalizer: unknown;
  readonly pre_tokenizer: unknown;
  readonly post_processor: unknown;
  readonly decoder: unknown;
  readonly model: Readonly<Record<string, unknown>>;
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: false;
  readonly lstrip: false;
  readonly rstrip: false;
  readonly normalized: false;
  readonly special: boolean;
}

export interface RebuiltTokenizer {
  readonly tokenizerJson: TokenizerJson;
  readonly warning: string | null;
}

/** Rejects with `model-unsupported` for tokenizer models other than byte-level BPE and SentencePiece's two. */
export function rebuildTokenizer(vocabulary: Vocabulary): RebuiltTokenizer {
  if (vocabulary.model === 'gpt2') return byteLevelBpe(vocabulary);
  if (vocabulary.model === 'llama') return sentencePiece(vocabulary);
  if (vocabulary.model === 't5') return unigram(vocabulary);
  throw new AppError(
    'model-unsupported',
    `The tokenizer model ${vocabulary.model} cannot be rebuilt; gpt2, llama and t5 can.`,
    {
      hint: 'Use a model with one of these tokenizers.',
    },
  );
}

function byteLevelBpe(vocabulary: Vocabulary): RebuiltTokenizer {
  const pre = preTokenizer(vocabulary.pre);
  const tokenizerJson: TokenizerJson = {
    ...shell(vocabulary),
    normalizer: pre.normalizesToNfc ? { type: 'NFC' } : null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [...splits(pre), { ...byteLevel, use_regex: false }] },
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre.ignoreMerges,
      vocab: vocabularyMap(vocabulary),
      // A pair is split at the first space after the first character: a token may itself be a space-like character.
      merges: vocabulary.merges.map((merge) => [
        merge.slice(0, merge.indexOf(' ', 1)),
        merge.slice(merge.indexOf(' ', 1) + 1),
      ]),
    },
  };
  return { tokenizerJson, warning: pre.warning ?? null };
}

const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true } as const;

function splits({ patterns }: PreTokenizer): unknown[] {
  return patterns.map((pattern) => ({
    type: 'Split',
    pattern: { Regex: pattern },
    behavior: 'Isolated',
    invert: false,
  }));
}

const NO_SCORES = "The file has no token scores: token ids of text may differ from the model's own.";

/** Llama 2's own layout: spaces become a visible mark, the text gets one in front, and decoding takes it off again. */
function sentencePiece(vocabulary: Vocabulary): RebuiltTokenizer {
  const mark = '▁';
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: mark };
  const prepend = vocabulary.addSpacePrefix ? [{ type: 'Prepend', prepend: mark }] : [];
  const strip = vocabulary.addSpacePrefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : [];
  const tokenizerJson: TokenizerJson = {
    ...shell(vocabulary),
    normalizer: { type: 'Sequence', normalizers: [...prepend, replace] },
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: mark }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...strip,
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: vocabulary.unknownTokenId === null ? null : (vocabulary.tokens[vocabulary.unknownTokenId] ?? null),
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: vocabularyMap(vocabulary),
      merges: sentencePieceMerges(vocabulary),
    },
  };
  return {
    tokenizerJson,
    warning: vocabulary.scores === null ? NO_SCORES : null,
  };
}

/** SentencePiece's Unigram, with the steps that transformers gives it. */
function unigram(vocabulary: Vocabulary): RebuiltTokenizer {
  const { tokens, scores, types, charactersMap, removesExtraSpaces } = vocabulary;
  const metaspace = {
    type: 'Metaspace',
    replacement: '▁',
    prepend_scheme: vocabulary.addSpacePrefix ? 'always' : 'never',
    split: true,
  };
  const table = { type: 'Precompiled', precompiled_charsmap: Buffer.from(charactersMap).toString('base64') };
  const singleSpaces = [
    { type: 'Strip', strip_left: false, strip_right: true },
    { type: 'Replace', pattern: { Regex: ' {2,}' }, content: '▁' },
  ];
  // Rows without a token, [PAD430] and so on, stand at the end.
  const used = tokens.findLastIndex((_, id) => types?.[id] !== TOKEN_TYPE.unused) + 1;
  const tokenizerJson: TokenizerJson = {
    ...shell(vocabulary),
    normalizer: {
      type: 'Sequence',
      normalizers: [...(charactersMap.length === 0 ? [] : [table]), ...(removesExtraSpaces ? singleSpaces : [])],
    },
    pre_tokenizer: metaspace,
    decoder: metaspace,
    model: {
      type: 'Unigram',
      // llama.cpp's default, 2, is T5's; the types of the tokens know better.
      unk_id: indexOfType(vocabulary, TOKEN_TYPE.unknown) ?? vocabulary.unknownTokenId,
      vocab: tokens.slice(0, used).map((token, id) => [token, scores?.[id] ?? 0]),
      byte_fallback: indexOfType(vocabulary, TOKEN_TYPE.byte) !== null,
    },
  };
  return { tokenizerJson, warning: scores === null ? NO_SCORES : null };
}

function indexOfType({ types }: Vocabulary, type: number): number | null {
  const index = types === null ? -1 : Array.prototype.indexOf.call(types, type);
  return index < 0 ? null : index;
}

type Shell = Pick<TokenizerJson, 'version' | 'truncation' | 'padding' | 'added_tokens' | 'post_processor'>;

function shell(vocabulary: Vocabulary): Shell {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary),
    post_processor: postProcessor(vocabulary),
  };
}

function vocabularyMap({ tokens }: Vocabulary): Record<string, number> {
  // No prototype: a token may be called __proto__.
  const map: Record<string, number> = Object.create(null) as Record<string, number>;
  for (const [id, token] of tokens.entries()) map[token] ??= id;
  return map;
}

/** Tokens that are cut out of the text before any merging. */
function addedTokens({ tokens, types, model }: Vocabulary): AddedToken[] {
  if (types === null) return [];
  return tokens.flatMap((content, id) => {
    const type = types[id];
    // Unigram names its unknown piece by number, and transformers does not add it.
    const special = type === TOKEN_TYPE.control || (type === TOKEN_TYPE.unknown && model !== 't5');
    if (!special && type !== TOKEN_TYPE.userDefined) return [];
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }];
  });
}

function postProcessor({ addBos, bosTokenId, tokens }: Vocabulary): unknown {
  const bos = bosTokenId === null ? undefined : tokens[bosTokenId];
  if (!addBos || bos === undefined) return null;
  const special = { SpecialToken: { id: bos, type_id: 0 } };
  return {
    type: 'TemplateProcessing',
    single: [special, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [special, { Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { [bos]: { id: bos, ids: [bosTokenId], tokens: [bos] } },
  };
}

/** tokenizer_config.json. The generic class makes transformers take tokenizer.json as it is. */
export function tokenizerConfig(vocabulary: Vocabulary, chatTemplate: string | null): Record<string, unknown> {
  const text = (id: number | null): string | null => (id === null ? null : (vocabulary.tokens[id] ?? null));
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    add_bos_token: vocabulary.addBos,
    add_eos_token: false,
    add_prefix_space: false,
    clean_up_tokenization_spaces: false,
    model_max_length: 1_000_000_000,
    ...specialTexts({
      bos_token: text(vocabulary.bosTokenId),
      eos_token: text(vocabulary.eosTokenId),
      unk_token: text(vocabulary.unknownTokenId),
      pad_token: text(vocabulary.paddingTokenId),
    }),
    ...(chatTemplate === null ? {} : { chat_template: chatTemplate }),
  };
}

function specialTexts(texts: Readonly<Record<string, string | null>>): Record<string, string> {
  return Object.fromEntries(Object.entries(texts).filter((entry): entry is [string, string] => entry[1] !== null));
}
