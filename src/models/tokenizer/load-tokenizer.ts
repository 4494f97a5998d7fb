/** The model's tokenizer in JavaScript, so that every engine gets the same token ids. */
import { AppError } from '../../core/errors.ts';
import { readGgufHeader } from '../gguf/read-header.ts';
import { readVocabulary } from '../gguf/vocabulary.ts';
import { rebuildTokenizer, tokenizerConfig } from './tokenizer-json.ts';

export interface ModelTokenizer {
  /** Text to token ids; no BOS is added, special tokens written out in the text become their ids. */
  encode(text: string): number[];
  decode(ids: readonly number[]): string;
  readonly vocabularySize: number;
  /** Set when the pre-tokenizer is not one that we know: ids may differ from the model's own. */
  readonly warning: string | null;
}

export async function loadTokenizer(ggufPath: string): Promise<ModelTokenizer> {
  const { metadata } = await readGgufHeader(ggufPath);
  const vocabulary = readVocabulary(metadata);
  if (vocabulary === null) {
    throw new AppError('model-unsupported', `${ggufPath} contains no tokenizer.`, {
      hint: 'Convert the model again with its vocabulary.',
    });
  }
  if (vocabulary.model === 't5') {
    throw new AppError('model-unsupported', `${ggufPath} has a Unigram tokenizer, which runoff cannot run yet.`, {
      hint: 'Measure a model with another tokenizer; this one can be converted.',
    });
  }
  const { tokenizerJson, warning } = rebuildTokenizer(vocabulary);
  // Loaded on first use: commands that touch no text start faster.
  const { Tokenizer } = await import('@huggingface/tokenizers');
  const tokenizer = new Tokenizer(tokenizerJson, tokenizerConfig(vocabulary, null));
  return {
    encode: (text) => (text === '' ? [] : tokenizer.encode(text, { add_special_tokens: false }).ids),
    decode: (ids) => (ids.length === 0 ? '' : tokenizer.decode([...ids], { clean_up_tokenization_spaces: false })),
    vocabularySize: vocabulary.tokens.length,
    warning,
  };
}
