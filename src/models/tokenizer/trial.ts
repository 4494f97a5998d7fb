/** One tokenizer.json against llama.cpp: its ids are made once, then compared under one name after the other. */
import {
  compareTokens,
  suspectEntries,
  withoutEntries,
  withSingleEntries,
  type Comparison,
  type Reference,
  type TokenTexts,
} from './compare-tokens.ts';
import { join } from 'node:path';
import { huggingFaceTokens, type Fingerprint } from './hugging-face-tokenizer.ts';
import { llamaCppTokens } from './llama-cpp-tokenizer.ts';
import type { StressText } from './stress-corpus.ts';
import { storeJsonLines, type Stored } from './token-lists.ts';
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
  readonly proofTexts: Stored<StressText>;
  /** Of that tokenizer.json. */
  readonly path: string;
  /** Texts by id, as the GGUF holds them: for messages. */
  readonly tokens: TokenTexts;
  /** The path of a GGUF from which llama.cpp loads the vocabulary under a name. */
  readonly vocabularyOf: (name: string) => Promise<string>;
  /** Of node-llama-cpp. */
  readonly root: string;
  /** Folder for temporary files. */
  readonly scratch: string;
  readonly signal?: AbortSignal | undefined;
  readonly onStatus?: ((text: string) => void) | undefined;
}

export interface Trial {
  readonly request: TrialRequest;
  readonly reference: Reference;
  readonly fingerprint: Fingerprint;
  readonly startedMs: number;
  readonly comparisons: Comparison[];
  readonly refused: string[];
  release: string | null;
}

/** @throws AppError those of the worker: `engine-died`, `engine-timeout`, `interrupted` */
export async function startTrial(request: TrialRequest): Promise<Trial> {
  const startedMs = performance.now();
  const { tokenizer, proofTexts: texts, tokens, scratch, onStatus } = request;
  onStatus?.(`Tokenising ${texts.length} texts with Hugging Face's tokenizer`);
  const into = join(scratch, 'hugging-face.bin');
  const { ids, fingerprint } = await huggingFaceTokens(texts, { ...request, into });
  const reference = { tokenizer, texts, ids, tokens };
  return { request, reference, fingerprint, startedMs, comparisons: [], refused: [], release: null };
}

/**
 * Null where this llama.cpp does not load the vocabulary under the name.
 * @param scope `texts`: without the vocabulary's entries
 */
export async function compareAs(trial: Trial, name: string, scope: 'texts' | 'everything'): Promise<Comparison | null> {
  const { request } = trial;
  const { scratch } = request;
  const reference = scope === 'everything' ? trial.reference : withoutEntries(trial.reference);
  const texts =
    scope === 'everything' ? request.proofTexts : storeJsonLines(join(scratch, 'stress-texts.jsonl'), reference.texts);
  request.onStatus?.(`Comparing with llama.cpp as ${name} (${texts.length} texts)`);
  const vocabulary = await request.vocabularyOf(name);
  const ask = async (asked: Stored<StressText>, into: string): Promise<Iterable<Int32Array> | null> => {
    const answer = await llamaCppTokens(asked, { ...request, vocabulary, into: join(scratch, into) });
    trial.release = answer.release;
    return answer.ids;
  };
  const answer = await ask(texts, 'llama-cpp.bin');
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
  readonly answer: Iterable<Int32Array>;
  readonly name: string;
  readonly ask: (texts: Stored<StressText>, into: string) => Promise<Iterable<Int32Array> | null>;
}

/** Groups of entries that differ are compared again, entry by entry. */
async function takenApart(
  { request }: Trial,
  { reference, answer, name, ask }: Answered,
): Promise<Parameters<typeof compareTokens>> {
  const suspects = suspectEntries(reference, answer);
  if (suspects.length === 0) return [reference, name, answer];
  const { scratch } = request;
  const texts = storeJsonLines(join(scratch, 'single-texts.jsonl'), suspects);
  const into = join(scratch, 'hugging-face-single.bin');
  const { ids } = await huggingFaceTokens(texts, { ...request, into });
  const again = await ask(texts, 'llama-cpp-single.bin');
  if (again === null) return [reference, name, answer];
  const single = withSingleEntries(reference, answer, { texts, ids, answer: again });
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
