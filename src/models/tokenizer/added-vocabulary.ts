/**
 * Added tokens as transformers assembles them: those of tokenizer.json, then those of tokenizer_config.json with their own
 * flags, then the special tokens that it names.
 */
import { asRecord, booleanIn, isRecord, textIn, type JsonRecord } from './json-values.ts';
import { tokenText } from './special-vocabulary.ts';
import type { AddedToken, TokenizerFiles, TokenizerJsonFile } from './tokenizer-files.ts';

/** Special tokens that a tokenizer class has although no file names them (transformers, defaults of the fast classes). */
const CLASS_TOKENS: Readonly<Record<string, JsonRecord>> = {
  GPT2Tokenizer: { unk_token: '<|endoftext|>', bos_token: '<|endoftext|>', eos_token: '<|endoftext|>' },
  Qwen2Tokenizer: { unk_token: '<|endoftext|>', eos_token: '<|endoftext|>', pad_token: '<|endoftext|>' },
  LlamaTokenizer: { unk_token: '<unk>', bos_token: '<s>', eos_token: '</s>' },
  GemmaTokenizer: { unk_token: '<unk>', bos_token: '<bos>', eos_token: '<eos>', pad_token: '<pad>' },
};
const SPECIAL_KEYS = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];

/** By content. */
export function addedVocabulary(files: TokenizerFiles, tokenizer: TokenizerJsonFile): ReadonlyMap<string, AddedToken> {
  const added = new Map(tokenizer.addedTokens.map((token) => [token.content, token]));
  const config = files.tokenizerConfig ?? {};
  const specials = specialTexts(files);
  let nextId = Math.max(-1, ...maxima(tokenizer, added)) + 1;
  const add = (content: string, flags: { special: boolean; normalized: boolean }): void => {
    const id = added.get(content)?.id ?? tokenizer.vocabulary.get(content) ?? nextId++;
    added.set(content, { id, content, ...flags });
  };
  // Without a list in tokenizer_config.json, transformers takes the tokens of tokenizer.json for it.
  for (const { content, special, normalized } of declaredTokens(config) ?? tokenizer.addedTokens) {
    add(content, { special: special || specials.has(content), normalized });
  }
  // A special token that is named only by its text is compared with the text as it was typed.
  for (const content of specials) if (!added.has(content)) add(content, { special: true, normalized: false });
  return added;
}

function* maxima(tokenizer: TokenizerJsonFile, added: ReadonlyMap<string, AddedToken>): Generator<number> {
  let highest = -1;
  for (const id of tokenizer.vocabulary.values()) if (id > highest) highest = id;
  yield highest;
  for (const { id } of added.values()) yield id;
}

/** Ascending by id, as transformers adds them; null where there is no list. */
function declaredTokens(config: JsonRecord): Pick<AddedToken, 'content' | 'special' | 'normalized'>[] | null {
  const declared = config['added_tokens_decoder'];
  if (!isRecord(declared)) return null;
  return Object.keys(declared)
    .toSorted((a, b) => Number(a) - Number(b))
    .flatMap((id) => {
      const entry = asRecord(declared[id], `tokenizer_config.json: added_tokens_decoder.${id}`);
      const content = entry['content'];
      if (typeof content !== 'string' || content === '') return [];
      const special = booleanIn(entry, 'special') ?? false;
      return [{ content, special, normalized: booleanIn(entry, 'normalized') ?? !special }];
    });
}

function specialTexts({ tokenizerConfig, specialTokensMap }: TokenizerFiles): ReadonlySet<string> {
  const config = tokenizerConfig ?? {};
  // The map is read for old files only, which have no list of added tokens in tokenizer_config.json.
  const files = 'added_tokens_decoder' in config || specialTokensMap === null ? [config] : [specialTokensMap, config];
  const className = (textIn(config, 'tokenizer_class') ?? '').replace(/Fast$/, '');
  const defaults = Object.hasOwn(CLASS_TOKENS, className) ? (CLASS_TOKENS[className] ?? {}) : {};
  const sources = [...files, defaults];
  const texts = new Set<string>();
  const named = (key: string): unknown => sources.map((source) => source[key]).find((value) => value !== undefined);
  for (const key of SPECIAL_KEYS) {
    const text = tokenText(named(key));
    if (text !== null) texts.add(text);
  }
  const more = named('additional_special_tokens');
  for (const item of Array.isArray(more) ? (more as unknown[]) : []) {
    const text = tokenText(item);
    if (text !== null) texts.add(text);
  }
  return texts;
}
