/** Hugging Face's tokenizer, in a child process. */
import { z } from 'zod';
import { runWorker, type WorkerLimits } from './run-worker.ts';
import type { StressText } from './stress-corpus.ts';
import { readIdLists, type Stored } from './token-lists.ts';

const WORKER = { worker: 'hugging-face', title: "Hugging Face's tokenizer" } as const;

export interface HuggingFaceTokens {
  /** One list per text, without special tokens; read from a file each time. */
  readonly ids: Iterable<Int32Array>;
  readonly fingerprint: Fingerprint;
}

/** Ids of the fingerprint text, without and with the special tokens that the file adds. */
export interface Fingerprint {
  readonly plain: Int32Array;
  readonly complete: Int32Array;
}

interface HuggingFaceRequest extends WorkerLimits {
  /** tokenizer.json */
  readonly path: string;
}

/**
 * @param into file for the ids
 * @throws AppError as `runWorker` does
 */
export async function huggingFaceTokens(
  texts: Stored<StressText>,
  { path, into, signal, timeoutMs }: HuggingFaceRequest & { readonly into: string },
): Promise<HuggingFaceTokens> {
  const args = [path, texts.path, into];
  const [line] = await runWorker({ ...WORKER, textCount: texts.length, args, signal, timeoutMs });
  return { ids: readIdLists(into), fingerprint: fingerprintOf(line) };
}

/** @throws AppError as `runWorker` does */
export async function huggingFaceFingerprint({ path, signal, timeoutMs }: HuggingFaceRequest): Promise<Fingerprint> {
  const [line] = await runWorker({ ...WORKER, textCount: 1, args: [path], signal, timeoutMs });
  return fingerprintOf(line);
}

/** The text has some 150 tokens in common vocabularies, and less than 2,000 bytes. */
const idList = z.array(z.int()).max(10_000);
const answer = z.object({ plain: idList, complete: idList });

function fingerprintOf(line: unknown): Fingerprint {
  const { plain, complete } = answer.parse(line);
  return { plain: Int32Array.from(plain), complete: Int32Array.from(complete) };
}

const ranking = z.object({ order: z.array(z.int().nonnegative()).max(1_000) });

/** Places in PRE_TOKENIZER_RULES, those that cut most like the file first. */
export async function rankByFile({ path, signal, timeoutMs }: HuggingFaceRequest): Promise<readonly number[]> {
  const title = 'The comparison of regexes';
  const [line] = await runWorker({ worker: 'rank-rules', title, textCount: 0, args: [path], signal, timeoutMs });
  return ranking.parse(line).order;
}
