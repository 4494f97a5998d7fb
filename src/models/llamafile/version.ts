/** Which llamafile a program is, found in its bytes: nothing is run. */
import { isBefore } from '../../core/version-order.ts';
import type { SourceFile } from './source-file.ts';

/** Versions that behave alike when they are started; `unknown` where no version was found. */
export type Generation = '0.1-0.5' | '0.6-0.8.13' | '0.8.14-0.8.17' | '0.9' | '0.10' | 'unknown';

/** Half-open, in the file. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** What a program says of itself. */
export interface VersionLiteral {
  /** `llamafiler` is the server alone, which 0.9 releases ship beside llamafile. */
  readonly program: 'llamafile' | 'llamafiler';
  /** e.g. `0.9.3` */
  readonly version: string;
  /** What stands in brackets behind it; builds of one's own may say there what they are. */
  readonly note: string | null;
}

/** Releases of llamafile contain the server, too, and its literal: llamafile's own decides wherever it is. */
const PROGRAMS = ['llamafile', 'llamafiler'] as const;
/** What `--version` prints; old builds log `llamafile version 0.5.0`. */
const LITERAL = /^(?:llamafiler?) v(?:ersion )?(\d{1,3}\.\d{1,3}\.\d{1,3})(?![\d.])(?: \(([\w .,-]{1,60})\))?/;
/** The longest literal, with the byte behind it. */
const LITERAL_BYTES = 100;
const CHUNK_BYTES = 1 << 20;
/** Programs take some 50 MB; the rest of a llamafile lies in its zip. */
const SCAN_BYTES_MAX = 256 << 20;

/**
 * First version literal in these ranges, read piece by piece until it is found.
 * @returns null when there is none in the first 256 MiB
 */
export function findVersion(file: SourceFile, ranges: readonly ByteRange[]): VersionLiteral | null {
  for (const program of PROGRAMS) {
    const found = findLiteral(file, ranges, program);
    if (found !== null) return found;
  }
  return null;
}

function findLiteral(
  file: SourceFile,
  ranges: readonly ByteRange[],
  program: VersionLiteral['program'],
): VersionLiteral | null {
  let left = SCAN_BYTES_MAX;
  const longest = ranges.reduce((most, { start, end }) => Math.max(most, end - start), 0);
  const memory = Buffer.allocUnsafeSlow(Math.min(longest, CHUNK_BYTES + LITERAL_BYTES));
  for (const { start, end } of ranges) {
    for (let at = start; at < end && left > 0; at += CHUNK_BYTES) {
      // A literal across the border of two chunks is found with the first.
      const bytes = file.read(at, Math.min(end - at, CHUNK_BYTES + LITERAL_BYTES), 'the program', memory);
      left -= bytes.length;
      const literal = literalIn(bytes, program);
      if (literal !== null) return literal;
    }
  }
  return null;
}

function literalIn(bytes: Buffer, program: VersionLiteral['program']): VersionLiteral | null {
  const needle = `${program} v`;
  for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + 1)) {
    const [match, version, note = null] = LITERAL.exec(bytes.toString('latin1', at, at + LITERAL_BYTES)) ?? [];
    if (match !== undefined && version !== undefined) return { program, version, note };
  }
  return null;
}

/** Pure. */
export function generationOf(version: string | null): Generation {
  if (version === null) return 'unknown';
  if (isBefore(version, '0.6.0')) return '0.1-0.5';
  if (isBefore(version, '0.8.14')) return '0.6-0.8.13';
  if (isBefore(version, '0.9.0')) return '0.8.14-0.8.17';
  return isBefore(version, '0.10.0') ? '0.9' : '0.10';
}
