/** Pure: one line for work that goes through bytes: `Comparing weights: 120 of 500 MB, 350 MB/s, 2 s left`. */

export interface ByteProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly elapsedMs: number;
}

/** Before this a rate is noise. */
const RATE_AFTER_MS = 1_000;
const MEGABYTE = 1e6;

export function progressText(what: string, { doneBytes, totalBytes, elapsedMs }: ByteProgress): string {
  const megabytes = (bytes: number): string => Math.ceil(bytes / MEGABYTE).toLocaleString('en-US');
  const amount = `${what}: ${megabytes(doneBytes)} of ${megabytes(totalBytes)} MB`;
  if (elapsedMs < RATE_AFTER_MS || doneBytes === 0) return amount;
  const bytesPerMs = doneBytes / elapsedMs;
  const leftSeconds = Math.ceil((totalBytes - doneBytes) / bytesPerMs / 1_000);
  const left = leftSeconds < 120 ? `${leftSeconds} s` : `${Math.ceil(leftSeconds / 60)} min`;
  return `${amount}, ${megabytes(bytesPerMs * 1_000)} MB/s, ${left} left`;
}
