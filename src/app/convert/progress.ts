import type { Ui } from '../ui.ts';

interface Progress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** Before this a rate says nothing: processes start, files are opened. */
const RATE_AFTER_MS = 1_000;
const RATE_AFTER_SHARE = 0.02;

/** One status line: megabytes of the source, rate, remaining time. */
export function conversionProgress(
  ui: Ui,
  what: string,
  now: () => number = () => performance.now(),
): (progress: Progress) => void {
  const startedMs = now();
  return (progress) => ui.status(`${what} (${describeProgress(progress, now() - startedMs)})`);
}

/** Pure: `812 of 2472 MB, 410 MB/s, 4 s left`. */
export function describeProgress({ doneBytes, totalBytes }: Progress, elapsedMs: number): string {
  const megabytes = (bytes: number): number => Math.round(bytes / 1e6);
  const amount = `${megabytes(doneBytes)} of ${megabytes(totalBytes)} MB`;
  if (elapsedMs < RATE_AFTER_MS || doneBytes < RATE_AFTER_SHARE * totalBytes) return amount;
  const bytesPerMs = doneBytes / elapsedMs;
  return `${amount}, ${Math.round(bytesPerMs / 1e3)} MB/s, ${remaining((totalBytes - doneBytes) / bytesPerMs)} left`;
}

function remaining(milliseconds: number): string {
  const seconds = Math.ceil(milliseconds / 1000);
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}
