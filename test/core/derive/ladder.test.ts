import { describe, expect, test } from 'vitest';
import { deriveRecord } from '../../../src/core/derive/derive-record.ts';
import { takeLook } from '../../../src/core/derive/take-look.ts';
import type { Ladder, LadderCost, Rung } from '../../../src/core/ladder-schema.ts';
import { planSchema, recordSchema } from '../../../src/core/record.ts';
import type { EngineFacts, Manifest, RunEvent, RunRecord } from '../../../src/core/record.ts';
import { meanInterval } from '../../../src/core/stats/describe.ts';
import { engineFacts } from '../fixtures.ts';
import { BASE, BINDING, END, ladderEvents, ladderManifest, LIBRARY, SERVER, SHIPPED } from '../ladder-fixture.ts';
import type { LadderSpec } from '../ladder-fixture.ts';

function deriveOf(made: Manifest, events: readonly RunEvent[]): { ladder: Ladder; record: RunRecord } {
  const record = deriveRecord(made, events);
  // Whatever is derived must be readable again.
  expect(recordSchema.parse(JSON.parse(JSON.stringify(record)))).toEqual(record);
  if (record.ladder === null) throw new TypeError('the record has no ladder');
  return { ladder: record.ladder, record };
}

function ladderOf(engines: readonly EngineFacts[], spec: LadderSpec, more: readonly RunEvent[] = []): Ladder {
  const events = ladderEvents(spec);
  return deriveOf(ladderManifest(engines), [...events.slice(0, -1), ...more, END]).ladder;
}

function rung(ladder: Ladder, engine: string): Rung {
  const found = ladder.rungs.find((entry) => entry.engine === engine);
  if (found === undefined) throw new TypeError(`no rung ${engine}`);
  return found;
}

function cost(ladder: Ladder, engine: string, metric: LadderCost['metric'], prompt: string): LadderCost {
  const found = rung(ladder, engine).costs.find((entry) => entry.metric === metric && entry.prompt === prompt);
  if (found === undefined) throw new TypeError(`no cost of ${engine}, ${metric}, ${prompt}`);
  return found;
}

const inside = (value: number, low: number | null, high: number | null): boolean =>
  low !== null && high !== null && low <= value && value <= high;

const failedGate = (engine: string): RunEvent => ({
  type: 'gate',
  engine,
  gate: 'prompt-cache',
  outcome: 'failed',
  detail: '412 of 512 prompt tokens came from a cache',
  remedy: 'Switch the cache off.',
});

test('a run that is no ladder has none, and old records are read as such', () => {
  const made = ladderManifest([BASE, SERVER]);
  const plain = { ...made, plan: { ...made.plan, ladder: false } };
  expect(deriveRecord(plain, ladderEvents({ speeds: { libllama: {}, server: {} } })).ladder).toBeNull();
  const { ladder: _, ...oldPlan } = made.plan;
  expect(planSchema.parse(oldPlan).ladder).toBe(false);
  const { ladder: __, ...oldRecord } = deriveRecord(plain, []);
  expect(recordSchema.parse(oldRecord).ladder).toBeNull();
});

describe('a rung that is slower at the first token', () => {
  const notesWith = (outsideMs: number | undefined, engine = SERVER, ttftMs = 480): string[] =>
    ladderOf([BASE, engine], {
      speeds: {
        libllama: {},
        [engine.id]: { ttftMs, ...(outsideMs === undefined ? {} : { outsideMs }) },
      },
    }).notes.filter((note) => note.includes('its own clock'));

  test('by its own clock, too, is slow inside its engine', () => {
    expect(notesWith(1.5)).toEqual([
      expect.stringMatching(
        /^server, "standard": its own clock and ours are 1\.5 ms apart at the first token, so that nearly all of the \d+\.\d ms pass inside its engine/,
      ),
    ]);
  });

  test('by thousands of milliseconds is told without an exponent', () => {
    expect(notesWith(123, SERVER, 4_400).join('\n')).toMatch(
      /^server, "standard": .* 123 ms apart .* of the \d{4} ms pass/,
    );
  });

  test('by our clock only may be slow by its connection, and nothing is said', () => {
    expect(notesWith(60)).toEqual([]);
  });

  test('without a clock of its own, or as another build, nothing is said either', () => {
    expect(notesWith(undefined)).toEqual([]);
    expect(notesWith(1.5, SHIPPED)).toEqual([]);
  });
});

describe('a known overhead', () => {
  const ladder = ladderOf([BASE, BINDING, SERVER, SHIPPED], {
    speeds: {
      libllama: {},
      binding: { tpotMs: 10.5 },
      server: { tpotMs: 10.4, ttftMs: 412, loadMs: 750, memoryBytes: 2.1e8 },
      shipped: { tpotMs: 9 },
    },
  });

  test('of 5% per token is found, with its size in both units', () => {
    const found = cost(ladder, 'binding', 'decode', 'short');
    expect(found).toMatchObject({ state: 'costs', unit: 'us/token', blockCount: 12, preliminary: false, reasons: [] });
    expect(inside(1.05, found.low, found.high)).toBe(true);
    expect(inside(500, found.extraLow, found.extraHigh)).toBe(true);
  });

  test('of 0.4 ms per token is 400 us, though it is inside the margin', () => {
    const found = cost(ladder, 'server', 'decode', 'short');
    expect(found.state).toBe('costs');
    expect(inside(400, found.extraLow, found.extraHigh)).toBe(true);
    expect(found.high).toBeLessThan(1.05);
  });

  test('at the first token, to load and in memory', () => {
    const first = cost(ladder, 'server', 'ttft', 'short');
    expect(first).toMatchObject({ state: 'costs', unit: 'ms' });
    expect(inside(0.3, first.extraLow, first.extraHigh)).toBe(true);
    const load = cost(ladder, 'server', 'load', '-');
    expect(load).toMatchObject({ state: 'costs', unit: 'ms' });
    expect(inside(250, load.extraLow, load.extraHigh)).toBe(true);
    expect(cost(ladder, 'server', 'memory', '-')).toMatchObject({ state: 'costs', unit: 'bytes', extra: 1e7 });
  });

  test('per prompt token: the whole of the first token over the prompt, only where there is a rate', () => {
    const found = cost(ladder, 'server', 'prefill', 'standard');
    expect(inside((12 * 1_000) / 512, found.extraLow, found.extraHigh)).toBe(true);
    expect(rung(ladder, 'server').costs.some(({ metric, prompt }) => metric === 'prefill' && prompt === 'short')).toBe(
      false,
    );
  });

  test('a rung that takes less saves', () => {
    const found = cost(ladder, 'shipped', 'decode', 'short');
    expect(found.state).toBe('saves');
    expect(found.extraHigh).toBeLessThan(0);
  });

  test('the base has no costs, and the table shows the shortest and the longest prompt', () => {
    expect(ladder).toMatchObject({ base: 'libllama', prompts: { short: 'short', long: 'standard' }, notes: [] });
    expect(rung(ladder, 'libllama')).toMatchObject({ build: 'base', costs: [], missing: null });
  });
});

test('identical engines cost nothing measurable: at most 5% of the columns claim otherwise', () => {
  const columns: LadderCost['state'][][] = [];
  for (let seed = 1; seed <= 50; seed++) {
    const ladder = ladderOf([BASE, BINDING, SERVER], { speeds: { libllama: {}, binding: {}, server: {} }, seed });
    const [binding, server] = [rung(ladder, 'binding').costs, rung(ladder, 'server').costs];
    columns.push(...binding.map(({ state }, index) => [state, server[index]?.state ?? 'void']));
  }
  expect(columns).toHaveLength(50 * 9);
  const claims = columns.filter((states) => states.includes('costs') || states.includes('saves'));
  expect(claims.length / columns.length).toBeLessThanOrEqual(0.05);
  expect(new Set(columns.flat())).toEqual(new Set(['none', 'costs', 'saves']));
});

test('both intervals hold the truth, and no cost is made up, in 100 seeded runs', () => {
  let ratios = 0;
  let extras = 0;
  let found = 0;
  let madeUp = 0;
  for (let seed = 1; seed <= 100; seed++) {
    const speeds = { libllama: {}, binding: { tpotMs: 10.5 }, server: {} };
    const ladder = ladderOf([BASE, BINDING, SERVER], { speeds, seed, noise: 0.02 });
    const decode = cost(ladder, 'binding', 'decode', 'short');
    ratios += inside(1.05, decode.low, decode.high) ? 1 : 0;
    // The machine's own 5% spread makes the mean difference vary around 500 us as well.
    extras += inside(500, decode.extraLow, decode.extraHigh) ? 1 : 0;
    found += decode.state === 'costs' ? 1 : 0;
    const same = cost(ladder, 'server', 'decode', 'short').state;
    madeUp += same === 'costs' || same === 'saves' ? 1 : 0;
  }
  expect(ratios).toBeGreaterThanOrEqual(93);
  expect(extras).toBeGreaterThanOrEqual(93);
  expect(found).toBeGreaterThanOrEqual(80);
  expect(madeUp).toBeLessThanOrEqual(6);
});

test('the level is shared out over the rungs, not over all pairs', () => {
  const spec: LadderSpec = { speeds: { libllama: {}, binding: {}, server: {}, shipped: {} }, noise: 0.02 };
  const { ladder, record } = deriveOf(ladderManifest([BASE, BINDING, SERVER, SHIPPED]), ladderEvents(spec));
  const values = (engine: string): readonly number[] =>
    record.summaries.find((entry) => entry.engine === engine && entry.metric === 'ttft' && entry.prompt === 'standard')
      ?.values ?? [];
  const base = values('libllama');
  const differences = values('server').map((value, index) => value - (base[index] ?? Number.NaN));
  const { low, high } = meanInterval(differences, 1 - 0.05 / 3);
  const found = cost(ladder, 'server', 'ttft', 'standard');
  expect(found.extraLow).toBeCloseTo(low, 9);
  expect(found.extraHigh).toBeCloseTo(high, 9);
  expect(found.confidence).toBe(0.95);
});

test('a cost that a few blocks carry is not claimed: the ranks do not agree', () => {
  // t = 2.8 (p = .02), but the seven small differences point the other way.
  const gains = [0.01, -0.0001, 0.01, -0.0002, 0.01, -0.0003, 0.01, -0.0004, 0.01, -0.0005, -0.0006, -0.0007];
  const events = ladderEvents({ speeds: { libllama: {}, server: {} }, noise: 0 });
  const base = new Map(
    events.flatMap((event) =>
      event.type === 'sample' && event.engine === 'libllama'
        ? [[`${event.block} ${event.prompt}`, event.tpotMs ?? 0]]
        : [],
    ),
  );
  const shifted = events.map((event) =>
    event.type === 'sample' && event.engine === 'server'
      ? {
          ...event,
          tpotMs: (base.get(`${event.block} ${event.prompt}`) ?? 0) * Math.exp(gains[event.block] ?? 0),
        }
      : event,
  );
  const found = cost(deriveOf(ladderManifest([BASE, SERVER]), shifted).ladder, 'server', 'decode', 'short');
  expect(found.low).toBeGreaterThan(1);
  expect(found.state).toBe('none');
});

describe('builds', () => {
  const spec: LadderSpec = { speeds: { libllama: {}, server: {}, shipped: {} } };
  const withBuild = (id: string, openMp: boolean | null, instructionSets: string | null): EngineFacts =>
    engineFacts(id, { ...LIBRARY, build: { version: '1', library: id, openMp, instructionSets } });

  test('one library is one build, whatever the engines call it; any other is as shipped', () => {
    const ladder = ladderOf([BASE, SERVER, SHIPPED], spec);
    expect(ladder.rungs.map(({ engine, build }) => `${engine} ${build}`)).toEqual([
      'libllama base',
      'server same',
      'shipped as-shipped',
    ]);
  });

  test('without any id nothing is known to be one build, and the ladder says so', () => {
    const ladder = ladderOf([engineFacts('libllama'), engineFacts('server'), SHIPPED], spec);
    expect(ladder.rungs.map(({ build }) => build)).toEqual(['base', 'as-shipped', 'as-shipped']);
    expect(ladder.notes).toEqual([expect.stringContaining('build + layer together')]);
  });

  test.each([
    ['OpenMP', withBuild('libllama', true, null), withBuild('server', false, null), 'as-shipped'],
    ['instruction sets', withBuild('libllama', true, 'AVX2 FMA'), withBuild('server', true, 'AVX2'), 'as-shipped'],
    ['only the order', withBuild('libllama', true, 'AVX2 FMA'), withBuild('server', true, 'FMA AVX2'), 'same'],
    ['what one does not tell', withBuild('libllama', true, 'AVX2'), withBuild('server', null, null), 'same'],
  ])('one id, but the reports differ in %s', (_, base, server, build) => {
    expect(rung(ladderOf([base, server, SHIPPED], spec), 'server').build).toBe(build);
  });
});

describe('one build in the verdict', () => {
  const named = (id: string, library: string, version: string): EngineFacts =>
    engineFacts(id, { ...LIBRARY, build: { version, library, openMp: true, instructionSets: null } });
  const [library, server] = [named('libllama', 'llama.cpp 0c1e', '1'), named('server', 'llama.cpp b0-0c1e', '2')];
  const speeds = { libllama: {}, server: { tpotMs: 14 } };
  const builds = (record: RunRecord): string[] => record.verdict.caveats.filter((text) => text.includes('build'));

  test('two names of it are no difference', () => {
    const { record } = deriveOf(ladderManifest([library, server]), ladderEvents({ speeds }));
    expect(record.verdict.why).toBe(
      'libllama and server run one build of the library: what differs is the layer over it.',
    );
    expect(builds(record)).toEqual([]);
  });

  test('who is not on it is named', () => {
    const events = ladderEvents({ speeds: { ...speeds, shipped: { tpotMs: 20 } } });
    const { record } = deriveOf(ladderManifest([library, server, SHIPPED]), events);
    expect(builds(record)).toEqual(['As shipped, so of build + layer together: shipped.']);
  });

  test('without ids the names count', () => {
    const { libraryId: _, ...plain } = server;
    const { record } = deriveOf(ladderManifest([library, plain]), ladderEvents({ speeds }));
    expect(record.verdict.why).toContain('library build');
    expect(builds(record)).toEqual(['The engines are different builds: each figure is of build + layer together.']);
  });
});

describe('a failed gate', () => {
  const spec: LadderSpec = { speeds: { libllama: {}, binding: { tpotMs: 12 }, server: { tpotMs: 11 } } };

  test('voids its rung with the reason and without numbers; the others stand', () => {
    const ladder = ladderOf([BASE, BINDING, SERVER], spec, [failedGate('server')]);
    for (const entry of rung(ladder, 'server').costs) {
      expect(entry).toMatchObject({ state: 'void', ratio: null, low: null, extra: null, extraLow: null });
      expect(entry.reasons.join(' ')).toContain('412 of 512 prompt tokens came from a cache');
    }
    expect(cost(ladder, 'binding', 'decode', 'short').state).toBe('costs');
  });

  test('of the lowest rung makes the next one the base, and says so', () => {
    const ladder = ladderOf([BASE, BINDING, SERVER], spec, [failedGate('libllama')]);
    expect(ladder.base).toBe('binding');
    expect(cost(ladder, 'libllama', 'decode', 'short').state).toBe('void');
    expect(cost(ladder, 'server', 'decode', 'short').state).toBe('saves');
    expect(ladder.notes).toEqual([expect.stringContaining('libllama below it gave no result')]);
  });
});

describe('the state of the run holds for the ladder', () => {
  const speeds = { libllama: {}, server: { tpotMs: 12 } };

  test('NOISY', () => {
    const ladder = ladderOf([BASE, SERVER], { speeds, reject: 7 });
    expect(cost(ladder, 'server', 'decode', 'short').state).toBe('noisy');
  });

  test('PRELIMINARY under 6 blocks, nothing at all under 3', () => {
    const four = cost(ladderOf([BASE, SERVER], { speeds, blocks: 4 }), 'server', 'decode', 'short');
    expect(four).toMatchObject({ preliminary: true, state: 'costs' });
    const two = cost(ladderOf([BASE, SERVER], { speeds, blocks: 2 }), 'server', 'decode', 'short');
    expect(two).toMatchObject({ state: 'unresolved', low: null, extraLow: null });
    expect(two.ratio).toBeGreaterThan(1.1);
  });

  test('before the first planned look nothing is claimed', () => {
    const events = ladderEvents({ speeds }).slice(0, -1);
    const live = events.slice(
      0,
      events.findLastIndex(({ type }) => type === 'cell-start'),
    );
    const { ladder } = deriveRecord(ladderManifest([BASE, SERVER]), live, { live: true });
    const states = ladder?.rungs.flatMap(({ costs }) => costs.map(({ state }) => state));
    expect(new Set(states)).toEqual(new Set(['unresolved']));
  });

  test('a spread that hides the answer is unresolved', () => {
    const ladder = ladderOf([BASE, SERVER], { speeds: { libllama: {}, server: {} }, noise: 0.3 });
    expect(cost(ladder, 'server', 'decode', 'short').state).toBe('unresolved');
  });

  test('a look does not end it, as it would end a comparison', () => {
    const made = ladderManifest([BASE, SERVER]);
    const events = ladderEvents({ speeds: { libllama: {}, server: { tpotMs: 20 } } }).slice(0, -1);
    expect(takeLook({ ...made, plan: { ...made.plan, ladder: false } }, events, new Map()).resolved).toBe(true);
    expect(takeLook(made, events, new Map()).resolved).toBe(false);
  });
});

describe('greedy tokens', () => {
  const tokens = (engines: readonly EngineFacts[], server: readonly number[]): Ladder =>
    ladderOf(engines, { speeds: { libllama: {}, server: { firstTokens: server } }, blocks: 3 });

  test('identical, with how many were compared', () => {
    expect(rung(tokens([BASE, SERVER], [1, 2, 3, 4]), 'server').tokens).toEqual({
      state: 'identical',
      requestCount: 6,
      differentCount: 0,
      tokenCount: 4,
      firstDifferenceAt: null,
    });
  });

  test('a difference in one build is named, with its place, and limits the statement', () => {
    const ladder = tokens([BASE, SERVER], [1, 2, 9, 4]);
    expect(rung(ladder, 'server').tokens).toMatchObject({
      state: 'different',
      differentCount: 6,
      firstDifferenceAt: 3,
    });
    expect(ladder.notes).toEqual([expect.stringContaining('greedy tokens differ from token 3 on')]);
  });

  test('a difference between builds is no fault', () => {
    const ladder = ladderOf([BASE, SERVER, SHIPPED], {
      speeds: { libllama: {}, server: {}, shipped: { firstTokens: [7] } },
    });
    expect(rung(ladder, 'shipped').tokens).toMatchObject({ state: 'different', firstDifferenceAt: 1 });
    expect(ladder.notes).toEqual([]);
  });

  test('without ids they are unknown, not equal', () => {
    expect(rung(tokens([BASE, SERVER], []), 'server').tokens).toMatchObject({ state: 'unknown', requestCount: 0 });
  });
});

describe('missing rungs', () => {
  const ABSENT = engineFacts('libllama', {
    state: 'unavailable',
    reason: 'llama-cpp-python is not installed',
    nextStep: 'Run without --no-install.',
    build: null,
    location: null,
  });

  test('are listed with the reason, and the base is the lowest that there is', () => {
    const ladder = ladderOf([ABSENT, BINDING, SERVER], { speeds: { binding: {}, server: {} } });
    expect(ladder.base).toBe('binding');
    expect(rung(ladder, 'libllama')).toMatchObject({
      missing: 'llama-cpp-python is not installed. Run without --no-install.',
      costs: [],
      tokens: { state: 'unknown' },
    });
    expect(ladder.notes).toEqual([expect.stringContaining('binding is the base because libllama')]);
  });

  test('a reference backend is no base and is not compared', () => {
    const reference = engineFacts('mlx', { referenceBackend: 'one core' });
    const ladder = ladderOf([reference, BASE, SERVER], { speeds: { mlx: {}, libllama: {}, server: {} } });
    expect(ladder.base).toBe('libllama');
    expect(cost(ladder, 'mlx', 'decode', 'short').state).toBe('not-compared');
  });

  test('nothing measured is a ladder without a base', () => {
    const { ladder } = deriveOf(ladderManifest([BASE, SERVER]), []);
    expect(ladder).toMatchObject({ base: null, prompts: null, notes: [] });
    expect(ladder.rungs.every(({ missing }) => missing !== null)).toBe(true);
  });
});
