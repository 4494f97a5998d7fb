import { describe, expect, test } from 'vitest';
import { compareRuns, headlineChange, regressionGate } from '../../../src/core/derive/compare-runs.ts';
import { deriveRecord } from '../../../src/core/derive/derive-record.ts';
import { createRandom, normal } from '../../../src/core/random.ts';
import type { Manifest, RunRecord } from '../../../src/core/record.ts';
import { blockEvents, engineFacts, manifestOf } from '../fixtures.ts';

interface RunSpec {
  readonly seed: number;
  /** Request time by engine, ms. */
  readonly times: Readonly<Record<string, number>>;
  /** Slowdown of the whole machine in this run. */
  readonly machine?: number;
  readonly builds?: Readonly<Record<string, string>>;
  readonly blocks?: number;
  readonly manifest?: Partial<Manifest>;
}

/** A stored run: 1% noise of each engine, 3% of the machine from block to block. */
function run({ seed, times, machine = 1, builds = {}, blocks = 8, manifest = {} }: RunSpec): RunRecord {
  const random = createRandom('compare-runs', seed);
  const facts = Object.keys(times).map((id) =>
    engineFacts(id, { build: { version: builds[id] ?? '1.0.0', library: null, openMp: null, instructionSets: null } }),
  );
  const events = Array.from({ length: blocks }, (_, block) => {
    const shared = machine * Math.exp(0.03 * normal(random));
    return blockEvents(
      block,
      Object.entries(times).map(([engine, time]) => ({
        engine,
        totalMs: [0, 0, 0].map(() => time * shared * Math.exp(0.01 * normal(random))),
      })),
    );
  });
  const looks = { type: 'plan' as const, blocks, looks: [blocks], remainingMs: 1e6, estimateMs: 1e5 };
  return deriveRecord(manifestOf(facts, manifest), [
    looks,
    ...events.flat(),
    { type: 'end', state: 'complete', reason: 'done', elapsedMs: 100_000 },
  ]);
}

const BEFORE = run({ seed: 1, times: { alpha: 1_000, beta: 2_000 } });

function headlineOf(before: RunRecord, after: RunRecord, engine: string) {
  const found = compareRuns(before, after).engines.find((item) => item.engine === engine);
  return found === undefined ? null : headlineChange(found);
}

describe('an engine whose build changed, beside one whose build did not', () => {
  const after = run({ seed: 2, times: { alpha: 1_100, beta: 2_000 }, machine: 1.4, builds: { alpha: '2.0.0' } });

  test('a machine that is 40% slower does not hide that the engine is 10% slower', () => {
    const change = headlineOf(BEFORE, after, 'alpha');
    expect(change?.control).toBe('beta');
    expect(change?.ratio).toBeCloseTo(1.1, 1);
    expect(change?.low).toBeGreaterThan(1.05);
    expect(change?.low).toBeLessThan(1.1);
    expect(change?.high).toBeGreaterThan(1.1);
  });

  test('both builds are named', () => {
    const [alpha] = compareRuns(BEFORE, after).engines;
    expect([alpha?.before, alpha?.after]).toEqual(['1.0.0', '2.0.0']);
  });

  test('the interval covers the truth in nearly all of 200 pairs of runs', () => {
    let covered = 0;
    for (let seed = 0; seed < 200; seed++) {
      const change = headlineOf(
        run({ seed: 1_000 + seed, times: { alpha: 1_000, beta: 2_000 } }),
        run({ seed: 5_000 + seed, times: { alpha: 1_100, beta: 2_000 }, machine: 1.2, builds: { alpha: '2' } }),
        'alpha',
      );
      if (change?.low != null && change.high !== null && change.low <= 1.1 && 1.1 <= change.high) covered++;
    }
    expect(covered).toBeGreaterThanOrEqual(184);
  });
});

test('without a second engine the machine is part of the change, and no control is named', () => {
  const alone = (seed: number, machine: number): RunRecord => run({ seed, times: { alpha: 1_000 }, machine });
  const change = headlineOf(alone(3, 1), alone(4, 1.4), 'alpha');
  expect(change?.control).toBeNull();
  expect(change?.ratio).toBeGreaterThan(1.3);
});

test('an engine whose own build changed is nobody’s control', () => {
  const after = run({ seed: 5, times: { alpha: 1_000, beta: 2_000 }, builds: { alpha: '2', beta: '2' } });
  expect(headlineOf(BEFORE, after, 'alpha')?.control).toBeNull();
});

describe('unequal work is not compared, and the reason is told', () => {
  const times = { alpha: 1_000, beta: 2_000 };
  const base = manifestOf([engineFacts('alpha'), engineFacts('beta')]);
  const [model] = base.models;
  test.each<[string, Partial<Manifest>]>([
    ['model', { models: model === undefined ? [] : [{ ...model, sha256: 'b'.repeat(64), fingerprint: null }] }],
    ['tokens generated', { plan: { ...base.plan, generateTokens: 32 } }],
    ['threads', { settings: { ...base.settings, threads: 4 } }],
    ['model', { models: model === undefined ? [] : [{ ...model, sha256: null, fingerprint: null }] }],
  ])('%s', (word, manifest) => {
    const result = compareRuns(BEFORE, run({ seed: 6, times, manifest }));
    expect(result.engines).toEqual([]);
    expect(result.differences.join()).toContain(word);
  });

  test('other prompts', () => {
    const plan = { ...base.plan, prompts: [{ name: 'standard', tokenCount: 513, source: 'study text' }] };
    expect(compareRuns(BEFORE, run({ seed: 6, times, manifest: { plan } })).differences.join()).toContain('prompts');
  });
});

test('another file with the same fingerprint is the same work', () => {
  const [model] = BEFORE.manifest.models;
  const models = model === undefined ? [] : [{ ...model, fingerprint: 'rf1:equal' }];
  const before = { ...BEFORE, manifest: { ...BEFORE.manifest, models } };
  const moved = { ...before.manifest, models: models.map((file) => ({ ...file, sha256: 'b'.repeat(64) })) };
  expect(compareRuns(before, { ...before, manifest: moved }).differences).toEqual([]);
});

test('another machine is said', () => {
  const { machine } = manifestOf([]);
  const other = run({ seed: 7, times: { alpha: 1_000 }, manifest: { machine: { ...machine, cpu: 'another' } } });
  expect(compareRuns(BEFORE, other)).toMatchObject({ sameMachine: false, onlyBefore: ['beta'], onlyAfter: [] });
});

test('under three blocks there is a ratio and no interval', () => {
  const change = headlineOf(BEFORE, run({ seed: 8, times: { alpha: 1_000, beta: 2_000 }, blocks: 2 }), 'alpha');
  expect(change).toMatchObject({ low: null, high: null });
});

describe('the regression gate', () => {
  test.each([
    [1.06, 1.2, 'failed'],
    [1.04, 1.2, 'undecided'],
    [0.9, 1.04, 'passed'],
    [0.8, 1.05, 'passed'],
    [1.05, 1.2, 'undecided'],
  ] as const)('interval %d-%d against 5%%: %s', (low, high, outcome) => {
    expect(regressionGate({ low, high }, 1.05)).toBe(outcome);
  });

  test('without an interval nothing is decided', () => {
    expect(regressionGate({ low: null, high: null }, 1.05)).toBe('undecided');
  });
});
