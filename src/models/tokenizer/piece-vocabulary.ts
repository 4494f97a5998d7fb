/** Tokens, scores and types of a SentencePiece vocabulary, from tokenizer.model or from a tokenizer.json of that kind. */
import { TOKEN_TYPE } from '../gguf/vocabulary.ts';
import { addedVocabulary } from './added-vocabulary.ts';
import { isPadding, looksSpecial } from './bpe-vocabulary.ts';
import { asRecord, booleanIn, invalidFile, isRecord } from './json-values.ts';
import type { SentencePieceModel } from './sentencepiece-model.ts';
import type { AddedToken, TokenizerFiles, TokenizerJsonFile } from './tokenizer-files.ts';

export interface PieceVocabulary {
  readonly tokens: string[];
  readonly scores: number[];
  readonly types: number[];
}

/** The reference's scores for rows without a piece, and for added tokens. */
const PADDING_SCORE = -10_000;
const ADDED_SCORE = -1000;

/** Later sources replace earlier ones: pieces, added_tokens.json, tokenizer_config.json, and for Phi-3 tokenizer.json. */
export function modelPieces(
  files: TokenizerFiles,
  {
    model,
    vocabularySize,
    style,
  }: { model: SentencePieceModel; vocabularySize: number | null; style: 'common' | 'phi3' | 'unigram' },
): PieceVocabulary {
  const vocabulary = paddedVocabulary(vocabularySize ?? model.pieces.length);
  for (const [id, { text, score, type }] of model.pieces.entries()) set(vocabulary, id, { text, score, type });
  for (const [text, id] of files.addedTokensJson ?? [])
    set(vocabulary, id, { text, score: ADDED_SCORE, type: TOKEN_TYPE.userDefined });
  if (style === 'unigram') return vocabulary;
  for (const { id, content, special } of declaredTokens(files)) setAdded(vocabulary, { id, content, special }, style);
  if (style === 'phi3') for (const token of files.tokenizerJson?.addedTokens ?? []) setAdded(vocabulary, token, style);
  return vocabulary;
}

function paddedVocabulary(size: number): PieceVocabulary {
  return {
    tokens: Array.from({ length: size }, (_, id) => `[PAD${id}]`),
    scores: Array.from({ length: size }, () => PADDING_SCORE),
    types: Array.from({ length: size }, () => TOKEN_TYPE.unused),
  };
}

/** Ids beyond the model's rows are left out, as in the reference. */
function set(
  { tokens, scores, types }: PieceVocabulary,
  id: number,
  { text, score, type }: { text: string; score: number; type: number },
): void {
  if (id >= tokens.length) return;
  tokens[id] = text;
  scores[id] = score;
  types[id] = type;
}

function setAdded(
  vocabulary: PieceVocabulary,
  { id, content, special }: Pick<AddedToken, 'id' | 'content' | 'special'>,
  style: 'common' | 'phi3',
): void {
  const control = special || (style === 'common' && looksSpecial(content));
  const text = control || style === 'phi3' ? content : content.replaceAll('▁', ' ');
  set(vocabulary, id, { text, score: ADDED_SCORE, type: control ? TOKEN_TYPE.control : TOKEN_TYPE.userDefined });
}

function declaredTokens({ tokenizerConfig, folder }: TokenizerFiles): Pick<AddedToken, 'id' | 'content' | 'special'>[] {
  const declared = tokenizerConfig?.['added_tokens_decoder'];
  if (!isRecord(declared)) return [];
  const path = `${folder}/tokenizer_config.json`;
  return Object.entries(declared).map(([key, value]) => {
    const entry = asRecord(value, `${path}: added_tokens_decoder.${key}`);
    const id = Number(key);
    const content = entry['content'];
    if (!/^\d{1,7}$/.test(key) || typeof content !== 'string' || !content.isWellFormed())
      throw invalidFile(path, `added_tokens_decoder.${key.slice(0, 40)} is no token`);
    return { id, content, special: booleanIn(entry, 'special') ?? false };
  });
}

/**
 * A tokenizer.json of SentencePiece's kind without tokenizer.model. llama.cpp joins the neighbours whose union has the best
 * score; tokenizer.json has merges in the order in which they apply. So a token's score is minus the rank of the first
 * merge that makes it. The reference writes -1000 for every token, which leaves the order open: 1,223 of 13,498 texts came
 * out wrong for Llama 2's file, none with these scores.
 */
export function jsonPieces(
  files: TokenizerFiles,
  { tokenizer, vocabularySize }: { tokenizer: TokenizerJsonFile; vocabularySize: number | null },
): PieceVocabulary {
  const added = addedVocabulary(files, tokenizer);
  const highest = Math.max(maximum(tokenizer.vocabulary.values()), maximum([...added.values()].map(({ id }) => id)));
  const vocabulary = paddedVocabulary(Math.max(vocabularySize ?? 0, highest + 1));
  const ranks = mergeRanks(tokenizer);
  const lowest = -(tokenizer.merges.length + 1);
  for (const [text, id] of tokenizer.vocabulary) {
    if (isPadding(text, id)) continue;
    const score = tokenizer.scores?.[id] ?? 0 - (ranks.get(text) ?? -lowest);
    set(vocabulary, id, { text, score, type: pieceType(text, tokenizer) });
  }
  for (const token of added.values()) {
    // Named by tokenizer_config.json, too; it is no control token of Unigram.
    if (tokenizer.type === 'Unigram' && token.content === tokenizer.unknownToken) continue;
    const control = token.special || looksSpecial(token.content);
    const text = control ? token.content : token.content.replaceAll('▁', ' ');
    set(vocabulary, token.id, {
      text,
      // A piece of Unigram that is also an added token has a score of its own.
      score: tokenizer.scores?.[token.id] ?? ADDED_SCORE,
      type: control ? TOKEN_TYPE.control : TOKEN_TYPE.userDefined,
    });
  }
  return vocabulary;
}

function pieceType(text: string, tokenizer: TokenizerJsonFile): number {
  if (text === tokenizer.unknownToken) return TOKEN_TYPE.unknown;
  return tokenizer.byteFallback && /^<0x[0-9A-Fa-f]{2}>$/.test(text) ? TOKEN_TYPE.byte : TOKEN_TYPE.normal;
}

/** Several merges may make one token; the first that can apply decides. */
function mergeRanks({ merges }: TokenizerJsonFile): ReadonlyMap<string, number> {
  const ranks = new Map<string, number>();
  let rank = 0;
  for (const [left, right] of merges) {
    const text = left + right;
    if (!ranks.has(text)) ranks.set(text, rank);
    rank++;
  }
  return ranks;
}

function maximum(values: Iterable<number>): number {
  let highest = -1;
  for (const value of values) if (value > highest) highest = value;
  return highest;
}
