/** The documents agree with the code: generated files are fresh, links lead somewhere, and nothing private is in them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { EXIT } from '../src/cli/exit-codes.ts';
import { buildProgram } from '../src/cli/program.ts';
import { gateNames, verdicts } from '../src/core/record.ts';
import { generatedFiles } from '../scripts/generate.ts';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DOCUMENTS = ['README.md', 'CHANGELOG.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)];

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

describe('generated files are fresh (npm run generate)', () => {
  test.each([...generatedFiles().keys()])('%s', (path) => {
    expect(read(path)).toBe(generatedFiles().get(path));
  });
});

describe('links inside the repository lead to files', () => {
  test.each(DOCUMENTS)('%s', (path) => {
    const targets = [...read(path).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map((match) => match[1] ?? '');
    expect(targets.filter((target) => !existsSync(join(ROOT, dirname(path), target)))).toEqual([]);
  });
});

describe('what the documents list is complete', () => {
  test('README: every exit code', () => {
    const missing = Object.values(EXIT).filter((code) => !read('README.md').includes(`| ${code} |`));
    expect(missing).toEqual([]);
  });

  test('README: every option of runoff run', () => {
    const run = buildProgram().commands.find((command) => command.name() === 'run');
    const missing = (run?.options ?? []).flatMap(({ long }) => (long != null && !read('README.md').includes(long) ? [long] : []));
    expect(missing).toEqual([]);
  });

  test('METHODOLOGY: every gate and every verdict', () => {
    const text = read('docs/METHODOLOGY.md');
    expect([...gateNames, ...verdicts].filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });
});
