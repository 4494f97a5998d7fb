/** How a process ended, in words, and what follows from it. */

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** STATUS_ILLEGAL_INSTRUCTION, as an unsigned number: Windows has no signals. */
const WINDOWS_ILLEGAL_INSTRUCTION = 0xc0_00_00_1d;

/** `SIGSEGV`, `exit code 3`; a build for another processor is named as such. */
export function exitText(exit: ProcessExit): string {
  const { code, signal } = exit;
  const how = signal ?? `exit code ${code ?? 'unknown'}`;
  return isForAnotherProcessor(exit) ? `${how}: this build uses an instruction that the processor refuses` : how;
}

/** What to do about it; null where the way it ended does not tell. */
export function exitHint(exit: ProcessExit): string | null {
  return isForAnotherProcessor(exit)
    ? 'Take another build of it: a release for this processor, or one that is compiled on this machine with a newer compiler.'
    : null;
}

function isForAnotherProcessor({ code, signal }: ProcessExit): boolean {
  return signal === 'SIGILL' || code === WINDOWS_ILLEGAL_INSTRUCTION;
}
