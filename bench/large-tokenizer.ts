/**
 * A tokenizer.json of Llama 3's shape: 128,256 tokens, 280,147 merges in pairs, its regex and ignore_merges, written as
 * Hugging Face writes it (about 17 MB). The words are made up, from a seed; every merge joins two tokens into a third.
 */
import { createRandom, type Random } from '../src/core/random.ts';

const BASE_COUNT = 128_000;
const SPECIAL_COUNT = 256;
export const TOKEN_COUNT = BASE_COUNT + SPECIAL_COUNT;
export const MERGE_COUNT = 280_147;
const SPACE = 'Ġ';
const LLAMA3 = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

export function largeTokenizerJson(): string {
  const tokens = baseTokens(createRandom('large-tokenizer'));
  const merges = mergesOf(tokens);
  const split = { type: 'Split', pattern: { Regex: LLAMA3 }, behavior: 'Isolated', invert: false };
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  return JSON.stringify(
    {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: Array.from({ length: SPECIAL_COUNT }, (_, i) => ({
        id: BASE_COUNT + i,
        content: specialToken(i),
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      })),
      normalizer: null,
      pre_tokenizer: { type: 'Sequence', pretokenizers: [split, bytes] },
      post_processor: { ...bytes, use_regex: true },
      decoder: { ...bytes, use_regex: true },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: true,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges,
      },
    },
    null,
    2,
  );
}

export const TOKENIZER_CONFIG = {
  tokenizer_class: 'PreTrainedTokenizerFast',
  bos_token: specialToken(0),
  eos_token: specialToken(1),
};

function specialToken(i: number): string {
  return ['<|begin_of_text|>', '<|end_of_text|>'][i] ?? `<|reserved_special_token_${i - 2}|>`;
}

/** Bytes, numbers up to 999, and words of one to three syllables, Latin and Cyrillic (two bytes a letter), with a space and without. */
function baseTokens(random: Random): string[] {
  const latin = syllables('bcdfghjklmnprstvwxyz', 'aeiou');
  const cyrillic = syllables('\u043a\u043d\u0440\u0441\u0442', '\u0430\u0435\u0438\u043e');
  const tokens = new Set([...byteTokens(), ...cyrillic.letters]);
  for (const digits of [1, 2, 3])
    for (let number = 0; number < 10 ** digits; number++) tokens.add(String(number).padStart(digits, '0'));
  for (const { all } of [latin, cyrillic])
    for (const before of ['', SPACE]) {
      for (const first of all) tokens.add(before + first);
      for (const first of all) for (const second of all) tokens.add(before + first + second);
    }
  while (tokens.size < BASE_COUNT) {
    const { all } = random.integer(10) === 0 ? cyrillic : latin;
    const word = Array.from({ length: 3 }, () => all[random.integer(all.length)]).join('');
    tokens.add(word);
    if (tokens.size < BASE_COUNT) tokens.add(SPACE + word);
  }
  return [...tokens];
}

function syllables(consonants: string, vowels: string): { letters: string[]; all: string[] } {
  const [first, second] = [consonants, vowels].map((letters) => Array.from(letters, bytesOf)) as [string[], string[]];
  return { letters: [...first, ...second], all: first.flatMap((start) => second.map((end) => start + end)) };
}

/**
 * All ways to make a token of two others, as the converted Llama 3 has them, until there are enough: the longest left part
 * first.
 */
function mergesOf(tokens: readonly string[]): [string, string][] {
  const known = new Set(tokens);
  const merges = tokens.flatMap((token) =>
    Array.from({ length: token.length - 1 }, (_, i): [string, string] => [token.slice(0, i + 1), token.slice(i + 1)])
      .filter(([left, right]) => known.has(left) && known.has(right))
      .reverse(),
  );
  if (merges.length < MERGE_COUNT) throw new Error(`only ${merges.length} merges`);
  return merges.slice(0, MERGE_COUNT);
}

function bytesOf(text: string): string {
  return Array.from(Buffer.from(text, 'utf8'), (byte) => byteTokens()[byte]).join('');
}

/** GPT-2's alphabet, in the order of the bytes. */
function byteTokens(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const prints = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCodePoint(prints ? byte : next++);
  });
}
