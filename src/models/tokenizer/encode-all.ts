/** Hugging Face's tokenizer on many texts: called in a process of its own, because the file brings its own regexes. */
import { Tokenizer } from '@huggingface/tokenizers';

/** Ids of every text without special tokens, and last those of the first text with the ones that the file adds. */
export function encodeAll(tokenizerJson: object, texts: readonly { readonly text: string }[]): number[][] {
  const tokenizer = new Tokenizer(tokenizerJson, {});
  const plain = texts.map(({ text }) => (text === '' ? [] : tokenizer.encode(text, { add_special_tokens: false }).ids));
  return [...plain, tokenizer.encode(texts[0]?.text ?? '').ids];
}
