/** The vocabulary part of a GGUF header and the rules that llama.cpp applies to it (src/llama-vocab.cpp). */
import { booleanOf, numberOf, numbersOf, stringsOf, textOf, type GgufMetadata } from './metadata.ts';

/** tokenizer.ggml.token_type. */
export const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface Vocabulary {
  /** `gpt2` (byte-level BPE), `llama` (SentencePiece) and others. */
  readonly model: string;
  /** Name of the pre-tokenizer; null when the header has none. */
  readonly pre: string | null;
  readonly tokens: readonly string[];
  /** One per token; absent in old files. */
  readonly types: ArrayLike<number> | null;
  readonly scores: ArrayLike<number> | null;
  readonly merges: readonly string[];
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  readonly unknownTokenId: number | null;
  readonly paddingTokenId: number | null;
  readonly addBos: boolean;
  readonly addSpacePrefix: boolean;
  /** What Unigram does to a text first: SentencePiece's table of replacements, empty for none, and single spaces. */
  readonly charactersMap: Uint8Array;
  readonly removesExtraSpaces: boolean;
  /** Ascending. */
  readonly endTokenIds: readonly number[];
}

/** Null when the model carries no tokens. */
export function readVocabulary(metadata: GgufMetadata): Vocabulary | null {
  const tokens = stringsOf(metadata, 'tokenizer.ggml.tokens');
  const model = textOf(metadata, 'tokenizer.ggml.model');
  if (tokens === null || model === null || tokens.length === 0) return null;
  const pre = textOf(metadata, 'tokenizer.ggml.pre');
  const special = specialIds(metadata, { tokenCount: tokens.length, model });
  return {
    model,
    pre,
    tokens,
    types: fullLength(numbersOf(metadata, 'tokenizer.ggml.token_type'), tokens.length),
    scores: fullLength(numbersOf(metadata, 'tokenizer.ggml.scores'), tokens.length),
    merges: stringsOf(metadata, 'tokenizer.ggml.merges') ?? [],
    bosTokenId: special('bos'),
    eosTokenId: special('eos'),
    unknownTokenId: special('unknown'),
    paddingTokenId: special('padding'),
    addBos: booleanOf(metadata, 'tokenizer.ggml.add_bos_token') ?? addsBosByDefault(model, pre),
    addSpacePrefix: booleanOf(metadata, 'tokenizer.ggml.add_space_prefix') ?? model === 'llama',
    charactersMap: Uint8Array.from(numbersOf(metadata, 'tokenizer.ggml.precompiled_charsmap') ?? []),
    removesExtraSpaces: booleanOf(metadata, 'tokenizer.ggml.remove_extra_whitespaces') ?? false,
    endTokenIds: endTokenIds(tokens, special),
  };
}

function fullLength(values: ArrayLike<number> | null, count: number): ArrayLike<number> | null {
  return values !== null && values.length >= count ? values : null;
}

/** Pre-tokenizers whose BPE models start with BOS although the header does not say so. */
const PRE_WITH_BOS: ReadonlySet<string> = new Set([
  'llama3',
  'llama-v3',
  'llama-bpe',
  'falcon3',
  'falcon-h1',
  'pixtral',
  'midm-2.0',
  'lfm2',
  'jina-v5-nano',
  'tekken',
  'chameleon',
]);

function addsBosByDefault(model: string, pre: string | null): boolean {
  if (model === 'llama' || model === 'bert') return true;
  return model === 'gpt2' && pre !== null && PRE_WITH_BOS.has(pre);
}

type SpecialIds = (name: SpecialName) => number | null;
type SpecialName = 'bos' | 'eos' | 'eot' | 'eom' | 'unknown' | 'padding' | 'fim_pad' | 'fim_rep' | 'fim_sep';

/** What llama.cpp assumes for a header without the key. */
const DEFAULT_IDS: Readonly<Record<string, Partial<Record<SpecialName, number>>>> = {
  llama: { bos: 1, eos: 2, unknown: 0 },
  gpt2: { bos: 11, eos: 11 },
};

function specialIds(metadata: GgufMetadata, { tokenCount, model }: { tokenCount: number; model: string }): SpecialIds {
  const inVocabulary = (id: number | null): id is number =>
    id !== null && Number.isInteger(id) && id >= 0 && id < tokenCount;
  return (name) => {
    const stored = numberOf(metadata, `tokenizer.ggml.${name}_token_id`);
    if (inVocabulary(stored)) return stored;
    const fallback = DEFAULT_IDS[model]?.[name] ?? null;
    return inVocabulary(fallback) ? fallback : null;
  };
}

/** Texts that end a generation in llama.cpp, whatever type the token was given. */
const END_TEXTS: ReadonlySet<string> = new Set([
  '<|eot_id|>',
  '<|im_end|>',
  '<|end|>',
  '<|return|>',
  '<|call|>',
  '<|flush|>',
  '<|calls|>',
  '<end_of_turn>',
  '<|endoftext|>',
  '</s>',
  '<|eom_id|>',
  '<EOT>',
  '_<EOT>',
  '[EOT]',
  '[EOS]',
  '<|end_of_text|>',
  '<end_of_utterance>',
  '<eos>',
  '<turn|>',
  '<|tool_response>',
  '<｜end▁of▁sentence｜>',
  '[e~[',
]);

/** Fill-in-the-middle tokens count as ends too; found by text where the header has no id. */
const FIM_TEXTS: Readonly<Record<'fim_pad' | 'fim_rep' | 'fim_sep', readonly string[]>> = {
  fim_pad: ['<|fim_pad|>', '<fim-pad>', '<fim_pad>', '<PAD>', '[PAD]'],
  fim_rep: ['<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>'],
  fim_sep: ['<|file_sep|>'],
};

/**
 * Every end-of-generation id as llama.cpp determines them.
 * Where several texts of one fill-in-the-middle kind exist llama.cpp takes whichever its hash table yields first; we take
 * them all: an id too many in the list of banned tokens does no harm, one too few ends a generation early.
 */
function endTokenIds(tokens: readonly string[], special: SpecialIds): readonly number[] {
  const idOf = new Map(tokens.map((text, id) => [text, id]));
  const ids = new Set<number>();
  const add = (id: number | null | undefined): void => {
    if (id !== null && id !== undefined) ids.add(id);
  };
  for (const kind of ['fim_pad', 'fim_rep', 'fim_sep'] as const) {
    const stored = special(kind);
    if (stored !== null) ids.add(stored);
    else for (const text of FIM_TEXTS[kind]) add(idOf.get(text));
  }
  for (const text of END_TEXTS) add(idOf.get(text));
  add(special('eos'));
  add(special('eot'));
  add(special('eom'));
  for (const text of withdrawnTexts(idOf)) ids.delete(idOf.get(text) as number);
  return [...ids].sort((a, b) => a - b);
}

/** gpt-oss and solar-open end a message with <|end|> and a turn with another token; gemma 4 has a </s> that is no end. */
function withdrawnTexts(idOf: ReadonlyMap<string, number>): readonly string[] {
  const has = (text: string): boolean => idOf.has(text);
  const calls = has('<|call|>') || has('<|calls|>');
  const withdrawn: string[] = [];
  if (has('<|end|>') && calls && (has('<|return|>') || has('<|flush|>'))) withdrawn.push('<|end|>');
  if (has('</s>') && has('<|tool_response>')) withdrawn.push('</s>');
  return withdrawn;
}
