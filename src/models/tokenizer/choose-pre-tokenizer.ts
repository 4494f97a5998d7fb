/**
 * Which name goes into `tokenizer.ggml.pre`: candidates by the file's own rules, then the proof. The same thousands of texts
 * and the whole vocabulary go through Hugging Face's tokenizer and through llama.cpp under each name; the one without a
 * difference is taken. Nothing is taken silently: without such a name the answer is an error that says what differs.
 */
import { join } from 'node:path';
import { assert } from '../../core/assert.ts';
import { AppError } from '../../core/errors.ts';
import { allCandidates, derivedCandidates, familyOf, splitRules } from './derive-pre-tokenizer.ts';
import type { PreparedDraft } from './prepare-draft.ts';
import { huggingFaceFingerprint, rankByFile } from './hugging-face-tokenizer.ts';
import { PRE_TOKENIZER_RULES } from './llama-cpp-pre-tokenizers.ts';
import { referenceName } from './reference-name.ts';
import type { StressText } from './stress-corpus.ts';
import type { Stored } from './token-lists.ts';
import type { TokenizerRules, TokenizerSummary } from './tokenizer-files.ts';
import { compareAs, proofNotRun, proofOf, startTrial, type LlamaCppPlace, type Proof, type Trial } from './trial.ts';
import { unknownPreTokenizer } from './unknown-pre-tokenizer.ts';

/** Where no rules are the same: how many of the nearest are tried. Each costs a run over the whole corpus. */
const NEAREST_MAX = 3;

export interface ChoiceRequest {
  readonly files: TokenizerSummary;
  readonly draft: PreparedDraft;
  /** What is compared; empty without a tokenizer.json. */
  readonly proofTexts: Stored<StressText>;
  /** Folder for temporary files. */
  readonly scratch: string;
  readonly preTokenizer: string | null;
  readonly llamaCpp: LlamaCppPlace;
  readonly strict: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onStatus?: ((text: string) => void) | undefined;
}

export interface Choice {
  readonly preTokenizer: string;
  /**
   * `given` by the user; `rules`: the file's own are those of the name; `nearest`: found by tokenising, the rules are spelled
   * differently; `none`: SentencePiece and Unigram need none.
   */
  readonly origin: 'given' | 'rules' | 'nearest' | 'none';
  readonly proof: Proof;
}

/** @throws AppError `tokenizer-unknown`, `usage` for a name that llama.cpp does not have, and those of the two tokenizers */
export async function choosePreTokenizer(request: ChoiceRequest): Promise<Choice> {
  const { files, draft, preTokenizer: given } = request;
  if (given !== null) assertName(given, draft);
  const choice = draft.kind === 'pieces' ? await provePieces(request) : await chooseName(request);
  if (request.strict && choice.proof.state !== 'proven') throw unproved(files.folder, choice);
  return choice;
}

function assertName(name: string, { kind }: PreparedDraft): void {
  if (kind === 'pieces') {
    throw new AppError('usage', 'SentencePiece and Unigram tokenizers have no pre-tokenizer to choose.', {
      hint: 'Leave --pre-tokenizer out.',
    });
  }
  if (familyOf(name) !== null) return;
  throw new AppError('usage', `${name} is not a pre-tokenizer that llama.cpp knows.`, {
    hint: 'Names are those of tokenizer.ggml.pre, e.g. llama-bpe, qwen2, gpt-2, smollm, deepseek-v3, gpt-4o, tekken.',
  });
}

function unproved(folder: string, { preTokenizer, proof }: Choice): AppError {
  const why = proof.state === 'not-run' ? `it was not compared: ${proof.reason ?? ''}` : 'it differs from the original';
  return new AppError('tokenizer-unknown', `${folder}: the pre-tokenizer ${preTokenizer} is not proved; ${why}.`, {
    hint: 'Install what the proof needs (runoff engines install llama-cpp), or leave --strict out.',
  });
}

async function provePieces(request: ChoiceRequest): Promise<Choice> {
  const choice = { preTokenizer: 'default', origin: 'none' } as const;
  const { tokenizerJson, folder } = request.files;
  if (tokenizerJson === null)
    return { ...choice, proof: proofNotRun(`${folder} has no tokenizer.json to compare with`) };
  if (request.llamaCpp.root === null) return { ...choice, proof: proofNotRun(request.llamaCpp.reason) };
  const trial = await trialOf(request, tokenizerJson, request.llamaCpp.root);
  const comparison = await compareAs(trial, 'default', 'everything');
  return { ...choice, proof: proofOf(trial, comparison) };
}

async function chooseName(request: ChoiceRequest): Promise<Choice> {
  const { files, preTokenizer: given, llamaCpp } = request;
  const tokenizer = files.tokenizerJson;
  assert(tokenizer !== null, 'byte-level tokenizers come from tokenizer.json');
  if (llamaCpp.root === null) return withoutProof(request, tokenizer, llamaCpp.reason);
  const trial = await trialOf(request, tokenizer, llamaCpp.root);
  if (given !== null) {
    const comparison = await compareAs(trial, given, 'everything');
    return { preTokenizer: given, origin: 'given', proof: proofOf(trial, comparison) };
  }
  const candidates = derivedCandidates(tokenizer, referenceName(files, { tokenizer, ...trial.fingerprint }));
  for (const { name } of candidates) {
    const comparison = await compareAs(trial, name, 'everything');
    if (comparison?.differenceCount === 0)
      return { preTokenizer: name, origin: 'rules', proof: proofOf(trial, comparison) };
  }
  // Nothing is nearer than the same rules: where llama.cpp carries those out differently, no other name does better.
  const others = trial.comparisons.length > 0 ? [] : await nearestNames(trial);
  for (const name of others) {
    const first = await compareAs(trial, name, 'texts');
    const comparison = first?.differenceCount === 0 ? await compareAs(trial, name, 'everything') : null;
    if (comparison?.differenceCount === 0)
      return { preTokenizer: name, origin: 'nearest', proof: proofOf(trial, comparison) };
  }
  throw unknownPreTokenizer(files.folder, splitRules(tokenizer.preTokenizer), trial.comparisons);
}

/** By the rules alone; said to be so in the result. */
async function withoutProof(
  { files, preTokenizer: given, signal }: ChoiceRequest,
  tokenizer: TokenizerRules,
  reason: string,
): Promise<Choice> {
  if (given !== null) return { preTokenizer: given, origin: 'given', proof: proofNotRun(reason) };
  const fingerprint = await huggingFaceFingerprint({ path: pathOf(files), signal });
  const known = referenceName(files, { tokenizer, ...fingerprint });
  const name = derivedCandidates(tokenizer, known)[0]?.name;
  if (name === undefined) throw unknownPreTokenizer(files.folder, splitRules(tokenizer.preTokenizer), []);
  return { preTokenizer: name, origin: 'rules', proof: proofNotRun(reason) };
}

function trialOf(
  { files, draft, proofTexts, scratch, signal, onStatus }: ChoiceRequest,
  tokenizer: TokenizerRules,
  root: string,
): Promise<Trial> {
  return startTrial({
    tokenizer,
    proofTexts,
    path: pathOf(files),
    tokens: draft.tokens,
    vocabularyOf: (name) => draft.writeVocabulary(name),
    root,
    scratch,
    signal,
    onStatus,
  });
}

function pathOf({ folder }: TokenizerSummary): string {
  return join(folder, 'tokenizer.json');
}

/** Those of the nearest rules that were not tried; the one with the file's ignore_merges stands for its rules. */
async function nearestNames({ request, comparisons, refused }: Trial): Promise<string[]> {
  const { tokenizer, onStatus } = request;
  onStatus?.('Looking for the nearest pre-tokenizer');
  const order = await rankByFile(request);
  const tried = [...comparisons.map(({ name }) => name), ...refused];
  const candidates = allCandidates(tokenizer);
  return order
    .flatMap((place) => {
      const group = candidates.filter(
        ({ rules, name }) => rules === PRE_TOKENIZER_RULES[place] && !tried.includes(name),
      );
      const one = group.find(({ sameMerging }) => sameMerging) ?? group[0];
      return one === undefined || one.rules.byteLevel === false ? [] : [one.name];
    })
    .slice(0, NEAREST_MAX);
}
