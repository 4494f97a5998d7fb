/** docs/LLAMAFILE.md names a test for every trap: the names are those of tests that run. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const ROOT = new URL('../../', import.meta.url);
const FOLDERS = ['test/engines/', 'test/real/', 'test/models/llamafile/'];

function read(path: string): string {
  return readFileSync(new URL(path, ROOT), 'utf8');
}

const rows = read('docs/LLAMAFILE.md')
  .split(/^## Traps$/m)[1]
  ?.split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (Trap|-)/.test(line))
  .map((line) => line.split(' | ').map((cell) => cell.replaceAll(/^\| *| *\|? *$/g, '').trim()));
const titles = FOLDERS.flatMap((folder) =>
  readdirSync(new URL(folder, ROOT))
    .filter((name) => name.endsWith('.ts') && name !== 'llamafile-traps.test.ts')
    .flatMap((name) =>
      [...read(`${folder}${name}`).matchAll(/\(\s*(['"`])((?:(?!\1).)+)\1,/g)].map((match) => match[2]),
    ),
);

test('every trap has a guard and a test', () => {
  expect(rows?.length).toBeGreaterThan(40);
  const missing = rows?.filter(([, guard = '', name = '']) => guard === '' || !titles.includes(name.slice(1, -1)));
  expect(missing).toEqual([]);
});
