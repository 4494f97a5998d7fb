/** Hugging Face's tokenizer on many texts: called in a process of its own, because the file brings its own regexes. */
import { Tokenizer } from '@huggingface/tokenizers';
import { isRecord } from './json-values.ts';

/**
 * Ids of every text without special tokens, and last those of the first text with the ones that the file adds.
 * @param tokenizerJson is emptied: the library keeps what it was given beside the maps that it makes of it
 */
export function encodeAll(tokenizerJson: object, texts: readonly { readonly text: string }[]): Int32Array[] {
  const release = pairedMerges(tokenizerJson);
  const tokenizer = new Tokenizer(tokenizerJson, {});
  release();
  const encode = (text: string, special: boolean): Int32Array => {
    const { ids } = tokenizer.encode(text, { add_special_tokens: special }) as { readonly ids: readonly number[] };
    return Int32Array.from(ids);
  };
  const plain = texts.map(({ text }) => (text === '' ? NONE : encode(text, false)));
  return [...plain, encode(texts[0]?.text ?? '', true)];
}

const NONE = new Int32Array(0);

/**
 * Merges that are one text become pairs here, as the library would make them, so that its list is ours to empty: half a
 * million short arrays.
 * @returns empties vocabulary and merges of a BPE file
 */
function pairedMerges(tokenizerJson: object): () => void {
  const model = (tokenizerJson as { model?: unknown }).model;
  if (!isRecord(model) || !Array.isArray(model['merges'])) return () => {};
  const merges = model['merges'] as unknown[];
  for (let i = 0; i < merges.length; i++) {
    const merge = merges[i];
    if (typeof merge === 'string') merges[i] = merge.split(' ', 2);
  }
  return () => {
    merges.length = 0;
    Object.assign(model, { vocab: {} });
  };
}
