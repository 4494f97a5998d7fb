import { stampedLines } from './sse.ts';
import type { StampedChunk } from './sse.ts';

/** One line of a stream of JSON objects; `atMs` is the arrival of the chunk that completed it. */
export interface StampedLine {
  readonly atMs: number;
  readonly line: string;
}

/**
 * Reads a whole stream of one JSON object a line, after it has ended. Lines may be split over chunks anywhere. Empty
 * lines are skipped; a last line without its line feed was cut off and is left out.
 */
export function parseNdjson(chunks: readonly StampedChunk[]): StampedLine[] {
  return [...stampedLines(chunks)].filter(({ line }) => line.trim() !== '');
}
