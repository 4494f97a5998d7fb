/** What is preloaded into llama-server, in a program that makes the same calls. */
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
const [LIBRARY = '', PROGRAM = '', CONTEXT = ''] = ['library.c', 'program.c', 'context.c'].map((name) =>
  fileURLToPath(new URL(`../fixtures/preloads/${name}`, import.meta.url)),
);
const [CLOCK = '', OUTPUTS = ''] = ['decode-clock.c', 'outputs.c'].map((name) =>
  fileURLToPath(new URL(`../../bench/bare/${name}`, import.meta.url)),
);
const compiler = (await readCompilerFacts()).cxx;
const missing = process.platform !== 'linux' ? 'this bench is for Linux' : compiler === null ? 'no C++ compiler' : null;
if (missing !== null) console.log(`preloads.test.ts: skipped: ${missing}`);

describe.skipIf(missing !== null)('preloaded into a server', () => {
  let folder = '';
  const made = (name: string): string => join(folder, name);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'runoff-clock-'));
    const compile = (args: readonly string[]) => run(compiler ?? '', args);
    await compile(preloadArgs(CLOCK, [], made('clock.so')));
    await compile(preloadArgs(OUTPUTS, ['-DPARAMS_BYTES=160', '-DOUTPUTS_AT=20'], made('outputs.so')));
    await compile(['-shared', '-fPIC', '-x', 'c', LIBRARY, '-o', made('libengine.so')]);
    const linked = [`-L${folder}`, '-lengine', `-Wl,-rpath,${folder}`];
    await compile(['-x', 'c', PROGRAM, '-o', made('program'), ...linked]);
    await compile(['-x', 'c', CONTEXT, '-o', made('context'), ...linked]);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('the clock times the calls, lets every answer through, and a wait inside the sampler is the sampler’s', async () => {
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

  test('a clock that is not told where to write writes nothing, and changes nothing', async () => {
    const before = await readdir(folder);
    await run(made('program'), [], { env: { LD_PRELOAD: made('clock.so') }, cwd: folder });
    expect(await readdir(folder)).toEqual(before);
  });

  test('the outputs are set to those of a batch, and nothing else of the context', async () => {
    const ask = async (preload: string): Promise<string> => {
      const { stdout } = await run(made('context'), [], { env: { LD_PRELOAD: preload } });
      return stdout;
    };
    // 40 numbers of 4 bytes, each its own index: the sixth, at byte 20, is the number of outputs.
    const numbers = Array.from({ length: 40 }, (_, index) => index + 1);
    expect(await ask('')).toBe(numbers.join(' '));
    expect(await ask(made('outputs.so'))).toBe(numbers.with(5, 0).join(' '));
  });
});
