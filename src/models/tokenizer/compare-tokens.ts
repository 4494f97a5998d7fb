/** The same texts through Hugging Face's tokenizer and llama.cpp's: where do the ids differ, and is there a known reason? */
import { AppError } from '../../core/errors.ts';
import { byteLevelText } from './byte-level.ts';
import { recordsIn, type JsonRecord } from './json-values.ts';
import { stressCorpus, type StressText } from './stress-corpus.ts';
import { counted, lazily, type Counted } from './token-lists.ts';
import type { TokenizerJsonFile, TokenizerRules } from './tokenizer-files.ts';

/** Enough to see whether added tokens are cut out of the text; a Llama 3 file has 256 alike. */
const ADDED_SHOWN_MAX = 40;
/** Differences that are told in full. */
const EXAMPLES_MAX = 10;

export interface Difference {
  readonly kind: string;
  readonly text: string;
  readonly huggingFace: readonly string[];
  readonly llamaCpp: readonly string[];
}

export interface Comparison {
  readonly name: string;
  /** Of the stress corpus, and of the vocabulary's own entries. */
  readonly textCount: number;
  readonly entryCount: number;
  readonly differenceCount: number;
  /** Among the stress texts alone: their share is the error rate. */
  readonly textDifferenceCount: number;
  /**
   * Texts that the file normalises first, e.g. to NFC, and llama.cpp does not: the ids of the normalised text agree.
   * A limit of the format, not of the pre-tokenizer.
   */
  readonly normalizationCount: number;
  readonly byKind: Readonly<Record<string, number>>;
  readonly examples: readonly Difference[];
}

/** Texts of tokens by id. */
export interface TokenTexts {
  at(id: number): string | undefined;
}

/** What Hugging Face's tokenizer makes of the texts. Both may lie in files: they are gone through, never collected. */
export interface Reference {
  readonly tokenizer: Pick<TokenizerRules, 'normalizer'>;
  readonly texts: Counted<StressText>;
  readonly ids: Iterable<Int32Array>;
  /** By id, as the GGUF holds them: for messages. */
  readonly tokens: TokenTexts;
}

type UnicodeForm = 'NFC' | 'NFD' | 'NFKC' | 'NFKD';

/**
 * The texts to compare: the stress corpus, texts with added tokens, and every decoded entry of the vocabulary. Where the
 * file asks for a Unicode form, the normalised twin of each text too, so that a difference can be explained.
 */
export function proofTexts(tokenizer: TokenizerJsonFile): StressText[] {
  const texts = [...stressCorpus(), ...addedTexts(tokenizer), ...entryTexts(tokenizer)];
  const form = unicodeForm(tokenizer.normalizer);
  if (form === null) return texts;
  const twins = texts
    .map(({ text, kind }) => ({ twin: text.normalize(form), text, kind }))
    .filter(({ twin, text }) => twin !== text);
  return [...texts, ...twins.map(({ twin, kind }) => ({ kind: kind === ADDED ? TWIN_WITH_ADDED : TWIN, text: twin }))];
}

const ADDED = 'added tokens';
const ENTRY = 'vocabulary';
const TWIN = 'twin';
const TWIN_WITH_ADDED = 'twin with added tokens';

/** llama.cpp takes control tokens in it as such; Hugging Face's tokenizer always does. */
export function holdsSpecialTokens({ kind }: StressText): boolean {
  return kind === ADDED || kind === TWIN_WITH_ADDED;
}

/**
 * Tokens that are cut out as they stand. By design both differ on what trims or demands spaces around it (lstrip,
 * single_word), and on the mark ▁, which a GGUF's added tokens hold as the space that it stands for.
 */
function addedTexts({ raw }: TokenizerJsonFile): StressText[] {
  const plain = recordsIn(raw, 'added_tokens').filter(
    ({ content, lstrip, rstrip, single_word: singleWord }) =>
      lstrip !== true && rstrip !== true && singleWord !== true && !String(content).includes('▁'),
  );
  const step = Math.max(1, Math.ceil(plain.length / ADDED_SHOWN_MAX));
  return plain.flatMap(({ content }, i) =>
    typeof content !== 'string' || i % step !== 0
      ? []
      : [content, `a${content}b`, `${content} c`, `1 ${content}${content}`].map((text) => ({
          kind: ADDED,
          text,
        })),
  );
}

/**
 * Every entry as text: only that shows a wrong ignore_merges, since running text seldom holds the words in question.
 * Plain words go several at once, a line each: llama.cpp compiles its regexes anew for every text, which for DeepSeek's took
 * two minutes instead of ten seconds. A group that differs is taken apart afterwards.
 */
function entryTexts({
  vocabulary,
  addedTokens,
  byteFallback,
  preTokenizer,
  decoder,
  normalizer,
}: TokenizerJsonFile): StressText[] {
  const added = new Set(addedTokens.map(({ content }) => content));
  const parts = [preTokenizer, decoder];
  const isByteLevel = parts.some((part) => part !== null && JSON.stringify(part).includes('"ByteLevel"'));
  const form = unicodeForm(normalizer);
  const alone: string[] = [];
  const words: string[] = [];
  for (const token of vocabulary.keys()) {
    if (added.has(token) || (byteFallback && /^<0x[0-9A-F]{2}>$/i.test(token))) continue;
    const text = isByteLevel ? byteLevelText(token) : token.replaceAll('▁', ' ');
    if (text === null || text === '' || /\p{Cn}/u.test(text)) continue;
    const isWord = isByteLevel && PLAIN_WORD.test(text) && (form === null || text.normalize(form) === text);
    (isWord ? words : alone).push(text);
  }
  const groups = Array.from({ length: Math.ceil(words.length / GROUP_ENTRIES) }, (_, i) =>
    words.slice(i * GROUP_ENTRIES, (i + 1) * GROUP_ENTRIES),
  );
  return [...alone.map(entryText), ...groups.map((entries) => ({ kind: ENTRY, text: entries.join('\n'), entries }))];
}

/** What a line break beside it does not change. */
const PLAIN_WORD = /^ ?[\p{L}\p{M}\p{N}]+$/u;
const GROUP_ENTRIES = 32;

function entryText(text: string): StressText {
  return { kind: ENTRY, text };
}

/** One text with the ids of both. */
interface Compared {
  readonly text: StressText;
  readonly ids: Int32Array;
  readonly other: Int32Array;
  readonly isSame: boolean;
}

function* paired({ texts, ids }: Pick<Reference, 'texts' | 'ids'>, answer: Iterable<Int32Array>): Generator<Compared> {
  const [own, others] = [Iterator.from(ids), Iterator.from(answer)];
  try {
    for (const text of texts) {
      const [mine, theirs] = [nextList(own), nextList(others)];
      yield { text, ids: mine, other: theirs, isSame: sameIds(mine, theirs) };
    }
    if (own.next().done !== true || others.next().done !== true) throw unevenLists();
  } finally {
    own.return?.();
    others.return?.();
  }
}

/** A text without an answer must not pass for one with the same. @throws AppError `engine-died` */
function nextList(lists: Iterator<Int32Array>): Int32Array {
  const next = lists.next();
  if (next.done === true) throw unevenLists();
  return next.value;
}

function unevenLists(): AppError {
  return new AppError('engine-died', 'A tokenizer did not answer each text once.', {
    hint: 'Check that the disk for temporary files has room, then try again.',
  });
}

/** The entries of groups that differ, to be compared one by one. */
export function suspectEntries(reference: Reference, answer: Iterable<Int32Array>): StressText[] {
  const suspects: StressText[] = [];
  for (const { text, isSame } of paired(reference, answer))
    if (!isSame) suspects.push(...(text.entries ?? []).map(entryText));
  return suspects;
}

/** Puts the single entries in place of their groups; a group stays where none of its entries differs alone. */
export function withSingleEntries(
  reference: Reference,
  answer: Iterable<Int32Array>,
  single: {
    readonly texts: Counted<StressText>;
    readonly ids: Iterable<Int32Array>;
    readonly answer: Iterable<Int32Array>;
  },
): { reference: Reference; answer: Iterable<Int32Array> } {
  const differs = new Set<string>();
  for (const { text, isSame } of paired(single, single.answer)) if (!isSame) differs.add(text.text);
  const replaced = new Set<string>();
  const dropped = new Set<number>();
  let at = 0;
  for (const { text, isSame } of paired(reference, answer)) {
    if (!isSame && text.entries?.some((entry) => differs.has(entry)) === true) {
      dropped.add(at);
      for (const entry of text.entries) replaced.add(entry);
    }
    at++;
  }
  const added = new Set<number>();
  at = 0;
  for (const { text } of single.texts) {
    if (replaced.has(text)) added.add(at);
    at++;
  }
  const both = <T>(all: Iterable<T>, singles: Iterable<T>): Iterable<T> =>
    lazily(function* () {
      yield* Iterator.from(all).filter((_, i) => !dropped.has(i));
      yield* Iterator.from(singles).filter((_, i) => added.has(i));
    });
  const length = reference.texts.length - dropped.size + added.size;
  return {
    reference: {
      ...reference,
      texts: counted(length, both(reference.texts, single.texts)),
      ids: both(reference.ids, single.ids),
    },
    answer: both(answer, single.answer),
  };
}

/** Null also where more than a Unicode form is asked for: then no twin explains a difference. */
function unicodeForm(normalizer: JsonRecord | null): UnicodeForm | null {
  if (normalizer === null) return null;
  const steps = normalizer['type'] === 'Sequence' ? recordsIn(normalizer, 'normalizers') : [normalizer];
  const [step] = steps;
  const forms: readonly UnicodeForm[] = ['NFC', 'NFD', 'NFKC', 'NFKD'];
  return steps.length === 1 ? (forms.find((form) => form === step?.['type']) ?? null) : null;
}

/** @param answer llama.cpp's ids of the same texts, under the pre-tokenizer `name` */
export function compareTokens(reference: Reference, name: string, answer: Iterable<Int32Array>): Comparison {
  const isExplained = explainer(reference, answer);
  const words = (list: Int32Array): string[] => Array.from(list, (id) => reference.tokens.at(id) ?? `<${id}>`);
  const counts = { textCount: 0, entryCount: 0, differenceCount: 0, textDifferenceCount: 0, normalizationCount: 0 };
  const byKind: Record<string, number> = {};
  const examples: Difference[] = [];
  for (const { text, ids, other, isSame } of paired(reference, answer)) {
    const { kind } = text;
    if (isTwin(kind)) continue;
    counts[kind === ENTRY ? 'entryCount' : 'textCount'] += text.entries?.length ?? 1;
    if (isSame) continue;
    if (isExplained(text.text)) {
      counts.normalizationCount++;
      continue;
    }
    counts.differenceCount++;
    if (kind !== ENTRY) counts.textDifferenceCount++;
    byKind[kind] = (byKind[kind] ?? 0) + 1;
    if (examples.length < EXAMPLES_MAX)
      examples.push({ kind, text: text.text, huggingFace: words(ids), llamaCpp: words(other) });
  }
  return { name, ...counts, byKind, examples };
}

/** A text is explained where its normalised twin has the same ids in both. */
function explainer(reference: Reference, answer: Iterable<Int32Array>): (text: string) => boolean {
  const form = unicodeForm(reference.tokenizer.normalizer);
  if (form === null) return () => false;
  const agreeing = new Set<string>();
  for (const { text, isSame } of paired(reference, answer)) if (isSame && isTwin(text.kind)) agreeing.add(text.text);
  return (text) => text.normalize(form) !== text && agreeing.has(text.normalize(form));
}

/** For a first look: the stress texts alone. */
export function withoutEntries(reference: Reference): Reference {
  const { texts, ids } = reference;
  const kept = lazily(() => Iterator.from(texts).filter(({ kind }) => kind !== ENTRY));
  const keptIds = lazily(function* () {
    for (const { text, ids: own } of paired(reference, ids)) if (text.kind !== ENTRY) yield own;
  });
  const length = Iterator.from(kept).reduce((count) => count + 1, 0);
  return { ...reference, texts: counted(length, kept), ids: keptIds };
}

function isTwin(kind: string): boolean {
  return kind === TWIN || kind === TWIN_WITH_ADDED;
}

function sameIds(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}
