import { AppError } from '../core/errors.ts';

/** Longest timer that Node keeps: a longer one fires at once (signed 32 bits of milliseconds). */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Milliseconds on a clock that never jumps; only differences mean something. */
export function monotonicMs(): number {
  return performance.now();
}

/** Waits without using the processor. @throws AppError `interrupted` as soon as the signal is aborted. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    if (signal?.aborted) return reject(interrupted());
    const timer = setTimeout(finish, Math.min(Math.max(0, ms), TIMER_MS_MAX));
    signal?.addEventListener('abort', abort, { once: true });
    function finish(): void {
      signal?.removeEventListener('abort', abort);
      resolve();
    }
    function abort(): void {
      clearTimeout(timer);
      reject(interrupted());
    }
  });
}

function interrupted(): AppError {
  return new AppError('interrupted', 'interrupted while waiting');
}
