/** The table of traps in docs/LLAMAFILE.md: what each guard is for, and the test that must fail without it. */
import { readdirSync, readFileSync } from 'node:fs';

export const ROOT = new URL('../../', import.meta.url);

export interface Trap {
  readonly name: string;
  readonly guard: string;
  /** Title of its test, as it stands in the source: with %s and the like where it has several cases. */
  readonly title: string;
  /** From the root; null where no test has this title. */
  readonly testFile: string | null;
}

const FOLDERS = ['test/engines/', 'test/app/', 'test/core/doctor/', 'test/models/llamafile/'];
/** Tests that several engines share, and the file that runs them for llamafile. */
const SHARED: Readonly<Record<string, string>> = {
  'test/engines/describe-engine.ts': 'test/engines/llamafile.test.ts',
  'test/engines/conformance.ts': 'test/engines/llamafile-running.test.ts',
};

export function read(path: string): string {
  return readFileSync(new URL(path, ROOT), 'utf8');
}

export function traps(): Trap[] {
  const files = new Map<string, string>();
  for (const path of testFiles()) {
    // The title of a test, or the name of a case in the table of one.
    for (const [, , title = ''] of read(path).matchAll(/[([]\s*(['"`])((?:(?!\1).)+)\1,/g))
      if (!files.has(title)) files.set(title, SHARED[path] ?? path);
  }
  const table = read('docs/LLAMAFILE.md').split(/^## Traps$/m)[1] ?? '';
  return table
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| (Trap|-)/.test(line))
    .map((line) => {
      const [name = '', guard = '', test = ''] = line
        .split(' | ')
        .map((cell) => cell.replaceAll(/^\| *| *\|? *$/g, '').trim());
      const title = test.slice(1, -1);
      return { name, guard, title, testFile: files.get(title) ?? null };
    });
}

/** Those of llamafile first: other engines have tests of the same name. */
function testFiles(): string[] {
  const all = FOLDERS.flatMap((folder) =>
    readdirSync(new URL(folder, ROOT))
      .filter((name) => name.endsWith('.test.ts') && name !== 'llamafile-traps.test.ts')
      .map((name) => folder + name),
  );
  const own = (path: string): boolean => path.includes('llamafile');
  return [...all.filter(own), ...Object.keys(SHARED), ...all.filter((path) => !own(path))];
}
