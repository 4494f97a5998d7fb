/** Tokens and ids of files that others wrote, checked one by one. */
import { invalidFile } from './json-values.ts';

/** Vocabularies and embeddings reach 262,208 rows today (Gemma 3); every row costs memory, also where it is only claimed. */
export const TOKEN_COUNT_MAX = 1 << 19;
/** The longest pieces in use are runs of 256 spaces; a text of this length is no token. */
const TOKEN_CHARACTERS_MAX = 16_384;

export function checkedToken(token: string, path: string): string {
  if (token.length > TOKEN_CHARACTERS_MAX)
    throw invalidFile(
      path,
      `a token has ${token.length} characters, more than the ${TOKEN_CHARACTERS_MAX} that are allowed`,
    );
  if (!token.isWellFormed()) throw invalidFile(path, `the token ${JSON.stringify(token)} is not valid text`);
  return token;
}

export function checkedId(id: unknown, path: string, token: string): number {
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < TOKEN_COUNT_MAX) return id;
  throw invalidFile(path, `the token ${shown(token)} has the id ${String(id).slice(0, 40)}`);
}

export function shown(token: string): string {
  return JSON.stringify(token.slice(0, 80));
}
