/**
 * `npm run mutations [-- WORDS]`: takes every guard against a trap of llamafile away, one at a time, in a copy of the
 * sources, and runs the test that docs/LLAMAFILE.md names for it. A test that still passes guards nothing.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MUTATIONS, type Mutation } from '../test/traps/llamafile.ts';
import { ROOT, traps, type Trap } from '../test/traps/rows.ts';

/** What the tests read, node_modules apart. */
const COPIED = ['src', 'test', 'docs', 'assets', 'environments', 'schema', 'package.json', 'vitest.config.ts'];
/** The slowest of these tests has a limit of a minute. */
const RUN_MS_MAX = 180_000;

interface Outcome {
  readonly verdict: 'killed' | 'SURVIVED' | 'BROKEN';
  readonly detail: string;
}

interface Report {
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

const root = fileURLToPath(ROOT);
const words = process.argv.slice(2).map((word) => word.toLowerCase());
const chosen = MUTATIONS.filter(({ trap }) => words.every((word) => trap.toLowerCase().includes(word)));
const byName = new Map(traps().map((trap) => [trap.name, trap]));
const folder = mkdtempSync(join(tmpdir(), 'runoff-mutations-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

for (const name of COPIED) cpSync(join(root, name), join(folder, name), { recursive: true });
symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');

const counts = { killed: 0, SURVIVED: 0, BROKEN: 0 };
/** Of unchanged sources: several guards have one test. */
const wholeRuns = new Map<string, ReturnType<typeof run>>();
for (const mutation of chosen) {
  const trap = byName.get(mutation.trap);
  const { verdict, detail } =
    trap === undefined ? broken('docs/LLAMAFILE.md has no such row') : attempt(mutation, trap);
  counts[verdict] += 1;
  console.log(`${verdict.padEnd(8)}  ${mutation.trap}  (${mutation.file})${detail === '' ? '' : `: ${detail}`}`);
}
console.log(`${counts.killed} killed, ${counts.SURVIVED} survived, ${counts.BROKEN} broken`);
process.exitCode = counts.killed === chosen.length && chosen.length > 0 ? 0 : 1;

function attempt({ file, from, to }: Mutation, { title, testFile }: Trap): Outcome {
  if (testFile === null) return broken('no test has the title of its row');
  const path = join(folder, file);
  const whole = readFileSync(path, 'utf8');
  const key = `${testFile} ${title}`;
  const before = wholeRuns.get(key) ?? run(testFile, title);
  wholeRuns.set(key, before);
  if (before.passed === 0 || before.failed > 0)
    return broken(`with the guard, ${before.passed} tests pass and ${before.failed} fail`);
  writeFileSync(
    path,
    whole.replace(from, () => to),
  );
  try {
    const after = run(testFile, title);
    if (after.failed > 0) return { verdict: 'killed', detail: '' };
    if (after.passed === 0) return broken(after.message);
    return { verdict: 'SURVIVED', detail: `${testFile}: ${title}` };
  } finally {
    writeFileSync(path, whole);
  }
}

function broken(detail: string): Outcome {
  return { verdict: 'BROKEN', detail };
}

/** Only the tests of this title; a file that does not even load has none. */
function run(testFile: string, title: string): { passed: number; failed: number; message: string } {
  const output = join(folder, 'report.json');
  rmSync(output, { force: true });
  const pattern = `--testNamePattern=${patternOf(title)}`;
  const options = ['run', '--project', 'unit', '--reporter=json', `--outputFile=${output}`, pattern];
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const { stderr } = spawnSync(process.execPath, [vitest, ...options, testFile], {
    cwd: folder,
    encoding: 'utf8',
    timeout: RUN_MS_MAX,
  });
  let report: Report = { testResults: [] };
  try {
    report = JSON.parse(readFileSync(output, 'utf8')) as Report;
  } catch {
    return { passed: 0, failed: 0, message: stderr.slice(-500) };
  }
  const statuses = report.testResults.flatMap(({ assertionResults }) => assertionResults.map(({ status }) => status));
  const count = (wanted: string): number => statuses.filter((status) => status === wanted).length;
  const message = report.testResults.map(({ message: text }) => text).join(' ');
  return { passed: count('passed'), failed: count('failed'), message: message.slice(0, 500) };
}

/** The title with every place of a value open. */
function patternOf(title: string): string {
  return title
    .split(/%[sdij]/)
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`))
    .join('.*');
}
