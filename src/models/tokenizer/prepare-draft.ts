/**
 * A tokenizer's files as key-values and as texts for the proof, made in a process of its own. The vocabulary and the merges
 * of a large tokenizer take hundreds of megabytes as objects; here they arrive as the bytes that are written.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, type ErrorCode } from '../../core/errors.ts';
import type { EncodedArray, GgufValue, WritableMetadata } from '../gguf/metadata.ts';
import type { TokenTexts } from './compare-tokens.ts';
import type { TokenizerDraft } from './draft.ts';
import { runWorkerIn, type WorkerLimits } from './run-worker.ts';
import type { StressText } from './stress-corpus.ts';
import type { TokenizerSummary } from './tokenizer-files.ts';

export interface PreparedDraft {
  readonly kind: TokenizerDraft['kind'];
  readonly tokenCount: number;
  readonly tokens: TokenTexts;
  metadata(preTokenizer: string): WritableMetadata;
}

export interface Prepared {
  readonly files: TokenizerSummary;
  readonly draft: PreparedDraft;
  readonly proofTexts: readonly StressText[];
}

/** No tokenizer has values of 64 bits, which JSON does not hold. */
type DraftScalar = Exclude<GgufValue, { type: 'array' } | { value: bigint }>;

/** What the worker writes: this as JSON, and the arrays one behind the other in a file beside it. */
export interface DraftAnswer {
  readonly files: TokenizerSummary;
  readonly kind: TokenizerDraft['kind'];
  readonly tokenCount: number;
  readonly entries: readonly (readonly [
    key: string,
    value: DraftScalar | { readonly type: 'encoded'; readonly at: readonly [number, number] },
  ])[];
  readonly proofTexts: readonly StressText[];
}

export const ANSWER_FILE = 'draft.json';
export const ARRAYS_FILE = 'arrays.bin';

/** What the worker says on its line. */
export interface DraftLine {
  readonly number: 0;
  readonly failed?: { readonly code: ErrorCode; readonly message: string; readonly hint: string | null };
}

const PRE_TOKENIZER = 'tokenizer.ggml.pre';

/** @throws AppError what `readTokenizerFiles` and `draftTokenizer` throw */
export async function prepareDraft(
  folder: string,
  { vocabularySize, ...limits }: { readonly vocabularySize: number | null } & WorkerLimits,
): Promise<Prepared> {
  const args = [folder, vocabularySize === null ? '' : String(vocabularySize)];
  const request = {
    worker: 'draft',
    title: "Reading the tokenizer's files",
    texts: [],
    args: () => args,
    ...limits,
  } as const;
  return runWorkerIn(request, async (lines, answers) => {
    const [line] = lines as readonly DraftLine[];
    if (line?.failed !== undefined) {
      const { code, message, hint } = line.failed;
      throw new AppError(code, message, hint === null ? {} : { hint });
    }
    const answer = JSON.parse(await readFile(join(answers, ANSWER_FILE), 'utf8')) as DraftAnswer;
    const arrays = await readFile(join(answers, ARRAYS_FILE));
    const { files, proofTexts } = answer;
    return { files, proofTexts, draft: draftOf(answer, arrays) };
  });
}

function draftOf({ kind, tokenCount, entries }: DraftAnswer, arrays: Uint8Array): PreparedDraft {
  const values = entries.map(([key, value]): [string, GgufValue | EncodedArray] => [
    key,
    value.type === 'encoded' ? { type: 'encoded', bytes: arrays.subarray(...value.at) } : value,
  ]);
  const tokens = new Map(values).get('tokenizer.ggml.tokens');
  return {
    kind,
    tokenCount,
    tokens: { at: (id) => (tokens?.type === 'encoded' ? stringAt(tokens.bytes, id) : undefined) },
    // An entry that is set again keeps its place.
    metadata: (preTokenizer) => new Map(values).set(PRE_TOKENIZER, { type: 'string', value: preTokenizer }),
  };
}

/** Of an encoded array of texts; steps over those before it, which is fast enough for a message. */
function stringAt(bytes: Uint8Array, index: number): string | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 12;
  for (let i = 0; at < view.length; i++) {
    const length = view.readUInt32LE(at);
    if (i === index) return view.toString('utf8', at + 8, at + 8 + length);
    at += 8 + length;
  }
  return undefined;
}
