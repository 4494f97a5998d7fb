/** The pure parts of `npm run bench -- peers`: what the peers print, and the arithmetic on it. */
import { describe, expect, test } from 'vitest';
import { compileArgs } from '../../bench/peers/build-llama-bench.ts';
import { readCalls, splitCalls } from '../../bench/peers/decode-clock.ts';
import type { Call } from '../../bench/peers/decode-clock.ts';
import { readLlamaBench, readLoadedLibraries, readMlxBenchmark } from '../../bench/peers/readings.ts';
import { judge, ratioOf, roundsToTell, splitShares } from '../../bench/peers/shares.ts';
import { llamaTable, mlxTable } from '../../bench/peers/tables.ts';
import { startOrder } from '../../bench/peers/turns.ts';
import type { LlamaRound } from '../../bench/peers/turns.ts';

/** One line of `llama-bench -o jsonl`, shortened by fields that nobody reads. */
const ENTRY = {
  build_commit: '0c1e57098',
  n_batch: 512,
  n_ubatch: 512,
  n_threads: 1,
  type_k: 'f16',
  type_v: 'f16',
  n_prompt: 0,
  n_gen: 64,
  n_depth: 512,
  avg_ns: 1_000_000_000,
  samples_ns: [960_000_000, 1_040_000_000],
};

describe('llama-bench', () => {
  test('its JSON: what was tested, with which settings, and every repetition', () => {
    expect(readLlamaBench(JSON.stringify(ENTRY))).toEqual({
      promptTokens: 0,
      generateTokens: 64,
      depthTokens: 512,
      settings: 'threads 1, batch 512, micro-batch 512, KV f16/f16',
      samplesMs: [960, 1_040],
    });
  });

  test.each([
    ['no JSON', 'error: failed to load model'],
    ['a list of tests', JSON.stringify([ENTRY])],
    ['no repetition', JSON.stringify({ ...ENTRY, samples_ns: [] })],
    ['a time that is none', JSON.stringify({ ...ENTRY, samples_ns: [0] })],
  ])('%s is an error', (_, text) => {
    expect(() => readLlamaBench(text)).toThrow('llama-bench printed something else than its results');
  });

  test('it is linked against the libraries of the environment, and finds them again', () => {
    const args = compileArgs('/src', { libraries: '/env/lib', made: '/out/llama-bench' }, 'linux');
    expect(args.slice(-7)).toEqual([
      '-L/env/lib',
      '-lllama-common',
      '-lllama',
      '-lggml',
      '-lggml-base',
      '-Wl,-rpath,/env/lib',
      '-Wl,-rpath-link,/env/lib',
    ]);
    expect(compileArgs('/src', { libraries: '/env/lib', made: '/x' }, 'darwin').at(-1)).toBe('-Wl,-rpath,/env/lib');
  });

  test('what the loader would load', () => {
    const trace = [
      '\tlinux-vdso.so.1 (0x00007ffd0b1f2000)',
      '\tlibllama.so.0 => /env/lib/libllama.so.0 (0x00007f3b2c000000)',
      '\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f3b2bf00000)',
      '\tlibgone.so => not found',
      '\t/lib64/ld-linux-x86-64.so.2 (0x00007f3b2c800000)',
    ].join('\n');
    expect([...readLoadedLibraries(trace)]).toEqual([
      ['libllama.so.0', '/env/lib/libllama.so.0'],
      ['libm.so.6', '/lib/x86_64-linux-gnu/libm.so.6'],
    ]);
  });
});

describe('mlx_lm.benchmark', () => {
  const OUTPUT = `Running warmup..
Timing with prompt_tokens=32, generation_tokens=16, batch_size=1.
Trial 1:  prompt_tps=16.000, generation_tps=8.000, peak_memory=0.412, total_time=4.013
Trial 2:  prompt_tps=20.000, generation_tps=10.000, peak_memory=0.412, total_time=3.210
Averages: prompt_tps=18.000, generation_tps=9.000, peak_memory=0.412
`;

  test('its rates as times: 16 tokens have 15 intervals, and it divides by 16', () => {
    const shape = { promptTokens: 32, generateTokens: 16, trials: 2 };
    expect(readMlxBenchmark(OUTPUT, shape)).toEqual([
      { prefillMs: 2_000, decodeMs: 2_000 / 15 },
      { prefillMs: 1_600, decodeMs: 1_600 / 15 },
    ]);
  });

  test('a trial that is missing is an error', () => {
    expect(() => readMlxBenchmark(OUTPUT, { promptTokens: 32, generateTokens: 16, trials: 3 })).toThrow(
      'mlx_lm.benchmark printed something else than its results',
    );
  });
});

describe('ratios and shares', () => {
  test('a ratio is the geometric mean over rounds, with the t interval of its logs', () => {
    // ln ratios 0, ln 1.1, ln 1.21: mean ln 1.1, s = ln 1.1, half width 4.302653 * s / sqrt(3) (t table, 2 degrees).
    const { estimate, low, high } = ratioOf([100, 110, 121], [100, 100, 100]);
    expect(estimate).toBeCloseTo(1.1, 9);
    expect(low).toBeCloseTo(1.1 * Math.exp((-4.302653 * Math.log(1.1)) / Math.sqrt(3)), 5);
    expect(high).toBeCloseTo(1.1 * Math.exp((4.302653 * Math.log(1.1)) / Math.sqrt(3)), 5);
  });

  test('two rounds give no interval', () => {
    expect(ratioOf([100, 121], [100, 100])).toEqual({ estimate: expect.closeTo(1.1, 9), low: null, high: null });
  });

  test('the parts of a token add up to the whole, the rest is what none explains', () => {
    const rounds = [
      { total: 20, engine: 17, sampling: 1, loop: 1, transport: 0.5 },
      { total: 10, engine: 8.5, sampling: 0.5, loop: 0.5, transport: 0.5 },
      { total: 10, engine: 8.5, sampling: 0.5, loop: 0.5, transport: 0 },
    ];
    const shares = splitShares(rounds);
    expect(shares.engine?.estimate).toBeCloseTo(0.85, 12);
    expect(shares.loop?.estimate).toBeCloseTo(0.05, 12);
    expect(shares.sampling?.estimate).toBeCloseTo(0.05, 12);
    expect(shares.transport?.estimate).toBeCloseTo(0.025, 12);
    expect(shares.rest?.estimate).toBeCloseTo(0.025, 12);
    // Shares of the rest: .025, 0, .05; s = .025.
    expect(shares.rest?.high).toBeCloseTo(0.025 + (4.302653 * 0.025) / Math.sqrt(3), 6);
  });

  test('in process there is no transport, and none is made up', () => {
    const shares = splitShares([{ total: 10, engine: 8.5, sampling: 0.5, loop: 0.5, transport: null }]);
    expect(shares.transport).toBeNull();
    expect(shares.rest).toEqual({ estimate: expect.closeTo(0.05, 12), low: null, high: null });
  });

  test('calls inside the engine: from the first choice of a token on, for each interval', () => {
    const ms = (start: number, end: number): [number, number] => [start * 1e6, end * 1e6];
    const calls: Call[] = [
      [0, ...ms(0, 100)],
      [1, ...ms(100, 102)],
      [0, ...ms(103, 113)],
      [1, ...ms(113, 114)],
      [0, ...ms(114, 134)],
      [1, ...ms(134, 136)],
    ];
    expect(splitCalls(calls, 3)).toEqual({ engineMs: 15, samplingMs: 1.5, loopMs: 0.5 });
    expect(() => splitCalls(calls, 4)).toThrow('3 tokens were chosen inside the engine, and 4 answered');
  });

  test('the calls as they are written: three numbers of 64 bits each, and a torn one is left out', () => {
    const bytes = Buffer.alloc(28);
    for (const [index, value] of [1n, 5_000n, 7_000n].entries()) bytes.writeBigUInt64LE(value, index * 8);
    expect(readCalls(bytes)).toEqual([[1, 5_000, 7_000]]);
  });

  test.each([
    [0.99, 1.01, 'holds'],
    [0.97, 1.01, 'open'],
    [0.97, 1.03, 'open'],
    [1.03, 1.05, 'DOES NOT HOLD'],
    [0.9, 0.97, 'DOES NOT HOLD'],
    [null, null, 'open'],
  ])('an interval of %s to %s inside 0.98-1.02: %s', (low, high, expected) => {
    expect(judge({ estimate: 1, low, high }, { low: 0.98, high: 1.02 })).toBe(expected);
  });
});

test('each process starts first in one round of four, and second, and so on', () => {
  const rounds = [0, 1, 2, 3].map((round) => startOrder(['a', 'b', 'c', 'd'], round));
  for (const place of [0, 1, 2, 3])
    expect(new Set(rounds.map((order) => order[place]))).toEqual(new Set(['a', 'b', 'c', 'd']));
  const firsts = Array.from({ length: 40 }, (_, index) => startOrder(['a', 'b', 'c', 'd'], index * 4).join(''));
  expect(new Set(firsts).size).toBeGreaterThan(10);
});

test('rounds that would tell: a third of the width needs nine times as many', () => {
  const limits = { low: 0.98, high: 1.02 };
  expect(roundsToTell({ estimate: 1, low: 0.94, high: 1.06 }, limits, 6)).toBe(54);
  expect(roundsToTell({ estimate: 1, low: null, high: null }, limits, 2)).toBeNull();
});

test('the tables', () => {
  const serverReading = (slow: number, prefillMs: number): LlamaRound['server'] => ({
    through: { prefillMs: prefillMs * slow, decodeMs: 10.5 * slow },
    own: { prefillMs: 1_010 * slow, decodeMs: 10.4 * slow },
    computeMs: 10.1 * slow,
    token: {
      total: 10.5 * slow,
      engine: 10.1 * slow,
      sampling: 0.1 * slow,
      loop: 0.15 * slow,
      transport: 0.1 * slow,
    },
  });
  const round = (slow: number): LlamaRound => ({
    bench: { prefillMs: 1_000 * slow, decodeMs: 10 * slow },
    library: {
      through: { prefillMs: 1_005 * slow, decodeMs: 10.2 * slow },
      loop: { prefillMs: 1_001 * slow, decodeMs: 10.01 * slow },
      computeMs: 10.05 * slow,
      token: { total: 10.2 * slow, engine: 10.05 * slow, sampling: 0.1 * slow, loop: 0.02 * slow, transport: null },
    },
    server: serverReading(slow, 1_030),
    alike: serverReading(slow, 1_002),
  });
  const shape = { promptTokens: 512, generateTokens: 64, repetitions: 2 };
  expect(llamaTable([round(1), round(1.1), round(1.2)], shape).join('\n')).toMatchInlineSnapshot(`
    "prefill of 512 tokens                               ms   against llama-bench (95%)
    llama-bench pp512                                 1100
      its loop in the process that runoff drives      1101   1.001 (1.001-1.001)
    runoff, libllama                                  1106   1.005 (1.005-1.005)
      against its loop in the same process                   1.004 (1.004-1.004)
    runoff, llama-server                              1133   1.030 (1.030-1.030)
      against its loop beside it                             1.029 (1.029-1.029)
      by its own clock                                1111   1.010 (1.010-1.010)
      with outputs as llama-bench has                 1102   1.002 (1.002-1.002)
      what its own number of them costs                      1.028 (1.028-1.028)

    decode after 512 tokens                       ms/token   against llama-bench (95%)
    llama-bench tg64 @ d512                          11.00
      its loop in the process that runoff drives     11.01   1.001 (1.001-1.001)
    runoff, libllama                                 11.22   1.020 (1.020-1.020)
      against its loop in the same process                   1.019 (1.019-1.019)
    runoff, llama-server                             11.55   1.050 (1.050-1.050)
      against its loop beside it                             1.049 (1.049-1.049)
      by its own clock                               11.44   1.040 (1.040-1.040)
      with outputs as llama-bench has                11.55   1.050 (1.050-1.050)
      what its own number of them costs                      1.000 (1.000-1.000)
    only the calls that compute, libllama            11.06   1.005 (1.005-1.005)
    only the calls that compute, llama-server        11.11   1.010 (1.010-1.010)
      with outputs as llama-bench has                11.11   1.010 (1.010-1.010)

    of the time of a token, 95%                 libllama                  llama-server
    engine (calls that compute the model)       98.5% (98.5 to 98.5)      96.2% (96.2 to 96.2)
    sampling                                    1.0% (1.0 to 1.0)         1.0% (1.0 to 1.0)
    own loop (between these calls)              0.2% (0.2 to 0.2)         1.4% (1.4 to 1.4)
    transport (HTTP)                            -                         1.0% (1.0 to 1.0)
    rest, not explained                         0.3% (0.3 to 0.3)         0.5% (0.5 to 0.5)
    rest within 2%, libllama: holds
    rest within 2%, llama-server: holds

    prefill through libllama, of its loop in the same process: within 0.98-1.02: holds
    prefill through libllama, of llama-bench itself: within 0.98-1.02: holds
    prefill through llama-server with its outputs, of llama-bench itself: within 0.98-1.02: holds
    prefill through llama-server as it is, of llama-bench itself: within 0.98-1.02: DOES NOT HOLD"
  `);
  const mlx = { benchmark: { prefillMs: 4_000, decodeMs: 120 }, runoff: { prefillMs: 4_040, decodeMs: 121.2 } };
  expect(mlxTable([mlx, mlx, mlx], { promptTokens: 32, generateTokens: 16, repetitions: 2 }).join('\n'))
    .toMatchInlineSnapshot(`
    "prefill of 32 tokens                                ms   against mlx_lm.benchmark (95%)
    mlx_lm.benchmark                                  4000
    runoff, mlx-lm                                    4040   1.010 (1.010-1.010)
    decode, 16 tokens                             ms/token   against mlx_lm.benchmark (95%)
    mlx_lm.benchmark                                   120
    runoff, mlx-lm                                     121   1.010 (1.010-1.010)"
  `);
});
