/**
 * Pre-tokenizer regexes by `tokenizer.ggml.pre`: a GGUF names its pre-tokenizer but does not contain it.
 *
 * The patterns are those of the models' own tokenizer.json files. Each is applied to what the previous one left, matches and
 * gaps both kept ("Isolated"). For names that are not listed here, llama.cpp's own rules are taken.
 */

import { familyOf } from './derive-pre-tokenizer.ts';

export interface PreTokenizer {
  readonly patterns: readonly string[];
  /** A word that is a token as a whole is taken without looking at the merges. */
  readonly ignoreMerges: boolean;
  /** The original normalises to NFC; llama.cpp does not: they differ on text that is not NFC. */
  readonly normalizesToNfc: boolean;
  /** Set where the name stands for more than one tokenizer. */
  readonly warning?: string;
}

const GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;
const SUFFIXES = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)`;
const NUMBERS_OF_3 = String.raw`${SUFFIXES}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const NUMBERS_OF_1 = NUMBERS_OF_3.replace('{1,3}', '');
const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const NOT_WORD = String.raw`[^\r\n\p{L}\p{N}]?`;
const REST = String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const GPT4O = String.raw`${NOT_WORD}${UPPER}*${LOWER}+${SUFFIXES}?|${NOT_WORD}${UPPER}+${LOWER}*${SUFFIXES}?|\p{N}{1,3}|${REST}`;
const TEKKEN = String.raw`${NOT_WORD}${UPPER}*${LOWER}+|${NOT_WORD}${UPPER}+${LOWER}*|\p{N}|${REST}`;

const PLAIN = { ignoreMerges: false, normalizesToNfc: false } as const;
const SMOLLM: PreTokenizer = { ...PLAIN, patterns: [String.raw`\p{N}`, GPT2] };
const GPT2_ALONE: PreTokenizer = { ...PLAIN, patterns: [GPT2] };
const LLAMA3: PreTokenizer = { patterns: [NUMBERS_OF_3], ignoreMerges: true, normalizesToNfc: false };
const QWEN2: PreTokenizer = { patterns: [NUMBERS_OF_1], ignoreMerges: false, normalizesToNfc: true };

/** llama.cpp's fallback for files older than the key (May 2024); most of those were made from GPT-2-like tokenizers. */
const DEFAULT: PreTokenizer = {
  ...PLAIN,
  patterns: [String.raw`[\p{P}\$\+<=>\^~\|]+`, GPT2, String.raw`\p{N}+`, '[0-9][0-9][0-9]'],
  warning:
    'The file names no particular pre-tokenizer; llama.cpp falls back to a general one, and so do we. The original tokenizer may differ.',
};

const BY_NAME: Readonly<Record<string, PreTokenizer>> = {
  smollm: SMOLLM,
  starcoder: SMOLLM,
  refact: SMOLLM,
  'gpt-2': GPT2_ALONE,
  'phi-2': GPT2_ALONE,
  'llama-bpe': LLAMA3,
  'llama-v3': LLAMA3,
  llama3: LLAMA3,
  qwen2: QWEN2,
  'deepseek-r1-qwen': { ...QWEN2, normalizesToNfc: false },
  'gpt-4o': { ...PLAIN, patterns: [GPT4O] },
  llama4: { ...PLAIN, patterns: [GPT4O] },
  tekken: { patterns: [TEKKEN], ignoreMerges: true, normalizesToNfc: false },
  default: DEFAULT,
};

/** Rules that llama.cpp carries out by code of its own: no regex of tokenizer.json says the same. */
const BEYOND_REGEXES: readonly string[] = ['kimi-k2', 'afmoe', 'superbpe'];

/** Of the other names, the rules that llama.cpp applies: they decide how the file tokenises there. */
function tableRules(name: string): PreTokenizer | null {
  const found = familyOf(name);
  if (found === null || found.rules.byteLevel === false || BEYOND_REGEXES.includes(name)) return null;
  const { rules, family } = found;
  return { patterns: rules.patterns, ignoreMerges: family.ignoreMerges ?? false, normalizesToNfc: false };
}

/** Unknown names get GPT-2's and a warning: weights do not depend on it, prompts do. */
export function preTokenizer(name: string | null): PreTokenizer {
  if (name === null) return DEFAULT;
  const known = Object.hasOwn(BY_NAME, name) ? BY_NAME[name] : undefined;
  return (
    known ??
    tableRules(name) ?? {
      ...GPT2_ALONE,
      warning: `The pre-tokenizer ${name} is not known to this program; token ids of text may differ from the model's own.`,
    }
  );
}
