import { createInterface } from 'node:readline/promises';
import { AppError } from '../core/errors.ts';

/** Asks on a terminal. Elsewhere nobody can answer, and who starts a program in a script means it: yes. */
export async function askYesNo(question: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return true;
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return !/^n/i.test((await prompt.question(`${question} [Y/n] `)).trim());
  } catch (error) {
    // Ctrl-C or Ctrl-D: readline has the terminal in raw mode, so neither becomes a signal.
    throw new AppError('interrupted', 'nothing was measured', { cause: error });
  } finally {
    prompt.close();
  }
}

/**
 * What `mayInstall` answers: never with --no-install, never with --no-compile where something is compiled, always with
 * --yes, else the user decides.
 */
export function installQuestion({
  yes,
  install,
  compile = true,
}: {
  yes: boolean;
  install: boolean;
  compile?: boolean;
}): (question: string, compileMinutes?: number) => Promise<boolean> {
  return async (question, compileMinutes) =>
    install && (compile || compileMinutes === undefined) && (yes || (await askYesNo(question)));
}

/** Why no model may be downloaded; null where it may. */
export function offlineBecause(install: boolean): string | null {
  return install ? null : '--no-install';
}
