/** The clock that is preloaded into llama-server, in a program that makes the same calls. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { preloadArgs } from '../../bench/peers/build-llama-bench.ts';
import { readCalls, splitCalls } from '../../bench/peers/decode-clock.ts';
import { readCompilerFacts } from '../../src/platform/environments/compiler.ts';

const run = promisify(execFile);
const [LIBRARY, PROGRAM] = ['library.c', 'program.c'].map((name) =>
  fileURLToPath(new URL(`../fixtures/decode-clock/${name}`, import.meta.url)),
);
const CLOCK = fileURLToPath(new URL('../../bench/bare/decode-clock.c', import.meta.url));
const compiler = (await readCompilerFacts()).cxx;
const missing = process.platform !== 'linux' ? 'this bench is for Linux' : compiler === null ? 'no C++ compiler' : null;
if (missing !== null) console.log(`decode-clock.test.ts: skipped: ${missing}`);

describe.skipIf(missing !== null)('the decode clock', () => {
  let folder = '';
  const made = (name: string): string => join(folder, name);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'runoff-clock-'));
    const compile = (args: readonly string[]) => run(compiler ?? '', args);
    await compile(preloadArgs(CLOCK, [], made('clock.so')));
    await compile(['-shared', '-fPIC', '-x', 'c', LIBRARY ?? '', '-o', made('libengine.so')]);
    const linked = [`-L${folder}`, '-lengine', `-Wl,-rpath,${folder}`];
    await compile(['-x', 'c', PROGRAM ?? '', '-o', made('program'), ...linked]);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('times the calls, lets every answer through, and a wait inside the sampler is the sampler’s', async () => {
    await run(made('program'), [], { env: { LD_PRELOAD: made('clock.so'), RUNOFF_DECODE_CLOCK: made('calls') } });
    const calls = readCalls(await readFile(made('calls')));
    const [decode, sample] = [0, 1];
    expect(calls.map(([kind]) => kind)).toEqual([1, 2, 3].flatMap(() => [decode, decode, sample]));
    // A sleep is never shorter than it was asked to be; how much longer is the machine's affair.
    const { engineMs, samplingMs, loopMs } = splitCalls(calls, 3);
    expect(engineMs).toBeGreaterThanOrEqual(25);
    expect(samplingMs).toBeGreaterThanOrEqual(5);
    expect(loopMs).toBeGreaterThanOrEqual(10);
    const wholeMs = ((calls.at(-1)?.[2] ?? 0) - (calls[2]?.[2] ?? 0)) / 1e6 / 2;
    expect(engineMs + samplingMs + loopMs).toBeCloseTo(wholeMs, 6);
  });

  test('that is not told where to write writes nothing, and changes nothing', async () => {
    const before = await readdir(folder);
    await run(made('program'), [], { env: { LD_PRELOAD: made('clock.so') }, cwd: folder });
    expect(await readdir(folder)).toEqual(before);
  });
});
