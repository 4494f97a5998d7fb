/** The vocabulary of a twin: another model's own, or a declared stand-in of the exact size. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AppError, type ErrorCode } from '../../core/errors.ts';
import { EncodedStrings } from '../gguf/encoded-strings.ts';
import { stringsOf, textOf, type EncodedArray, type GgufValue, type WritableMetadata } from '../gguf/metadata.ts';
import { TOKEN_TYPE } from '../gguf/vocabulary.ts';
import { text, u32 } from './metadata.ts';

export interface TwinVocabulary {
  /** The `tokenizer.*` entries of the header. */
  readonly entries: WritableMetadata;
  /** Where it comes from, in words. */
  readonly label: string;
  /** Why it is a stand-in; null where it is a model's own. */
  readonly standInBecause: string | null;
}

const PREFIX = 'tokenizer.';
const PER_TOKEN = ['tokens', 'scores', 'token_type'] as const;

/**
 * The tokenizer of a GGUF, brought to `size` tokens: as the converter does, the rest is filled with unused tokens.
 * Rejects with `model-unsupported` where the file has no tokenizer or one that is larger.
 */
export async function vocabularyOfGguf(path: string, size: number): Promise<TwinVocabulary> {
  // Loaded for such a source only.
  const { readGgufHeader } = await import('../gguf/read-header.ts');
  const { metadata } = await readGgufHeader(path);
  const tokens = stringsOf(metadata, 'tokenizer.ggml.tokens');
  if (tokens === null) {
    throw new AppError('model-unsupported', `${path} contains no tokenizer`, {
      hint: 'Leave out --tokenizer for a stand-in of the right size.',
    });
  }
  if (tokens.length > size) {
    throw new AppError(
      'model-unsupported',
      `the tokenizer of ${path} has ${tokens.length} tokens, the model's vocabulary ${size}`,
      { hint: 'Name a tokenizer of the same model family, or leave out --tokenizer for a stand-in of the right size.' },
    );
  }
  const entries = [...metadata].filter(([key]) => key.startsWith(PREFIX));
  const name = textOf(metadata, 'general.name') ?? 'an unnamed model';
  const padding = size - tokens.length;
  const label = `of ${name}${padding === 0 ? '' : `, ${padding} unused tokens added`}`;
  return {
    entries: new Map(entries.map(([key, value]) => [key, padded(key, value, tokens.length, size)])),
    label,
    standInBecause: null,
  };
}

/** What a tokenizer that cannot be used ends with: a stand-in then does the same work for an engine. */
const UNUSABLE: readonly ErrorCode[] = ['tokenizer-unknown', 'model-invalid', 'model-unsupported', 'model-not-found'];
/** Of the reason in a label. */
const REASON_CHARACTERS_MAX = 200;

/**
 * The tokenizer of Hugging Face's files in a folder, its pre-tokenizer by the rules in them (what `models convert` proves is
 * of no concern for speed); a stand-in that says why where there is none, or none that GGUF can express.
 */
export async function vocabularyOfFolder(folder: string, size: number, signal?: AbortSignal): Promise<TwinVocabulary> {
  if (!existsSync(join(folder, 'tokenizer.json')) && !existsSync(join(folder, 'tokenizer.model')))
    return standInVocabulary(size);
  try {
    // Loaded for this source only: it brings Hugging Face's tokenizer with it.
    const { tokenizerMetadata } = await import('../tokenizer/to-gguf.ts');
    const llamaCpp = { root: null, reason: 'a twin needs no proof' };
    const options = { preTokenizer: null, vocabularySize: size, llamaCpp, strict: false, signal };
    const { metadata, tokenCount, preTokenizer, origin } = await tokenizerMetadata(folder, options);
    if (tokenCount !== size) return standInVocabulary(size, `its tokenizer has ${tokenCount} tokens`);
    const rule = origin === 'none' ? '' : `, pre-tokenizer ${preTokenizer} by its rules`;
    return { entries: metadata, label: `the model's own, from its tokenizer files${rule}`, standInBecause: null };
  } catch (error) {
    if (!(error instanceof AppError) || !UNUSABLE.includes(error.code)) throw error;
    return standInVocabulary(size, error.message.replaceAll(folder, '').slice(0, REASON_CHARACTERS_MAX));
  }
}

/** Fills the arrays that have one item per token. */
function padded(key: string, value: GgufValue, count: number, size: number): GgufValue {
  const perToken = PER_TOKEN.some((part) => key === `tokenizer.ggml.${part}`);
  if (!perToken || value.type !== 'array' || count === size) return value;
  if (value.itemType === 'string') {
    const names = Array.from({ length: size - count }, (_, i) => `[PAD${count + i}]`);
    return { ...value, items: [...value.items, ...names] };
  }
  const filler = key.endsWith('scores') ? -10_000 : TOKEN_TYPE.unused;
  const items = new Float32Array(size).fill(filler);
  for (let i = 0; i < count; i++) items[i] = Number(value.items[i]);
  return { type: 'array', itemType: value.itemType === 'f32' ? 'f32' : 'i32', items };
}

/** Bytes, short pieces, and some words of four letters: prompts need words for their nonces. */
export const VOCABULARY_SIZE_MIN = 2_560;
/** By frequency in English, so that a small vocabulary holds the common pairs. */
const LETTERS = 'etaoinshrdlucmfwypvbgkjxqz'.split('');
const STARTS = [...LETTERS, ...LETTERS.map((letter) => letter.toUpperCase())];
const SPACE = 'Ġ';

/** Every left piece with every right one: the lefts change first. */
interface MergeGroup {
  readonly lefts: readonly string[];
  readonly rights: readonly string[];
}

const MERGES: readonly MergeGroup[] = [
  { lefts: [SPACE], rights: STARTS },
  { lefts: joined([SPACE], STARTS), rights: LETTERS },
  { lefts: LETTERS, rights: LETTERS },
  {
    lefts: LETTERS.flatMap((second) => joined([SPACE], joined(STARTS, [second]))),
    rights: LETTERS.flatMap((fourth) => joined(LETTERS, [fourth])),
  },
];
/** Of the longest token and the longest merge. */
const TOKEN_BYTES = 6;
const MERGE_BYTES = 7;

/**
 * A byte-level BPE vocabulary of exactly `size` tokens: the 256 bytes; a space with one letter; a space with two; pairs of
 * letters; a space with four letters, until two places are left for the special tokens. Every token is the merge of two
 * earlier ones, and merges apply in this order, so that any text has one tokenisation, the same in every engine.
 */
export function standInVocabulary(size: number, because = 'no tokenizer files are known'): TwinVocabulary {
  if (size < VOCABULARY_SIZE_MIN) {
    throw new AppError('model-unsupported', `a vocabulary of ${size} tokens is too small for a stand-in`, {
      hint: `${VOCABULARY_SIZE_MIN} tokens are needed: name a tokenizer with --tokenizer FILE.gguf.`,
    });
  }
  const { tokens, merges, mergeCount } = standInTokens(size);
  const types = new Int32Array(size).fill(TOKEN_TYPE.normal);
  types.fill(TOKEN_TYPE.unused, 256 + mergeCount);
  types.fill(TOKEN_TYPE.control, size - 2);
  const entries: [string, GgufValue | EncodedArray][] = [
    ['tokenizer.ggml.model', text('gpt2')],
    ['tokenizer.ggml.pre', text('gpt-2')],
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.token_type', { type: 'array', itemType: 'i32', items: types }],
    ['tokenizer.ggml.merges', merges],
    ['tokenizer.ggml.bos_token_id', u32(size - 2)],
    ['tokenizer.ggml.eos_token_id', u32(size - 1)],
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: false }],
  ];
  return {
    entries: new Map(entries),
    label: `a stand-in of ${size} tokens (byte-level BPE), not the model's own`,
    standInBecause: because,
  };
}

function standInTokens(size: number): { tokens: EncodedArray; merges: EncodedArray; mergeCount: number } {
  const tokens = new EncodedStrings(size, TOKEN_BYTES);
  const merges = new EncodedStrings(size, MERGE_BYTES);
  for (const token of byteTokens()) tokens.add(utf8(token));
  for (const { lefts, rights } of MERGES) {
    const missing = size - 2 - tokens.count;
    const seconds = rights.map((right) => utf8(right));
    tokens.addProduct(
      lefts.map((left) => utf8(left)),
      seconds,
      missing,
    );
    merges.addProduct(
      lefts.map((left) => utf8(`${left} `)),
      seconds,
      missing,
    );
  }
  // Vocabularies beyond 916,000 tokens run out of words.
  while (tokens.count < size - 2) tokens.add(utf8(`[PAD${tokens.count}]`));
  for (const token of ['<|begin_of_text|>', '<|end_of_text|>']) tokens.add(utf8(token));
  return { tokens: tokens.finish(), merges: merges.finish(), mergeCount: merges.count };
}

function utf8(piece: string): Uint8Array {
  return Buffer.from(piece, 'utf8');
}

function joined(firsts: readonly string[], seconds: readonly string[]): string[] {
  return firsts.flatMap((first) => seconds.map((second) => first + second));
}

/** GPT-2's printable stand-ins for bytes: printable ones are themselves, the others follow from U+0100 on. */
function byteTokens(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCodePoint(printable ? byte : next++);
  });
}
