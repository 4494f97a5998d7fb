/** llama.cpp's own tokenizer, in a child process: ids of texts. */
import { join } from 'node:path';
import { z } from 'zod';
import type { WritableMetadata } from '../gguf/metadata.ts';
import { writeGguf } from '../gguf/write.ts';
import { runWorker, type WorkerText } from './run-worker.ts';

export interface LlamaCppTokens {
  /** One list per text; null where llama.cpp does not load the vocabulary. */
  readonly ids: readonly Int32Array[] | null;
  readonly addsBos: boolean;
  /** Of llama.cpp. */
  readonly release: string;
}

export interface LlamaCppRequest {
  /** Folder of the managed environment that holds node-llama-cpp. */
  readonly root: string;
  /** Key-values to write into a temporary file, or the path of a GGUF. */
  readonly vocabulary: WritableMetadata | string;
  readonly texts: readonly WorkerText[];
  readonly signal?: AbortSignal | undefined;
}

const answer = z.object({ release: z.string().max(100), addsBos: z.boolean() });

/** @throws AppError as `runWorker` does */
export async function llamaCppTokens({ root, vocabulary, texts, signal }: LlamaCppRequest): Promise<LlamaCppTokens> {
  const { lines, ids } = await runWorker({
    worker: 'llama-cpp',
    title: 'llama.cpp',
    texts,
    signal,
    args: async (folder) => [
      root,
      typeof vocabulary === 'string' ? vocabulary : await writeVocabulary(folder, vocabulary),
    ],
  });
  return { ...answer.parse(lines[0]), ids: ids.get(0) ?? null };
}

async function writeVocabulary(folder: string, metadata: WritableMetadata): Promise<string> {
  const path = join(folder, 'vocabulary.gguf');
  // Any architecture will do: no tensor is looked at.
  const architecture = { type: 'string', value: 'llama' } as const;
  await writeGguf(path, { metadata: new Map([['general.architecture', architecture], ...metadata]), tensors: [] });
  return path;
}
