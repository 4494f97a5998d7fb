/** llama.cpp's own tokenizer, in a child process: ids of texts. */
import { z } from 'zod';
import { runWorker } from './run-worker.ts';
import type { StressText } from './stress-corpus.ts';
import { readIdLists, type Stored } from './token-lists.ts';

export interface LlamaCppTokens {
  /** One list per text, read from a file each time; null where llama.cpp does not load the vocabulary. */
  readonly ids: Iterable<Int32Array> | null;
  /** Of llama.cpp. */
  readonly release: string;
}

export interface LlamaCppRequest {
  /** Folder of the managed environment that holds node-llama-cpp. */
  readonly root: string;
  /** Path of a GGUF. */
  readonly vocabulary: string;
  /** File for the ids. */
  readonly into: string;
  readonly signal?: AbortSignal | undefined;
}

const answer = z.object({ release: z.string().max(100), loaded: z.boolean() });

/** @throws AppError as `runWorker` does */
export async function llamaCppTokens(
  texts: Stored<StressText>,
  { root, vocabulary, into, signal }: LlamaCppRequest,
): Promise<LlamaCppTokens> {
  const args = [root, vocabulary, texts.path, into];
  const title = 'llama.cpp';
  const [line] = await runWorker({ worker: 'llama-cpp', title, textCount: texts.length, args, signal });
  const { release, loaded } = answer.parse(line);
  return { release, ids: loaded ? readIdLists(into) : null };
}
