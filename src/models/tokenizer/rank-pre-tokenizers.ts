/** Which of llama.cpp's pre-tokenizers cut texts most like a file's own rules, judged by regexes alone: no vocabulary needed. */
import { isRecord } from './json-values.ts';
import { canonicalPattern, splitRules } from './derive-pre-tokenizer.ts';
import { PRE_TOKENIZER_RULES } from './llama-cpp-pre-tokenizers.ts';
import { stressCorpus } from './stress-corpus.ts';

/** Every n-th stress text: an order is wanted here, not a proof. */
const STEP = 5;

/** Places in PRE_TOKENIZER_RULES, the nearest first; rules whose regexes JavaScript does not know come last. */
export function rankRules(preTokenizer: unknown): number[] {
  const own = compileAll(splitRules(isRecord(preTokenizer) ? preTokenizer : null).patterns);
  const texts = stressCorpus().flatMap(({ text }, i) => (i % STEP === 0 ? [text] : []));
  const wanted = own === null ? null : texts.map((text) => cut(text, own).join('\u0000'));
  const ranked = PRE_TOKENIZER_RULES.map(({ patterns, byteLevel }, place) => {
    const compiled = byteLevel === false ? null : compileAll(patterns);
    const wrong =
      compiled === null || wanted === null
        ? texts.length
        : texts.filter((text, i) => cut(text, compiled).join('\u0000') !== wanted[i]).length;
    return { place, wrong };
  });
  return ranked.toSorted((a, b) => a.wrong - b.wrong || a.place - b.place).map(({ place }) => place);
}

/** Null where one of them is beyond JavaScript. */
function compileAll(patterns: readonly string[]): RegExp[] | null {
  try {
    return patterns.map((pattern) => new RegExp(portable(pattern), 'gu'));
  } catch {
    return null;
  }
}

function portable(pattern: string): string {
  return canonicalPattern(pattern).replaceAll(String.raw`\p{Han}`, String.raw`\p{Script=Han}`);
}

/** Pieces as llama.cpp cuts them: each regex within the pieces of the one before, matches and gaps both kept. */
function cut(text: string, patterns: readonly RegExp[]): string[] {
  return patterns.reduce<string[]>((pieces, pattern) => pieces.flatMap((piece) => cutOne(piece, pattern)), [text]);
}

function cutOne(text: string, pattern: RegExp): string[] {
  const pieces: string[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) pieces.push(text.slice(end, match.index));
    if (match[0] !== '') pieces.push(match[0]);
    end = match.index + match[0].length;
  }
  if (end < text.length) pieces.push(text.slice(end));
  return pieces;
}
