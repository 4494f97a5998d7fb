/** Which llamafile a program is, found in its bytes: nothing is run. */
import type { SourceFile } from './source-file.ts';

/** Versions that behave alike when they are started; `unknown` where no version was found. */
export type Generation = '0.1-0.5' | '0.6-0.8.13' | '0.8.14-0.8.17' | '0.9' | '0.10' | 'unknown';

/** Half-open, in the file. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

const NEEDLE = Buffer.from('llamafile v');
/** What `--version` prints; old builds log `llamafile version 0.5.0`. */
const LITERAL = /^llamafile v(?:ersion )?(\d{1,3}\.\d{1,3}\.\d{1,3})(?![\d.])/;
/** The longest literal, with the byte behind it. */
const LITERAL_BYTES = 40;
const CHUNK_BYTES = 1 << 20;
/** Programs take some 50 MB; the rest of a llamafile lies in its zip. */
const SCAN_BYTES_MAX = 256 << 20;

/**
 * First version literal in these ranges, read piece by piece until it is found.
 * @returns e.g. `0.9.3`, or null when there is none in the first 256 MiB
 */
export function findVersion(file: SourceFile, ranges: readonly ByteRange[]): string | null {
  let left = SCAN_BYTES_MAX;
  const memory = Buffer.allocUnsafeSlow(CHUNK_BYTES + LITERAL_BYTES);
  for (const { start, end } of ranges) {
    for (let at = start; at < end && left > 0; at += CHUNK_BYTES) {
      // A literal across the border of two chunks is found with the first.
      const bytes = file.read(at, Math.min(end - at, CHUNK_BYTES + LITERAL_BYTES), 'the program', memory);
      left -= bytes.length;
      const version = versionIn(bytes);
      if (version !== null) return version;
    }
  }
  return null;
}

function versionIn(bytes: Buffer): string | null {
  for (let at = bytes.indexOf(NEEDLE); at >= 0; at = bytes.indexOf(NEEDLE, at + 1)) {
    const match = LITERAL.exec(bytes.toString('latin1', at, at + LITERAL_BYTES));
    if (match !== null) return match[1] ?? null;
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

/** Pure: compares versions of three numbers. */
export function isBefore(version: string, other: string): boolean {
  const [left, right] = [version, other].map((text) => text.split('.').map(Number)) as [number[], number[]];
  const at = left.findIndex((part, i) => part !== right[i]);
  return at >= 0 && (left[at] as number) < (right[at] ?? 0);
}
