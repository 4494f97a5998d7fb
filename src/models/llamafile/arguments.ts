/**
 * `.args`, the default arguments inside a llamafile, in its two dialects.
 *
 * `lines` (through 0.8.16): one argument a line, `\n` inside it is a line break. `shell` (from 0.8.17, cosmopolitan's
 * cosmo_args): words with quotes, comments and `$NAME`. In both, `...` stands for the user's own arguments.
 */
import { AppError } from '../../core/errors.ts';
import { isBefore } from '../../core/version-order.ts';

export type ArgumentDialect = 'lines' | 'shell';

/** Stands for what the user types. */
export const USER_ARGUMENTS = '...';

const SHELL_SINCE = '0.8.17';

/** Pure: without a version, the newer dialect: both read plain arguments alike. */
export function dialectOf(version: string | null): ArgumentDialect {
  return version !== null && isBefore(version, SHELL_SINCE) ? 'lines' : 'shell';
}

/** Pure: the arguments in order; `$NAME` is left as it is, since it depends on who starts the file. */
export function parseArguments(text: string, dialect: ArgumentDialect): string[] {
  if (dialect === 'shell') return shellWords(text);
  return text
    .split(/[\r\n]+/)
    .filter((line) => line !== '')
    .map((line) => line.replaceAll(String.raw`\n`, '\n'));
}

/** Pure: text that `parseArguments` reads back. @throws AppError `usage` for what the dialect cannot hold. */
export function formatArguments(words: readonly string[], dialect: ArgumentDialect): string {
  return words.map((word) => `${dialect === 'shell' ? quote(word) : oneLine(word)}\n`).join('');
}

function quote(word: string): string {
  if (word.includes('\0')) throw cannotHold(word, 'a zero byte');
  if (word === USER_ARGUMENTS || /^[\w@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

function oneLine(word: string): string {
  if (word === '') throw cannotHold(word, 'an empty argument');
  if (/[\0\r]/.test(word)) throw cannotHold(word, 'a zero byte or a carriage return');
  if (word.includes(String.raw`\n`)) throw cannotHold(word, 'a backslash before an n, which becomes a line break');
  return word.replaceAll('\n', String.raw`\n`);
}

function cannotHold(word: string, what: string): AppError {
  return new AppError('usage', `${JSON.stringify(word.slice(0, 200))} cannot stand in .args: ${what}`, {
    hint: 'Change the argument, or use a llamafile from 0.8.17 on.',
  });
}

const SPACE = /[ \t\r\n\f\v]/;
const ESCAPES: Readonly<Record<string, string>> = {
  a: '\u0007',
  b: '\b',
  t: '\t',
  n: '\n',
  v: '\v',
  f: '\f',
  r: '\r',
  e: '\u001b',
};

/** In double quotes: an octal or hexadecimal code, or one character. */
const BACKSLASH = /^\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|[^])?/;

function shellWords(text: string): string[] {
  const words: string[] = [];
  let at = 0;
  while (at < text.length) {
    const char = text[at] as string;
    if (SPACE.test(char)) at += 1;
    else if (char === '#') at = lineEnd(text, at);
    else {
      const { word, end } = readWord(text, at);
      if (word !== null) words.push(word);
      at = end;
    }
  }
  return words;
}

function lineEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end < 0 ? text.length : end;
}

/** Null for a lone line continuation. */
function readWord(text: string, start: number): { word: string | null; end: number } {
  let word: string | null = null;
  let at = start;
  while (at < text.length && !SPACE.test(text[at] as string)) {
    const piece = readPiece(text, at);
    if (piece.value !== null) word = (word ?? '') + piece.value;
    at = piece.end;
  }
  return { word, end: at };
}

function readPiece(text: string, at: number): { value: string | null; end: number } {
  const char = text[at] as string;
  if (char === "'") {
    const close = text.indexOf("'", at + 1);
    const end = close < 0 ? text.length : close;
    return { value: text.slice(at + 1, end), end: end + 1 };
  }
  if (char === '"') return readDoubleQuoted(text, at + 1);
  if (char !== '\\') return { value: char, end: at + 1 };
  const next = text[at + 1];
  if (next === undefined || next === '\n') return { value: null, end: at + 2 };
  return { value: ESCAPES[next] ?? next, end: at + 2 };
}

/** As in C: letters, octal and hexadecimal escapes. */
function readDoubleQuoted(text: string, start: number): { value: string; end: number } {
  let value = '';
  let at = start;
  while (at < text.length && text[at] !== '"') {
    if (text[at] !== '\\') {
      value += text[at];
      at += 1;
      continue;
    }
    const [escape = '\\', octal, hex] = BACKSLASH.exec(text.slice(at, at + 4)) ?? [];
    const letter = escape[1] ?? '';
    if (octal !== undefined) value += String.fromCodePoint(Number.parseInt(octal, 8) & 0xff);
    else if (hex !== undefined) value += String.fromCodePoint(Number.parseInt(hex, 16));
    else if (letter !== '\n') value += ESCAPES[letter] ?? letter;
    at += escape.length;
  }
  return { value, end: at + 1 };
}
