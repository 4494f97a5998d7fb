/** What llama-cpp-python's build adds for GCC, by what a compiler makes of it: no processor with AMX is needed. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { readCompilerFacts } from '../../../src/platform/environments/compiler.ts';
import { DEFINITIONS_FOLDER } from '../../../src/platform/environments/definition.ts';
import { findOnPath } from '../../../src/platform/process/find-on-path.ts';

const run = promisify(execFile);
const SOURCE = fileURLToPath(new URL('../fixtures/tile-config', import.meta.url));
const DEFINITION = join(DEFINITIONS_FOLDER, 'llama-cpp-python');

const cmake = findOnPath('cmake');
const gcc = (await readCompilerFacts()).cxx;
async function missing(): Promise<string | null> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'it needs Linux on x64';
  if (cmake === null || gcc === null) return 'it needs CMake and a C++ compiler';
  const { stdout } = await run(gcc, ['-dM', '-E', '-x', 'c++', '-mamx-tile', '/dev/null']).catch(() => ({ stdout: '' }));
  return stdout.includes('__AMX_TILE__') && !stdout.includes('__clang__') ? null : 'it needs a GCC that knows AMX';
}
const reason = await missing();
if (reason !== null) console.log(`tile-config.test.ts: skipped: ${reason}`);

/** The optimised code of a function whose argument is in the part that GCC may leave out. */
async function assembly(args: readonly string[]): Promise<string> {
  const build = await mkdtemp(join(tmpdir(), 'runoff tiles '));
  onTestFinished(() => rm(build, { recursive: true, force: true }));
  await run(cmake ?? '', ['-S', SOURCE, '-B', build, `-DCMAKE_CXX_COMPILER=${gcc}`, ...args]);
  await run(cmake ?? '', ['--build', build]);
  const names = await readdir(build, { recursive: true });
  return readFile(join(build, names.find((name) => /tiles\.cpp\.o$/.test(name)) ?? ''), 'utf8');
}

test.skipIf(reason !== null)('all of a tile configuration is written before it is loaded', async () => {
  const definition = await mkdtemp(join(tmpdir(), 'runoff definition '));
  onTestFinished(() => rm(definition, { recursive: true, force: true }));
  await cp(DEFINITION, definition, { recursive: true });
  const code = await assembly([`-DCMAKE_PROJECT_INCLUDE:FILEPATH=${join(definition, 'project.cmake')}`]);
  const [before = ''] = code.split('ldtilecfg');
  expect(before).not.toBe(code);
  // The argument's register: without the header, GCC 12.2 never reads it.
  expect(before).toMatch(/%(dil|edi)\b/);
});
