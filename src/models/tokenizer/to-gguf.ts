/** Hugging Face's tokenizer files as the `tokenizer.*` key-values of a GGUF, with a pre-tokenizer that is derived and proved. */
import type { WritableMetadata } from '../gguf/metadata.ts';
import { choosePreTokenizer, type Choice } from './choose-pre-tokenizer.ts';
import { prepareDraft } from './prepare-draft.ts';
import { withScratch } from './run-worker.ts';
import type { LlamaCppPlace } from './trial.ts';

export interface TokenizerOptions {
  /** A name of llama.cpp's, decided by the user; null: derived from the file's rules. */
  readonly preTokenizer: string | null;
  /** Rows of the embedding; null: vocab_size of config.json. */
  readonly vocabularySize: number | null;
  /** For the proof. */
  readonly llamaCpp: LlamaCppPlace;
  /** Refuse what is not proved. */
  readonly strict: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onStatus?: ((text: string) => void) | undefined;
}

export interface TokenizerMetadata extends Choice {
  /** In the converter's order, to be appended to the model's own keys. */
  readonly metadata: WritableMetadata;
  /** Rows that the vocabulary fills, [PADn] included. */
  readonly tokenCount: number;
}

/**
 * @throws AppError `model-not-found`, `model-invalid`, `model-unsupported` for what the files hold; `tokenizer-unknown`
 * where no pre-tokenizer does what the file says, or where `strict` is asked for and nothing could be proved
 */
export async function tokenizerMetadata(folder: string, options: TokenizerOptions): Promise<TokenizerMetadata> {
  return withScratch(async (scratch) => {
    const prepared = await prepareDraft(folder, { ...options, scratch });
    const choice = await choosePreTokenizer({ ...prepared, ...options, scratch });
    const { draft } = prepared;
    return { ...choice, metadata: await draft.metadata(choice.preTokenizer), tokenCount: draft.tokenCount };
  });
}
