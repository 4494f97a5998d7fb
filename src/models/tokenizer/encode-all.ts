/** Hugging Face's tokenizer of a file: made in a process of its own, because the file brings its own regexes. */
import { Tokenizer } from '@huggingface/tokenizers';
import { isRecord } from './json-values.ts';
import type { TokenizerDocument } from './tokenizer-document.ts';

/** Ids of a text; `special`: with those that the file adds. */
export type Encode = (text: string, special?: boolean) => readonly number[];

/** The document is read to its end here; nothing of it is needed later. */
export function encoderOf({ rest, vocabulary, merges }: TokenizerDocument): Encode {
  const model = isRecord(rest['model']) ? rest['model'] : {};
  if (vocabulary !== null) Object.assign(model, { vocab: objectOf(vocabulary) });
  if (merges !== null) Object.assign(model, { merges: pairsOf(merges) });
  const tokenizer = new Tokenizer(rest, {});
  // The library keeps what it was given beside the maps that it makes of it.
  if (vocabulary !== null && merges !== null) Object.assign(model, { vocab: {}, merges: [] });
  return (text, special = false) =>
    text === '' ? [] : (tokenizer.encode(text, { add_special_tokens: special }) as { readonly ids: number[] }).ids;
}

function objectOf(entries: Iterable<readonly [string, unknown]>): Record<string, unknown> {
  // `__proto__` may be a token.
  const object = Object.create(null) as Record<string, unknown>;
  for (const [token, id] of entries) object[token] = id;
  return object;
}

/**
 * Merges as the library's list of pairs, which it looks at the first of, then maps into its table: an iterator does that
 * without ever holding half a million short arrays.
 */
function pairsOf(merges: Iterable<unknown>): object {
  const pairs = Iterator.from(merges).map((merge) => (typeof merge === 'string' ? merge.split(' ', 2) : merge));
  return Object.assign(pairs, { 0: [] });
}
