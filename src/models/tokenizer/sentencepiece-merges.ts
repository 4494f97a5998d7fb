/**
 * SentencePiece's BPE has scores, not merges: it always joins the neighbours whose union has the highest score. The same
 * order as a list of merges: every way to cut a piece in two, best score first (as transformers' own converter does).
 */
import { TOKEN_TYPE, type Vocabulary } from '../gguf/vocabulary.ts';

interface Merge {
  readonly left: string;
  readonly right: string;
  readonly score: number;
  readonly leftId: number;
  readonly rightId: number;
}

export function sentencePieceMerges(vocabulary: Vocabulary): [string, string][] {
  const { tokens, scores } = vocabulary;
  const ids = new Map<string, number>();
  for (const [id, token] of tokens.entries()) if (isMergeable(vocabulary, id) && !ids.has(token)) ids.set(token, id);
  const merges: Merge[] = [];
  for (const [token, id] of ids) {
    const score = scores === null ? -id : (scores[id] as number);
    for (const [left, right] of cuts(token)) {
      const leftId = ids.get(left);
      const rightId = ids.get(right);
      if (leftId !== undefined && rightId !== undefined) merges.push({ left, right, score, leftId, rightId });
    }
  }
  // A piece's own cuts follow one another, the one with the earliest parts first.
  merges.sort((a, b) => b.score - a.score || a.leftId - b.leftId || a.rightId - b.rightId);
  return merges.map(({ left, right }) => [left, right]);
}

/** Control and byte tokens never come out of a merge. */
function isMergeable({ types }: Vocabulary, id: number): boolean {
  return types === null || types[id] === TOKEN_TYPE.normal;
}

/** All cuts between two code points. */
function* cuts(token: string): Generator<[string, string]> {
  for (let at = 1; at < token.length; at++) {
    const code = token.charCodeAt(at);
    const insidePair = code >= 0xdc00 && code <= 0xdfff;
    if (!insidePair) yield [token.slice(0, at), token.slice(at)];
  }
}
