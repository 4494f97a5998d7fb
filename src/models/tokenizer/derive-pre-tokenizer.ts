/** Which of llama.cpp's pre-tokenizers a tokenizer.json describes, judged by its rules alone. The proof comes after. */
import { isRecord, recordsIn, textIn, type JsonRecord } from './json-values.ts';
import {
  GPT2,
  PRE_TOKENIZER_RULES,
  type PreTokenizerFamily,
  type PreTokenizerRules,
} from './llama-cpp-pre-tokenizers.ts';
import type { TokenizerRules } from './tokenizer-files.ts';

export interface PreTokenizerCandidate {
  readonly name: string;
  readonly rules: PreTokenizerRules;
  readonly family: PreTokenizerFamily;
  /** The regexes are those of the file, spelling aside. */
  readonly sameRules: boolean;
  /** ignore_merges is that of the file. */
  readonly sameMerging: boolean;
}

export interface SplitRules {
  /** The file's regexes, byte-level's own included, in llama.cpp's manner. */
  readonly patterns: readonly string[];
  /** Steps that llama.cpp's pre-tokenizers have no word for, e.g. `Whitespace`. */
  readonly foreign: readonly string[];
}

/** Names by `tokenizer.ggml.pre`. */
export function familyOf(name: string): { rules: PreTokenizerRules; family: PreTokenizerFamily } | null {
  for (const rules of PRE_TOKENIZER_RULES) {
    const family = rules.families.find(({ names }) => names.includes(name));
    if (family !== undefined) return { rules, family };
  }
  return null;
}

/** `default` is llama.cpp's way out for old files; it is never proposed, only proved when asked for. */
export function allCandidates(tokenizer: TokenizerRules): PreTokenizerCandidate[] {
  const { patterns, foreign } = splitRules(tokenizer.preTokenizer);
  const wanted = patterns.map(canonicalPattern).join('\n');
  const candidates = PRE_TOKENIZER_RULES.flatMap((rules) =>
    rules.families.map((family) => ({
      name: family.names[0] as string,
      rules,
      family,
      sameRules:
        foreign.length === 0 && rules.byteLevel !== false && rules.patterns.map(canonicalPattern).join('\n') === wanted,
      sameMerging: (family.ignoreMerges ?? false) === tokenizer.ignoreMerges,
    })),
  );
  return candidates.filter(({ name }) => name !== 'default');
}

/** Those with the file's own rules, the best first: at most one with and one without its ignore_merges. */
export function derivedCandidates(tokenizer: TokenizerRules, knownName: string | null): PreTokenizerCandidate[] {
  const isKnown = ({ names }: PreTokenizerFamily): boolean => knownName !== null && names.includes(knownName);
  const same = allCandidates(tokenizer).filter(({ sameRules }) => sameRules);
  const best = [true, false].flatMap((merging) => {
    const group = same.filter(({ sameMerging }) => sameMerging === merging);
    const one = group.find(({ family }) => isKnown(family)) ?? group[0];
    return one === undefined ? [] : [one];
  });
  return best.map((one) => (knownName !== null && isKnown(one.family) ? { ...one, name: knownName } : one));
}

/** A tokenizer.json's pre_tokenizer as a list of regexes. */
export function splitRules(preTokenizer: JsonRecord | null): SplitRules {
  const patterns: string[] = [];
  const foreign: string[] = [];
  const visit = (step: JsonRecord): void => {
    if (step['type'] === 'Sequence') {
      recordsIn(step, 'pretokenizers').forEach(visit);
      return;
    }
    const pattern = stepPattern(step);
    if (typeof pattern === 'string') patterns.push(pattern);
    else if (pattern === null) foreign.push(String(step['type']).slice(0, 40));
  };
  if (preTokenizer !== null) visit(preTokenizer);
  return { patterns, foreign };
}

/** Null: nothing that llama.cpp has; undefined: a step that cuts nothing. */
function stepPattern(step: JsonRecord): string | null | undefined {
  switch (step['type']) {
    case 'ByteLevel':
      if (step['add_prefix_space'] === true) return null;
      return step['use_regex'] === false ? undefined : GPT2;
    case 'Split':
      return splitPattern(step);
    case 'Digits':
      return step['individual_digits'] === true ? String.raw`\p{N}` : String.raw`\p{N}+`;
    case 'Punctuation':
      return punctuationPattern(step['behavior']);
    default:
      return null;
  }
}

/** Matches are kept as pieces of their own; what is `Removed` around them is nothing where the regex covers every text. */
function splitPattern(step: JsonRecord): string | null {
  const pattern = isRecord(step['pattern']) ? step['pattern'] : {};
  const regex = textIn(pattern, 'Regex');
  const plain = textIn(pattern, 'String');
  const isolates = step['behavior'] === 'Isolated' || (step['behavior'] === 'Removed' && step['invert'] === true);
  if (!isolates) return null;
  if (regex !== null) return regex;
  return plain === null ? null : plain.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`);
}

function punctuationPattern(behavior: unknown): string | null {
  if (behavior === 'Isolated' || behavior === undefined) return String.raw`[\p{P}!-/:-@\[-${'`'}{-~]`;
  // The characters that \p{P} lacks are spelled out in the manner of llama.cpp's rules for Falcon.
  return behavior === 'Contiguous' ? String.raw`[\p{P}\$\+<=>\^~\|${'`'}]+` : null;
}

const SPELLED_CONTROL: Readonly<Record<string, string>> = {
  '\r': String.raw`\r`,
  '\n': String.raw`\n`,
  '\t': String.raw`\t`,
};

/**
 * One spelling, which JavaScript can run, for regexes that mean the same: `(?i:'s)` and `(?:'[sS])`, characters and their escapes, possessive and
 * greedy quantifiers (no alternative here can gain from giving back), a last `|\s+`, which only names what is left over.
 */
export function canonicalPattern(pattern: string): string {
  return pattern
    .replaceAll(
      /\\u\{([0-9a-fA-F]{1,6})\}|\\x\{([0-9a-fA-F]{1,6})\}|\\u([0-9a-fA-F]{4})/g,
      (all: string, a?: string, b?: string, c?: string) => {
        const code = Number.parseInt(a ?? b ?? c ?? '', 16);
        return code <= 0x10ffff ? String.fromCodePoint(code) : all;
      },
    )
    .replaceAll(/[\r\n\t]/g, (character) => SPELLED_CONTROL[character] ?? character)
    .replaceAll(/\(\?i:((?:[^()[\]]|\[[a-z]+\])*)\)/g, (_, inner: string) => `(?:${bothCases(inner)})`)
    .replaceAll(/(?<!\\)([?+*]|\{\d+,?\d*\})\+/g, '$1')
    .replaceAll('{1}', '')
    .replaceAll(/\\([/"'`~<>=!%&,:;@#_])/g, '$1')
    .replaceAll(/\[(\\p\{[A-Za-z]+\})\]/g, '$1')
    .replaceAll('(?:', '(')
    .replace(/(\\s\+\(\?!\\S\))\|\\s\+$/, '$1');
}

/** `[sd]|ll` as `[sSdD]|[lL][lL]`. */
function bothCases(text: string): string {
  return text.replaceAll(/\[([a-z]+)\]|[a-z]+/g, (letters, group?: string) =>
    group === undefined
      ? Array.from(letters, (letter) => `[${letter}${letter.toUpperCase()}]`).join('')
      : `[${Array.from(group, (letter) => letter + letter.toUpperCase()).join('')}]`,
  );
}
