import { describe, expect, test } from 'vitest';
import type { EngineFacts, ModelFacts } from '../../../src/core/record.ts';
import { compareFamily } from '../../../src/core/verdict/compare-family.ts';
import { decide } from '../../../src/core/verdict/decide.ts';
import type { DecideInput } from '../../../src/core/verdict/decide.ts';
import { explainWhy } from '../../../src/core/verdict/why.ts';
import { engineFacts, modelFacts } from '../fixtures.ts';

const WOBBLE = [0.01, -0.01, 0.005, -0.005, 0.012, -0.012, 0.002, -0.002, 0.007, -0.007, 0.004, -0.004];

function column(ms: number, scale: number, blocks = 12): number[] {
  return Array.from({ length: blocks }, (_, block) => Math.log(ms) + scale * (WOBBLE[block] ?? 0));
}

interface Case {
  readonly times: Readonly<Record<string, readonly number[]>>;
  readonly facts?: readonly EngineFacts[];
  readonly models?: readonly ModelFacts[];
  readonly extra?: Partial<DecideInput>;
  readonly override?: { verdict: 'NOISY' | 'INCONCLUSIVE'; reason: string };
}

function verdictOn({ times, facts, models = [modelFacts()], extra = {}, override }: Case) {
  const mixLogValues = new Map(Object.entries(times));
  const voided = extra.voided ?? new Map<string, string>();
  const comparisons = compareFamily({
    metric: 'request',
    prompt: 'mix',
    perEngineLogValues: mixLogValues,
    alpha: 0.05,
    margin: 1.05,
    voided,
    override: override ?? null,
  });
  return decide({
    engines: facts ?? Object.keys(times).map((id) => engineFacts(id)),
    ranked: Object.keys(times),
    models,
    comparisons,
    mixLogValues,
    voided,
    prompts: ['standard'],
    alpha: 0.05,
    margin: 1.05,
    noise: null,
    pending: null,
    nothingReason: 'no engine is available',
    caveats: [],
    ...extra,
  });
}

describe('headlines', () => {
  test('a winner of two', () => {
    const verdict = verdictOn({ times: { 'llama-cpp': column(142, 5), 'llama-server': column(100, 0) } });
    expect(verdict.headline).toMatchInlineSnapshot(
      `"llama-server is faster than llama-cpp by 1.42x (95% interval 1.39-1.46) in total request time on this machine, for this model and these settings."`,
    );
    expect(verdict).toMatchObject({
      state: 'winner',
      winner: 'llama-server',
      topGroup: ['llama-server'],
      preliminary: false,
      letters: { 'llama-server': 'a', 'llama-cpp': 'b' },
    });
  });

  test('a winner of three', () => {
    expect(
      verdictOn({ times: { a: column(100, 0), b: column(142, 1), c: column(1_530, 3) } }).headline,
    ).toMatchInlineSnapshot(
      `"a is faster than b by 1.42x (95% interval 1.41-1.43) and than c by 15.3x (95% interval 15.0-15.6) in total request time on this machine, for this model and these settings."`,
    );
  });

  test('a tie of two', () => {
    const verdict = verdictOn({ times: { a: column(100, 0), b: column(101, 1) } });
    expect(verdict.headline).toMatchInlineSnapshot(
      `"a and b are equivalent within 5% (1.01x, 95% interval 1.00-1.02) in total request time on this machine, for this model and these settings."`,
    );
    expect(verdict).toMatchObject({
      state: 'tie',
      winner: null,
      topGroup: ['a', 'b'],
      letters: { a: 'a', b: 'a' },
      why: null,
    });
  });

  test('a tie whose printed interval reaches out of the margin says so', () => {
    expect(verdictOn({ times: { a: column(100, 0), b: column(101, 8.4) } }).headline).toBe(
      'a and b are equivalent within 5% (1.01x, 95% interval 0.97-1.05, which is wider than that of the test of equivalence) in total request time on this machine, for this model and these settings.',
    );
  });

  test('a tie at the top of three', () => {
    expect(
      verdictOn({ times: { a: column(100, 0), b: column(101, 1), c: column(150, 2) } }).headline,
    ).toMatchInlineSnapshot(
      `"a and b are equivalent within 5% (1.01x, 95% interval 1.00-1.02) in total request time on this machine, for this model and these settings; both are faster than c."`,
    );
  });

  test('faster, size unresolved', () => {
    const verdict = verdictOn({ times: { a: column(100, 0), b: column(105, 3) } });
    expect(verdict.headline).toMatchInlineSnapshot(
      `"a is faster than b, size unresolved: 1.05x (95% interval 1.03-1.07) in total request time on this machine, for this model and these settings; more than 200 blocks would be needed to resolve it."`,
    );
    expect(verdict).toMatchObject({ state: 'inconclusive', winner: null, topGroup: ['a', 'b'] });
  });

  test('inconclusive, with the blocks that would resolve it', () => {
    expect(verdictOn({ times: { a: column(100, 0), b: column(102, 12) } }).headline).toMatchInlineSnapshot(
      `"Inconclusive: a is 1.02x as fast as b (95% interval 0.96-1.08) in total request time on this machine, for this model and these settings; about 68 blocks would resolve it."`,
    );
  });

  test('preliminary', () => {
    expect(verdictOn({ times: { a: column(100, 0, 4), b: column(200, 1, 4) } })).toMatchObject({
      state: 'winner',
      preliminary: true,
      headline: expect.stringMatching(/^Preliminary: a is faster than b by 2\.00x/) as string,
    });
  });

  test('too few blocks', () => {
    expect(verdictOn({ times: { a: column(100, 0, 2), b: column(200, 1, 2) } }).headline).toMatchInlineSnapshot(
      `"Inconclusive: a and b have 2 accepted blocks in common, a verdict needs at least 3."`,
    );
  });

  test('noisy', () => {
    const noise = {
      reason: '7 of 12 blocks were disturbed: other programs used 23% of the CPU beside a',
      remedy: 'Close other programs, and run again.',
    };
    const verdict = verdictOn({
      times: { a: column(100, 0), b: column(200, 1) },
      override: { verdict: 'NOISY', reason: noise.reason },
      extra: { noise },
    });
    expect(verdict.headline).toMatchInlineSnapshot(
      `"No winner: the machine was too noisy (7 of 12 blocks were disturbed: other programs used 23% of the CPU beside a). Close other programs, and run again."`,
    );
    expect(verdict).toMatchObject({ state: 'noisy', winner: null, topGroup: [], letters: {} });
  });

  test('void: one of two, and one of three', () => {
    const voided = new Map([['b', 'b failed the prompt-cache gate: 79 tokens from a cache']]);
    const two = verdictOn({ times: { a: column(100, 0), b: column(200, 1) }, extra: { voided } });
    expect(two).toMatchObject({ state: 'void', winner: null });
    expect(two.headline).toMatchInlineSnapshot(
      `"No verdict: the comparison is void (b failed the prompt-cache gate: 79 tokens from a cache)."`,
    );
    const three = verdictOn({ times: { a: column(100, 0), b: column(200, 1), c: column(150, 1) }, extra: { voided } });
    expect(three).toMatchObject({ state: 'winner', winner: 'a' });
    expect(three.headline).not.toContain('b by');
    expect(three.caveats[0]).toMatchInlineSnapshot(
      `"b is void and not ranked: b failed the prompt-cache gate: 79 tokens from a cache."`,
    );
  });

  test('one engine, and none', () => {
    expect(verdictOn({ times: { a: column(100, 0) } })).toMatchObject({
      state: 'single-engine',
      topGroup: ['a'],
      winner: null,
    });
    expect(verdictOn({ times: {} })).toMatchObject({
      state: 'nothing-measured',
      headline: 'Nothing was measured: no engine is available.',
    });
  });

  test('before the first look', () => {
    const pending = '4 of 12 blocks are done, the first planned look is at 6';
    expect(
      verdictOn({
        times: { a: column(100, 0, 4), b: column(200, 1, 4) },
        override: { verdict: 'INCONCLUSIVE', reason: pending },
        extra: { pending },
      }).headline,
    ).toMatchInlineSnapshot(`"Inconclusive so far: 4 of 12 blocks are done, the first planned look is at 6."`);
  });
});

test('different bits per weight stand in the headline and in a caveat', () => {
  const models = [modelFacts({ bitsPerWeight: 4.5 }), modelFacts({ format: 'mlx', name: 'twin', bitsPerWeight: 5 })];
  const facts = [engineFacts('gguf-engine'), engineFacts('mlx-engine', { modelFormat: 'mlx' })];
  const verdict = verdictOn({ times: { 'gguf-engine': column(100, 0), 'mlx-engine': column(150, 1) }, facts, models });
  expect(verdict.headline).toContain(
    '1.50x (95% interval 1.49-1.51), with 4.50 (gguf-engine) against 5.00 (mlx-engine) bits per weight, in total',
  );
  expect(verdict.caveats).toContain(
    'gguf-engine and mlx-engine were compared with 4.50 (gguf-engine) against 5.00 (mlx-engine) bits per weight: this is no comparison of equal bytes.',
  );
});

test('a reference backend is unranked and at least N times slower', () => {
  const reference = engineFacts('mlx-lm', { referenceBackend: 'MLX on a CPU' });
  const facts = [engineFacts('a'), engineFacts('b'), reference];
  const short = new Map([
    ['a', column(10, 0, 3)],
    ['mlx-lm', column(421, 1, 3)],
  ]);
  const comparisons = [
    ...compareFamily({
      metric: 'request',
      prompt: 'mix',
      perEngineLogValues: new Map([
        ['a', column(100, 0)],
        ['b', column(150, 1)],
      ]),
      alpha: 0.05,
      margin: 1.05,
    }),
    ...compareFamily({
      metric: 'request',
      prompt: 'short',
      perEngineLogValues: short,
      alpha: 0.05,
      margin: 1.05,
      notCompared: new Map([['mlx-lm', 'reference']]),
    }),
  ];
  const verdict = verdictOn({ times: { a: column(100, 0), b: column(150, 1) }, facts, extra: { comparisons } });
  expect(verdict.topGroup).toEqual(['a']);
  expect(verdict.letters).not.toHaveProperty('mlx-lm');
  expect(verdict.caveats).toContain(
    'mlx-lm is at least 41x slower than a on the prompt "short" (unranked reference backend: MLX on a CPU).',
  );
});

test('why: known facts that differ, unknown ones never', () => {
  const build = { version: '1', library: 'b6700', openMp: true, instructionSets: 'AVX2' };
  const winner = engineFacts('llama-server', { build });
  const loser = engineFacts('llama-cpp', {
    build: { ...build, library: 'b6690', openMp: false, instructionSets: null },
    settings: { threads: 1 },
  });
  expect(explainWhy(winner, { ...loser, settings: { threads: 1 } }, [modelFacts()])).toMatchInlineSnapshot(
    `"What differs between llama-server and llama-cpp, and may explain it: threads (2 against 1), OpenMP (on against off) and library build (b6700 against b6690)."`,
  );
  expect(explainWhy(winner, { ...winner, id: 'twin' }, [modelFacts()])).toBeNull();
});

test('why: a build that creates its threads anew says so, where it uses more than one on the CPU', () => {
  const build = { version: '1', library: 'b1', openMp: true, instructionSets: null };
  const winner = engineFacts('llama-server', { build });
  const loser = engineFacts('llama-cpp', { build: { ...build, openMp: false, disposableThreads: true } });
  expect(explainWhy(winner, loser, [modelFacts()])).toBe(
    'What differs between llama-server and llama-cpp, and may explain it: OpenMP (on against off, threads created anew for every token).',
  );
  const oneThread = { settings: { threads: 1 } };
  expect(explainWhy({ ...winner, ...oneThread }, { ...loser, ...oneThread }, [modelFacts()])).toContain(
    'OpenMP (on against off).',
  );
  expect(explainWhy(winner, { ...loser, device: 'metal' }, [modelFacts()])).toContain('OpenMP (on against off)');
  expect(explainWhy(winner, { ...loser, build: { ...build, openMp: null } }, [modelFacts()])).toBeNull();
});
