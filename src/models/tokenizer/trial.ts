/** One tokenizer.json against llama.cpp: its ids are made once, then compared under one name after the other. */
import type { WritableMetadata } from '../gguf/metadata.ts';
import {
  compareTokens,
  suspectEntries,
  withoutEntries,
  withSingleEntries,
  workerText,
  type Comparison,
  type Reference,
  type TokenTexts,
} from './compare-tokens.ts';
import { huggingFaceTokens } from './hugging-face-tokenizer.ts';
import { llamaCppTokens } from './llama-cpp-tokenizer.ts';
import { FINGERPRINT_TEXT } from './reference-fingerprints.ts';
import type { StressText } from './stress-corpus.ts';
import type { TokenizerRules } from './tokenizer-files.ts';

export interface Proof {
  /** `differs`: only for a name that the user gave, or for pieces. */
  readonly state: 'proven' | 'differs' | 'not-run';
  /** Why it was not run. */
  readonly reason: string | null;
  /** Every name that was tried, in order. */
  readonly comparisons: readonly Comparison[];
  /** Names that this llama.cpp does not load. */
  readonly refused: readonly string[];
  /** Of llama.cpp; null where it was not asked. */
  readonly release: string | null;
  readonly seconds: number;
}

/** The folder of the managed environment with node-llama-cpp, or why there is none. */
export type LlamaCppPlace = { readonly root: string } | { readonly root: null; readonly reason: string };

export interface TrialRequest {
  readonly tokenizer: TokenizerRules;
  /** What is compared: see `proofTexts`. */
  readonly proofTexts: readonly StressText[];
  /** Of that tokenizer.json. */
  readonly path: string;
  /** Texts by id, as the GGUF holds them: for messages. */
  readonly tokens: TokenTexts;
  /** What llama.cpp loads under a name: key-values, or the path of a GGUF. */
  readonly vocabularyOf: (name: string) => WritableMetadata | string;
  /** Of node-llama-cpp. */
  readonly root: string;
  readonly signal?: AbortSignal | undefined;
  readonly onStatus?: ((text: string) => void) | undefined;
}

export interface Trial {
  readonly request: TrialRequest;
  readonly reference: Reference;
  /** Ids of the fingerprint text, without and with the special tokens that the file adds. */
  readonly fingerprint: { readonly plain: Int32Array; readonly complete: Int32Array };
  readonly startedMs: number;
  readonly comparisons: Comparison[];
  readonly refused: string[];
  release: string | null;
}

export const FINGERPRINT = { text: FINGERPRINT_TEXT, special: false } as const;
const NONE = new Int32Array(0);

/** @throws AppError those of the worker: `engine-died`, `engine-timeout`, `interrupted` */
export async function startTrial(request: TrialRequest): Promise<Trial> {
  const startedMs = performance.now();
  const { tokenizer, proofTexts: texts, path, tokens, signal, onStatus } = request;
  onStatus?.(`Tokenising ${texts.length} texts with Hugging Face's tokenizer`);
  const { ids, complete } = await huggingFaceTokens([FINGERPRINT, ...texts.map(workerText)], { path, signal });
  const fingerprint = { plain: ids[0] ?? NONE, complete };
  const reference = { tokenizer, texts, ids: ids.slice(1), tokens };
  return { request, reference, fingerprint, startedMs, comparisons: [], refused: [], release: null };
}

/**
 * Null where this llama.cpp does not load the vocabulary under the name.
 * @param scope `texts`: without the vocabulary's entries
 */
export async function compareAs(trial: Trial, name: string, scope: 'texts' | 'everything'): Promise<Comparison | null> {
  const { request } = trial;
  const reference = scope === 'everything' ? trial.reference : withoutEntries(trial.reference);
  request.onStatus?.(`Comparing with llama.cpp as ${name} (${reference.texts.length} texts)`);
  const ask = async (texts: readonly StressText[]): Promise<readonly Int32Array[] | null> => {
    const { root, signal, vocabularyOf } = request;
    const answer = await llamaCppTokens({ root, vocabulary: vocabularyOf(name), texts: texts.map(workerText), signal });
    trial.release = answer.release;
    return answer.ids;
  };
  const answer = await ask(reference.texts);
  if (answer === null) {
    trial.refused.push(name);
    return null;
  }
  const comparison = compareTokens(...(await takenApart(trial, { reference, answer, name, ask })));
  trial.comparisons.push(comparison);
  return comparison;
}

interface Answered {
  readonly reference: Reference;
  readonly answer: readonly Int32Array[];
  readonly name: string;
  readonly ask: (texts: readonly StressText[]) => Promise<readonly Int32Array[] | null>;
}

/** Groups of entries that differ are compared again, entry by entry. */
async function takenApart(
  { request }: Trial,
  { reference, answer, name, ask }: Answered,
): Promise<Parameters<typeof compareTokens>> {
  const texts = suspectEntries(reference, answer);
  if (texts.length === 0) return [reference, name, answer];
  const { ids } = await huggingFaceTokens(texts.map(workerText), request);
  const single = withSingleEntries(reference, answer, { texts, ids, answer: (await ask(texts)) ?? [] });
  return [single.reference, name, single.answer];
}

export function proofOf({ comparisons, refused, release, startedMs }: Trial, comparison: Comparison | null): Proof {
  const seconds = (performance.now() - startedMs) / 1000;
  const facts = { comparisons, refused, release, seconds };
  if (comparison === null)
    return { state: 'not-run', reason: `llama.cpp ${release ?? ''} does not load this vocabulary`, ...facts };
  return { state: comparison.differenceCount === 0 ? 'proven' : 'differs', reason: null, ...facts };
}

export function proofNotRun(reason: string): Proof {
  return { state: 'not-run', reason, comparisons: [], refused: [], release: null, seconds: 0 };
}
