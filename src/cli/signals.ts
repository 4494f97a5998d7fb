import type { Ui } from '../app/ui.ts';
import { stopAll } from '../platform/process/start-process.ts';

/**
 * Ctrl-C and SIGTERM abort the returned signal: the run stops its engines, closes its record and says how to go on.
 * A second Ctrl-C ends at once; the record is valid even then, line by line.
 */
export function interruptible(
  ui: Ui,
  what = 'the engine is being ended, what was measured is kept.',
): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) {
      void stopAll().finally(() => process.exit(130));
      return;
    }
    ui.line(`\nStopping: ${what} (Ctrl-C again ends at once.)`);
    controller.abort();
    // The pending request fails with its engine: no need to wait for an answer that may take minutes.
    void stopAll();
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, onSignal);
  return {
    signal: controller.signal,
    release: () => {
      for (const name of names) process.off(name, onSignal);
    },
  };
}
