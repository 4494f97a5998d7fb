import { createWriteStream } from 'node:fs';

/** An engine that logs more has a problem, and its first megabytes tell which. */
const LOG_BYTES_MAX = 16 * 1024 * 1024;

export interface CappedLog {
  write(chunk: Buffer): void;
  end(): void;
}

/** Appends to a log file up to a limit. A full disk loses the log, never the run. */
export function openCappedLog(path: string): CappedLog {
  const stream = createWriteStream(path, { flags: 'a' });
  let bytes = 0;
  stream.on('error', () => {
    bytes = Number.POSITIVE_INFINITY;
  });
  return {
    write(chunk) {
      if (bytes > LOG_BYTES_MAX) return;
      bytes += chunk.length;
      stream.write(bytes > LOG_BYTES_MAX ? `\n[runoff: the log ends here, at ${LOG_BYTES_MAX} bytes]\n` : chunk);
    },
    end: () => void stream.end(),
  };
}
