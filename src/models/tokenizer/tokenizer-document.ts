/**
 * tokenizer.json without ever holding the whole: a large one is 17 MB of JSON, whose half a million small lists take ten times
 * that as objects. One pass over the bytes finds the vocabulary and the merges of a BPE model and where they can be cut;
 * they are then parsed piece by piece, and the rest, which is small, at once. Every byte goes through JSON.parse: what
 * it would refuse is refused, and the last of two equal keys counts as it does there.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { cannotOpen } from '../cannot-open.ts';
import { readFully } from '../file-io.ts';
import { asRecord, invalidFile, isRecord, type JsonRecord } from './json-values.ts';
import type { Counted } from './token-lists.ts';

/** Read at once, and about the size of a piece that is parsed at once. */
const PIECE_BYTES = 64 << 10;
/** `"vocab"` and `"merges"` with their quotes; a longer key is another. */
const KEY_BYTES_MAX = 8;

export interface TokenizerDocument {
  /** With an empty vocabulary and empty merges where these are given apart. */
  readonly rest: JsonRecord;
  /** Members of model.vocab; null where it is no object. A token may come twice: the last time counts. */
  readonly vocabulary: Counted<readonly [string, unknown]> | null;
  /** Items of model.merges; null where it is no list. */
  readonly merges: Counted<unknown> | null;
}

/** @throws AppError `model-invalid` for what is not JSON or not UTF-8, also from the iterators */
export function withTokenizerDocument<T>(path: string, use: (document: TokenizerDocument) => T): T {
  const fd = opened(path);
  try {
    return use(documentOf(fd, path));
  } finally {
    closeSync(fd);
  }
}

function opened(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw cannotOpen(`file ${path}`, cause);
  }
}

function documentOf(fd: number, path: string): TokenizerDocument {
  const bytesTotal = fstatSync(fd).size;
  const { vocabulary, merges } = new Scanner(fd, bytesTotal).spans();
  const cuts = [vocabulary, merges].filter((span) => span !== null).toSorted((a, b) => a.start - b.start);
  const parts: Buffer[] = [];
  let at = 0;
  for (const { start, end, opener } of cuts) {
    parts.push(bytesAt(fd, at, start), Buffer.from(opener === '{' ? '{}' : '[]'));
    at = end;
  }
  parts.push(bytesAt(fd, at, bytesTotal));
  // A byte order mark is left out, as it may be, at the start of the file alone.
  const rest = asRecord(parse(decode(Buffer.concat(parts), path, false), path), path);
  const piecesOf = (span: Span): Iterable<unknown> => ({ [Symbol.iterator]: () => pieces(fd, span, path) });
  return {
    rest,
    vocabulary:
      vocabulary === null
        ? null
        : {
            length: vocabulary.count,
            *[Symbol.iterator]() {
              for (const piece of piecesOf(vocabulary)) yield* Object.entries(piece as JsonRecord);
            },
          },
    merges:
      merges === null
        ? null
        : {
            length: merges.count,
            *[Symbol.iterator]() {
              for (const piece of piecesOf(merges)) yield* piece as readonly unknown[];
            },
          },
  };
}

/** The members between two cuts, with their brackets: an object or a list of its own. */
function* pieces(fd: number, { start, end, opener, commas, count }: Span, path: string): Generator {
  const closer = opener === '{' ? '}' : ']';
  const bounds = [start, ...commas, end - 1];
  for (let i = 1; i < bounds.length; i++) {
    const bytes = bytesAt(fd, (bounds[i - 1] as number) + 1, bounds[i] as number);
    const piece = parse(opener + decode(bytes, path, true) + closer, path);
    // `{"a":1,}` is no JSON, although what stands before and behind the comma would be.
    if (count > 1 && (isRecord(piece) ? Object.keys(piece) : (piece as unknown[])).length === 0)
      throw invalidFile(path, 'it is not JSON');
    yield piece;
  }
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalidFile(path, 'it is not JSON', cause);
  }
}

function decode(bytes: Uint8Array, path: string, ignoreBOM: boolean): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM }).decode(bytes);
  } catch (cause) {
    throw invalidFile(path, 'it is not UTF-8', cause);
  }
}

function bytesAt(fd: number, start: number, end: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(end - start);
  readFully({ fd }, bytes, { position: start, length: bytes.length });
  return bytes;
}

/** A value in the file: the place of its opening bracket, and behind its closing one. */
interface Span {
  readonly opener: '{' | '[';
  readonly start: number;
  end: number;
  /** Places of commas between members, a piece apart. */
  readonly commas: number[];
  /** Members by the commas between them; 1 also for none. */
  count: number;
}

interface Spans {
  readonly vocabulary: Span | null;
  readonly merges: Span | null;
}

const NOTHING: Spans = { vocabulary: null, merges: null };
const SPACE = 0x20;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const [BRACE, BRACE_END, BRACKET, BRACKET_END] = [0x7b, 0x7d, 0x5b, 0x5d];

/** Knows strings, brackets and the keys of the two upper levels; whether the rest is JSON, JSON.parse finds. */
class Scanner {
  readonly #fd: number;
  readonly #bytesTotal: number;
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  /** Of the string that is being read, or was last. */
  #stringStart = 0;
  #stringEnd = 0;
  #stringHasEscape = false;
  /** The last key of the outermost object, and of the model; '' before one and where it is of no interest. */
  #outerKey = '';
  #modelKey = '';
  /** A key with an escape may be any key. */
  #hasStrangeKey = false;
  #vocabulary: Span | null = null;
  #merges: Span | null = null;
  #open: Span | null = null;

  constructor(fd: number, bytesTotal: number) {
    this.#fd = fd;
    this.#bytesTotal = bytesTotal;
  }

  spans(): Spans {
    const buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
    for (let base = 0; base < this.#bytesTotal; base += buffer.length) {
      const length = Math.min(buffer.length, this.#bytesTotal - base);
      readFully({ fd: this.#fd }, buffer, { position: base, length });
      this.#scan(buffer.subarray(0, length), base);
    }
    const isWhole = this.#depth === 0 && !this.#isInString && !this.#hasStrangeKey;
    return isWhole ? { vocabulary: this.#vocabulary, merges: this.#merges } : NOTHING;
  }

  #scan(bytes: Uint8Array, base: number): void {
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i] as number;
      if (this.#isInString) {
        // Most bytes are inside a string or the space between values.
        if (byte === QUOTE || byte === BACKSLASH || this.#isEscaped) this.#inString(byte, base + i);
      } else if (byte <= SPACE) continue;
      else if (byte === QUOTE) {
        this.#isInString = true;
        this.#stringStart = base + i;
        this.#stringHasEscape = false;
      } else if (byte === COMMA) this.#comma(base + i);
      else if (byte === COLON) this.#colon();
      else if (byte === BRACE || byte === BRACKET) this.#opening(byte, base + i);
      else if (byte === BRACE_END || byte === BRACKET_END) this.#closing(byte, base + i);
    }
  }

  #inString(byte: number, at: number): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (byte === BACKSLASH) {
      this.#isEscaped = true;
      this.#stringHasEscape = true;
    } else if (byte === QUOTE) {
      this.#isInString = false;
      this.#stringEnd = at + 1;
    }
  }

  /** The string before it was a key. */
  #colon(): void {
    if (this.#depth > 2 || (this.#depth === 2 && this.#outerKey !== 'model')) return;
    if (this.#stringHasEscape) this.#hasStrangeKey = true;
    const length = this.#stringEnd - this.#stringStart;
    const key =
      length > KEY_BYTES_MAX || length < 2
        ? ''
        : bytesAt(this.#fd, this.#stringStart + 1, this.#stringEnd - 1).toString('latin1');
    if (this.#depth === 2) return this.#member(key);
    this.#outerKey = key;
    this.#modelKey = '';
    // The last of two models counts.
    if (key === 'model') this.#vocabulary = this.#merges = null;
  }

  #member(key: string): void {
    this.#modelKey = key;
    if (key === 'vocab') this.#vocabulary = null;
    if (key === 'merges') this.#merges = null;
  }

  #comma(at: number): void {
    if (this.#depth === 2) this.#modelKey = '';
    if (this.#open === null || this.#depth !== 3) return;
    this.#open.count++;
    const last = this.#open.commas.at(-1) ?? this.#open.start;
    if (at - last >= PIECE_BYTES) this.#open.commas.push(at);
  }

  #opening(byte: number, start: number): void {
    this.#depth++;
    if (this.#depth !== 3 || this.#outerKey !== 'model') return;
    const isWanted =
      (byte === BRACE && this.#modelKey === 'vocab') || (byte === BRACKET && this.#modelKey === 'merges');
    if (!isWanted) return;
    this.#open = { opener: byte === BRACE ? '{' : '[', start, end: start, commas: [], count: 1 };
  }

  #closing(byte: number, at: number): void {
    this.#depth--;
    const span = this.#open;
    if (span === null || this.#depth !== 2) return;
    this.#open = null;
    // Another bracket than the one that was opened: not JSON, which shows when the whole is parsed.
    if ((span.opener === '{') !== (byte === BRACE_END)) return;
    span.end = at + 1;
    if (span.opener === '{') this.#vocabulary = span;
    else this.#merges = span;
  }
}
