/** What `runoff models tokenizer` does: which pre-tokenizer a model needs, and whether llama.cpp tokenises as the original. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { AppError } from '../core/errors.ts';
import { checkGgufTokenizer } from '../models/tokenizer/check-gguf.ts';
import { tokenizerMetadata } from '../models/tokenizer/to-gguf.ts';
import type { LlamaCppPlace, Proof } from '../models/tokenizer/trial.ts';
import { ownEnvironments } from './engines.ts';
import type { Ui } from './ui.ts';

/** The engine whose managed environment holds llama.cpp's tokenizer. */
const ENVIRONMENT = 'node-llama-cpp';
const INSTALL = 'runoff engines install llama-cpp';

export interface TokenizerAsk {
  /** Folder with Hugging Face's files, or a .gguf file. */
  readonly path: string;
  /** With a .gguf file: the folder of its original. */
  readonly against: string | null;
  readonly preTokenizer: string | null;
  readonly strict: boolean;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

/** Plain data: `--json` prints it as it is. */
export interface TokenizerReport {
  readonly path: string;
  readonly against: string | null;
  /** tokenizer.ggml.model: gpt2 (byte-level BPE), llama (SentencePiece), t5 (Unigram). Null for a .gguf file. */
  readonly model: string | null;
  readonly preTokenizer: string | null;
  /** Null for a .gguf file: it says so itself. */
  readonly origin: 'given' | 'rules' | 'nearest' | 'none' | null;
  readonly tokenCount: number;
  readonly proof: Proof;
}

/** @throws AppError `usage`, and those of `tokenizerMetadata` and `checkGgufTokenizer` */
export async function checkTokenizer(ask: TokenizerAsk): Promise<TokenizerReport> {
  const { preTokenizer, strict, signal, ui } = ask;
  const path = resolve(ask.path);
  const against = ask.against === null ? null : resolve(ask.against);
  const isFolder = await isFolderAt(path);
  const llamaCpp = await llamaCppPlace(ui);
  const onStatus = (text: string): void => ui.status(text);
  if (isFolder) {
    if (against !== null)
      throw new AppError('usage', '--against goes with a .gguf file, not with a folder.', {
        hint: 'Name the .gguf file first: runoff models tokenizer FILE --against FOLDER.',
      });
    const options = { preTokenizer, vocabularySize: null, llamaCpp, strict, signal, onStatus };
    const { metadata, tokenCount, origin, proof, preTokenizer: name } = await tokenizerMetadata(path, options);
    const model = metadata.get('tokenizer.ggml.model');
    return {
      path,
      against,
      model: model?.type === 'string' ? model.value : null,
      preTokenizer: name,
      origin,
      tokenCount,
      proof,
    };
  }
  if (preTokenizer !== null)
    throw new AppError('usage', 'A .gguf file has its pre-tokenizer already.', {
      hint: 'Leave --pre-tokenizer out, or name the folder of the original.',
    });
  const check = await checkGgufTokenizer(path, { against, llamaCpp, signal, onStatus });
  if (strict && check.proof.state !== 'proven') {
    throw new AppError(
      'tokenizer-unknown',
      `${path}: its tokenizer is not proved: ${check.proof.reason ?? 'it differs'}.`,
      { hint: `Install what the proof needs (${INSTALL}), or leave --strict out.` },
    );
  }
  return { path, model: null, origin: null, ...check };
}

/** Where llama.cpp's tokenizer is; nothing is installed for it. */
export async function llamaCppPlace(ui: Ui): Promise<LlamaCppPlace> {
  const environment = await ownEnvironments(ui).inspect(ENVIRONMENT);
  if (environment.state === 'ready') return { root: environment.root };
  if (environment.state === 'impossible') return { root: null, reason: environment.reason };
  return { root: null, reason: `node-llama-cpp is not installed (${INSTALL})` };
}

async function isFolderAt(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw new AppError('model-not-found', `${path} does not exist or cannot be read.`, {
      hint: 'Give a folder with tokenizer.json, or a .gguf file.',
      cause,
    });
  }
}
