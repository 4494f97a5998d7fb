/** Hugging Face's tokenizer, in a child process. */
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { runWorker, type WorkerText } from './run-worker.ts';

const TITLE = "Hugging Face's tokenizer";

interface HuggingFaceRequest {
  /** tokenizer.json */
  readonly path: string;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/**
 * Ids of every text without special tokens; `complete` is the first text with those that the file adds.
 * @throws AppError as `runWorker` does
 */
export async function huggingFaceTokens(
  texts: readonly WorkerText[],
  { path, ...limits }: HuggingFaceRequest,
): Promise<{ ids: readonly Int32Array[]; complete: Int32Array }> {
  const { ids } = await runWorker({ worker: 'hugging-face', title: TITLE, texts, args: () => [path], ...limits });
  const lists = ids.get(0) ?? [];
  const complete = lists.at(-1);
  if (complete === undefined || lists.length !== texts.length + 1) {
    throw new AppError('engine-died', `${TITLE} answered ${lists.length} lists for ${texts.length} texts.`);
  }
  return { ids: lists.slice(0, -1), complete };
}

const ranking = z.object({ order: z.array(z.int().nonnegative()).max(1_000) });

/** Places in PRE_TOKENIZER_RULES, those that cut most like the file first. */
export async function rankByFile({ path, ...limits }: HuggingFaceRequest): Promise<readonly number[]> {
  const { lines } = await runWorker({
    worker: 'hugging-face',
    title: 'The comparison of regexes',
    texts: [],
    args: () => [path, 'rank'],
    ...limits,
  });
  return ranking.parse(lines[0]).order;
}
