/** Pure: how far a download is, at which rate, and how long it will take. */

/** The rate is that of the last seconds: what the line gives now, without its jumps. */
const WINDOW_MS = 8_000;
/** Before that, a rate is a guess. */
const KNOWN_AFTER_MS = 1_500;

export interface TransferProgress {
  /** @returns one line */
  text(name: string, doneBytes: number, nowMs: number): string;
}

export function transferProgress(totalBytes: number): TransferProgress {
  const seen: { readonly atMs: number; readonly bytes: number }[] = [];
  return {
    text(name, doneBytes, nowMs) {
      // One point per tenth of a second is enough for the window.
      if (nowMs - (seen.at(-1)?.atMs ?? Number.NEGATIVE_INFINITY) >= 100) seen.push({ atMs: nowMs, bytes: doneBytes });
      while (seen.length > 2 && nowMs - (seen[0]?.atMs ?? nowMs) > WINDOW_MS) seen.shift();
      const first = seen[0];
      const elapsedMs = first === undefined ? 0 : nowMs - first.atMs;
      const line = `Downloading ${name} (${megabytes(doneBytes)} of ${megabytes(totalBytes)} MB`;
      if (first === undefined || elapsedMs < KNOWN_AFTER_MS) return `${line})`;
      const bytesPerMs = (doneBytes - first.bytes) / elapsedMs;
      if (bytesPerMs <= 0) return `${line}, nothing arrives)`;
      return `${line}, ${(bytesPerMs / 1_000).toFixed(1)} MB/s, ${duration((totalBytes - doneBytes) / bytesPerMs)} left)`;
    },
  };
}

export function megabytes(bytes: number): string {
  return Math.ceil(bytes / 1e6).toLocaleString('en-US');
}

function duration(ms: number): string {
  const seconds = Math.ceil(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
