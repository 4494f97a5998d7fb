/** One arrival of bytes, on the clock of `monotonicMs`. */
export interface StampedChunk {
  readonly atMs: number;
  readonly bytes: Buffer;
}

/** One server-sent event; `atMs` is the arrival of the chunk that completed it. */
export interface SseEvent {
  readonly atMs: number;
  readonly data: string;
}

const LINE_FEED = 0x0a;

/**
 * Reads a whole event stream, after it has ended. Events may be split over chunks anywhere, in the middle of a
 * character too; lines end with LF or CRLF. An event without its closing empty line was cut off and is left out.
 */
export function parseSse(chunks: readonly StampedChunk[]): SseEvent[] {
  const events: SseEvent[] = [];
  let data: string[] = [];
  for (const { atMs, line } of stampedLines(chunks)) {
    if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
    if (line !== '' || data.length === 0) continue;
    events.push({ atMs, data: data.join('\n') });
    data = [];
  }
  return events;
}

export function* stampedLines(chunks: readonly StampedChunk[]): Generator<{ atMs: number; line: string }> {
  let parts: Buffer[] = [];
  for (const { atMs, bytes } of chunks) {
    let start = 0;
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
      const line = Buffer.concat([...parts, bytes.subarray(start, end)]).toString('utf8');
      yield { atMs, line: line.endsWith('\r') ? line.slice(0, -1) : line };
      parts = [];
      start = end + 1;
    }
    parts.push(bytes.subarray(start));
  }
}
