/** How a process ended, in words. */

/** STATUS_ILLEGAL_INSTRUCTION, as an unsigned number: Windows has no signals. */
const WINDOWS_ILLEGAL_INSTRUCTION = 0xc0_00_00_1d;

/** `SIGSEGV`, `exit code 3`; a build for another processor is named as such. */
export function exitText({ code, signal }: { readonly code: number | null; readonly signal: string | null }): string {
  const refused = signal === 'SIGILL' || code === WINDOWS_ILLEGAL_INSTRUCTION;
  return `${signal ?? `exit code ${code ?? 'unknown'}`}${refused ? ': this build uses an instruction that the processor refuses' : ''}`;
}
