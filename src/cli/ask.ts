import { createInterface } from 'node:readline/promises';

/** Asks on a terminal. Elsewhere nobody can answer, and who starts a program in a script means it: yes. */
export async function askYesNo(question: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return true;
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return !/^n/i.test((await prompt.question(`${question} [Y/n] `)).trim());
  } finally {
    prompt.close();
  }
}

/** What `mayInstall` answers: never with --no-install, always with --yes, else the user decides. */
export function installQuestion({ yes, install }: { yes: boolean; install: boolean }): (question: string) => Promise<boolean> {
  return async (question) => install && (yes || (await askYesNo(question)));
}
