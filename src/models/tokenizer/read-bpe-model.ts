/** Vocabulary and merges of a BPE model, from the whole parsed file or from its pieces. */
import { asRecord, invalidFile, textIn, type JsonRecord } from './json-values.ts';
import { checkedId, checkedToken, shown, TOKEN_COUNT_MAX } from './token-checks.ts';
import type { Counted } from './token-lists.ts';
import type { TokenizerDocument } from './tokenizer-document.ts';

/** About two merges a token: Gemma 3 has 514,906. */
const MERGE_COUNT_MAX = 2_000_000;

type Large = Omit<TokenizerDocument, 'rest'>;

export function readBpeVocabulary(
  model: JsonRecord,
  large: Large,
  path: string,
): { vocabulary: ReadonlyMap<string, number>; scores: null } {
  const entries = large.vocabulary ?? Object.entries(asRecord(model['vocab'], `${path}: model.vocab`));
  if (entries.length > TOKEN_COUNT_MAX)
    throw invalidFile(path, `it has ${entries.length} tokens, more than the ${TOKEN_COUNT_MAX} that are allowed`);
  const vocabulary = inObjectOrder(entries, (token, value) => checkedId(value, path, checkedToken(token, path)));
  const tokens = tokensById(vocabulary);
  for (const [token, id] of vocabulary) {
    const other = tokens[id];
    // Only one of them could be written, and which one would be chance.
    if (other !== token) throw invalidFile(path, `${shown(token)} and ${shown(String(other))} have the same id, ${id}`);
  }
  return { vocabulary, scores: null };
}

/** Holes where no token has the id; the last of two with the same one. */
function tokensById(vocabulary: ReadonlyMap<string, number>): readonly (string | undefined)[] {
  let highest = -1;
  for (const id of vocabulary.values()) if (id > highest) highest = id;
  // Of its full length from the start: an array that is filled in no order would become a table.
  const tokens = Array.from<string | undefined>({ length: highest + 1 });
  for (const [token, id] of vocabulary) tokens[id] = token;
  return tokens;
}

/** As an object would list its keys: those that are array indices first, by number. Pieces of one come in any order. */
function inObjectOrder(
  entries: Iterable<readonly [string, unknown]>,
  read: (token: string, value: unknown) => number,
): Map<string, number> {
  const indices: [string, number][] = [];
  const others = new Map<string, number>();
  for (const [token, value] of entries) {
    const id = read(token, value);
    if (ARRAY_INDEX.test(token) && Number(token) <= ARRAY_INDEX_MAX) indices.push([token, id]);
    else others.set(token, id);
  }
  if (indices.length === 0) return others;
  const all = new Map(indices.toSorted(([a], [b]) => Number(a) - Number(b)));
  for (const [token, id] of others) all.set(token, id);
  return all;
}

const ARRAY_INDEX = /^(?:0|[1-9]\d{0,9})$/;
const ARRAY_INDEX_MAX = 2 ** 32 - 2;

/**
 * Both spellings: `"a b"`, and since transformers 4.45 `["a", "b"]`, where the parts may contain spaces. Kept as ids: the
 * library that these files are for loads none with a merge of, or into, a text that is no token.
 */
export function readMerges(
  model: JsonRecord,
  large: Large,
  { vocabulary, path }: { vocabulary: ReadonlyMap<string, number>; path: string },
): { merges: Counted<readonly [string, string]>; arePairs: boolean } {
  const value = large.merges ?? model['merges'];
  if (large.merges === null && !Array.isArray(value)) throw invalidFile(path, 'model.merges must be a list');
  const items = value as Counted<unknown>;
  if (items.length > MERGE_COUNT_MAX)
    throw invalidFile(path, `it has ${items.length} merges, more than the ${MERGE_COUNT_MAX} that are allowed`);
  const prefix = textIn(model, 'continuing_subword_prefix') ?? '';
  const ids = new Int32Array(2 * items.length);
  let [count, arePairs] = [0, false];
  for (const item of items) {
    if (count === 0) arePairs = Array.isArray(item);
    const pair = pairOf(item, arePairs);
    if (pair === null) throw invalidFile(path, `merge ${count} is not a pair of tokens`);
    const [left, right] = pair;
    const joined = left + (right.startsWith(prefix) ? right.slice(prefix.length) : right);
    const unknown = [left, right, joined].find((text) => !vocabulary.has(text));
    if (unknown !== undefined) throw invalidFile(path, `merge ${count} needs ${shown(unknown)}, which is no token`);
    ids[2 * count] = vocabulary.get(left) as number;
    ids[2 * count + 1] = vocabulary.get(right) as number;
    count++;
  }
  return { merges: mergesOf(ids, count, vocabulary), arePairs };
}

function pairOf(item: unknown, arePairs: boolean): readonly [string, string] | null {
  const parts: unknown[] =
    arePairs && Array.isArray(item) ? item : typeof item === 'string' && !arePairs ? item.split(' ') : [];
  const [left, right] = parts;
  return parts.length === 2 && typeof left === 'string' && typeof right === 'string' ? [left, right] : null;
}

function mergesOf(
  ids: Int32Array,
  length: number,
  vocabulary: ReadonlyMap<string, number>,
): Counted<readonly [string, string]> {
  const tokens = tokensById(vocabulary);
  return {
    length,
    *[Symbol.iterator]() {
      for (let i = 0; i < length; i++)
        yield [tokens[ids[2 * i] as number] as string, tokens[ids[2 * i + 1] as number] as string];
    },
  };
}
