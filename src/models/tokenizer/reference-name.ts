/** The name that llama.cpp's converter would give to a tokenizer. */
import { createHash } from 'node:crypto';
import { booleanIn } from './json-values.ts';
import { NAME_BY_FINGERPRINT } from './reference-fingerprints.ts';
import { tokenText } from './special-vocabulary.ts';
import type { TokenizerRules, TokenizerSummary } from './tokenizer-files.ts';

/**
 * Null for one that it does not know.
 * @param plain ids of the fingerprint text without special tokens
 * @param complete the same with those that the file's own post-processor adds
 */
export function referenceName(
  { tokenizerConfig: config }: TokenizerSummary,
  { tokenizer, plain, complete }: { tokenizer: TokenizerRules; plain: Int32Array; complete: Int32Array },
): string | null {
  let ids = complete;
  // transformers' Llama and Gemma classes put their own template in place of the file's.
  if (config !== null && /^(Llama|Gemma|CodeLlama)Tokenizer(Fast)?$/.test(String(config['tokenizer_class']))) {
    const idOf = (key: string): number[] => {
      const text = tokenText(config[key]);
      const id = tokenizer.addedTokens.find(({ content }) => content === text)?.id;
      return id === undefined ? [] : [id];
    };
    const first = booleanIn(config, 'add_bos_token') === false ? [] : idOf('bos_token');
    const last = booleanIn(config, 'add_eos_token') === true ? idOf('eos_token') : [];
    ids = Int32Array.from([...first, ...plain, ...last]);
  }
  const text = `[${[...ids].join(', ')}]`;
  return NAME_BY_FINGERPRINT.get(createHash('sha256').update(text).digest('hex')) ?? null;
}
