import { describe, expect, test } from 'vitest';
import { planRun } from '../../../src/core/protocol/plan-run.ts';
import type { PlanInput, PlannedEngine, RunPlan } from '../../../src/core/protocol/plan-types.ts';
import { cellRequests } from '../../../src/core/protocol/requests.ts';

function engine(
  id: string,
  prefillMsPerToken: number,
  decodeMsPerToken: number,
  referenceBackend: string | null = null,
): PlannedEngine {
  return { id, referenceBackend, pilot: { startMs: 500, prefillMsPerToken, decodeMsPerToken } };
}

const SHORT = { name: 'short', tokenCount: 5 };
const STANDARD = { name: 'standard', tokenCount: 512 };
const VERY_LONG = { name: 'very-long', tokenCount: 4_096 };

function plan(changes: Partial<PlanInput>): RunPlan {
  return planRun({
    engines: [engine('a', 1, 10), engine('b', 1.2, 12)],
    prompts: [SHORT, STANDARD],
    generateTokens: 64,
    iterations: 3,
    maxBlocks: 12,
    remainingMs: 360_000,
    earlyLook: true,
    ...changes,
  });
}

test('everything fits: twelve blocks, three iterations, four looks, nothing left out', () => {
  const made = plan({});
  expect(made).toMatchObject({
    state: 'comparison',
    blocks: 12,
    iterations: 3,
    generateTokens: 64,
    looks: [4, 6, 8, 12],
    notMeasured: [],
  });
  expect(made.notes).toEqual(['12 blocks are planned, about 205 s of 360 s.']);
  expect(made.estimateMsTotal).toBeCloseTo(12 * made.estimateMsPerBlock, 6);
  expect(plan({ earlyLook: false }).looks).toEqual([6, 8, 12]);
});

test('the requests of a process: a small warm-up, then each prompt with a full-shape warm-up and its iterations', () => {
  const [schedule] = plan({}).engines;
  if (schedule === undefined) throw new TypeError('an engine is planned');
  expect(
    cellRequests(schedule, 0).map(
      ({ kind, prompt, iteration, promptTokens, generateTokens }) =>
        `${kind} ${prompt} ${iteration} ${promptTokens}+${generateTokens}`,
    ),
  ).toEqual([
    'warmup warmup 0 32+8',
    'warmup short 0 5+64',
    'measured short 0 5+64',
    'measured short 1 5+64',
    'measured short 2 5+64',
    'warmup standard 0 512+64',
    'measured standard 0 512+64',
    'measured standard 1 512+64',
    'measured standard 2 512+64',
  ]);
});

test('a long prompt alone gets two small warm-ups', () => {
  const [schedule] = plan({ prompts: [VERY_LONG], remainingMs: 3_600_000 }).engines;
  if (schedule === undefined) throw new TypeError('an engine is planned');
  expect(cellRequests(schedule, 0).map(({ kind, prompt }) => `${kind} ${prompt}`)).toEqual([
    'warmup warmup',
    'warmup warmup',
    'measured very-long',
    'measured very-long',
    'measured very-long',
  ]);
});

describe('what gives way, in order', () => {
  test('first the iterations', () => {
    const made = plan({ remainingMs: 70_000 });
    expect(made).toMatchObject({ blocks: 6, iterations: 1, looks: [4, 6] });
    expect(made.notes[0]).toBe(
      'One measured iteration per prompt and process instead of 3: more blocks say more than more iterations.',
    );
  });

  test('then the expensive cells of an engine far behind: three blocks, then none', () => {
    const slow = engine('slow', 20, 20);
    const made = plan({ engines: [engine('a', 1, 10), engine('b', 1.2, 12), slow], remainingMs: 200_000 });
    const cells = made.engines
      .find(({ engine: id }) => id === 'slow')
      ?.cells.map(({ prompt, blocks }) => [prompt, blocks]);
    expect(cells).toEqual([
      ['short', 8],
      ['standard', 3],
    ]);
    expect(made.notes[1]).toBe('Far behind, so measured in 3 blocks only (PRELIMINARY): slow on "standard".');
    const tighter = plan({ engines: [engine('a', 1, 10), engine('b', 1.2, 12), slow], remainingMs: 80_000 });
    expect(tighter.engines.find(({ engine: id }) => id === 'slow')?.cells.map(({ prompt }) => prompt)).toEqual([
      'short',
    ]);
    expect(tighter.notMeasured).toEqual([
      {
        engine: 'slow',
        prompt: 'standard',
        reason: 'far behind the other engines, and three blocks do not fit (est. 69 s)',
        estimateMs: expect.closeTo(69_120, 3) as number,
      },
    ]);
  });

  test('a shortened cell says what it is', () => {
    const slow = engine('slow', 0.5, 400);
    const made = plan({
      engines: [engine('a', 0.5, 2), engine('b', 0.5, 2), slow],
      prompts: [STANDARD],
      generateTokens: 256,
      remainingMs: 300_000,
    });
    expect(made.engines.map(({ engine: id, cells }) => [id, cells[0]?.generateTokens, cells[0]?.shortened])).toEqual([
      ['a', 256, null],
      ['b', 256, null],
      ['slow', 64, '64 instead of 256 generated tokens'],
    ]);
  });

  test('long prompts go to three blocks before the others lose theirs', () => {
    const made = plan({
      engines: [engine('a', 6, 15), engine('b', 6, 15)],
      prompts: [SHORT, VERY_LONG],
      generateTokens: 64,
      remainingMs: 300_000,
    });
    expect(made.blocks).toBeGreaterThanOrEqual(6);
    expect(made.engines[0]?.cells.map(({ prompt, blocks }) => [prompt, blocks])).toEqual([
      ['short', made.blocks],
      ['very-long', 3],
    ]);
  });

  test('then generated tokens, for everybody and never below 64', () => {
    const made = plan({ prompts: [STANDARD], generateTokens: 1_000, remainingMs: 100_000 });
    expect(made).toMatchObject({ generateTokens: 64, state: 'comparison' });
    expect(
      made.engines.every(({ cells }) =>
        cells.every(({ generateTokens, shortened }) => generateTokens === 64 && shortened === null),
      ),
    ).toBe(true);
    expect(made.notes).toContain('Every engine generates 64 tokens instead of 1000.');
  });

  test('then it is preliminary', () => {
    const made = plan({ remainingMs: 45_000 });
    expect(made.blocks).toBeGreaterThanOrEqual(3);
    expect(made.blocks).toBeLessThan(6);
    expect(made.notes.at(-1)).toContain('PRELIMINARY');
  });

  test('then prompts and engines are refused, with the reason and the cost', () => {
    const made = plan({
      engines: [engine('a', 1, 10), engine('slow', 3, 30)],
      prompts: [STANDARD],
      remainingMs: 30_000,
    });
    expect(made).toMatchObject({ state: 'single-engine' });
    expect(made.engines.map(({ engine: id }) => id)).toEqual(['a']);
    expect(made.notMeasured[0]).toMatchObject({
      engine: 'slow',
      prompt: 'standard',
      reason: expect.stringMatching(/^refused: 3 blocks do not fit into 30 s \(est\. \d+ s\)$/) as string,
    });
    expect(plan({ remainingMs: 1_000 })).toMatchObject({ state: 'refused', engines: [], blocks: 0, looks: [] });
  });
});

describe('reference backends', () => {
  const mlx = (prefill: number): PlannedEngine => engine('mlx-lm', prefill, 200, 'MLX on a CPU');

  test('get the shortest prompt, one iteration, three blocks', () => {
    const made = plan({ engines: [engine('a', 1, 10), engine('b', 1.2, 12), mlx(150)], remainingMs: 600_000 });
    expect(made.engines.find(({ engine: id }) => id === 'mlx-lm')).toMatchObject({
      blocks: 3,
      cells: [{ prompt: 'short', iterations: 1, blocks: 3 }],
    });
    expect(made.notMeasured).toMatchObject([
      {
        engine: 'mlx-lm',
        prompt: 'standard',
        reason: expect.stringContaining('shortest prompt only (est. ') as string,
      },
    ]);
  });

  test('a single block may take more than a quarter', () => {
    const made = plan({ engines: [engine('a', 1, 10), engine('b', 1.2, 12), mlx(150)], remainingMs: 100_000 });
    expect(made.engines.find(({ engine: id }) => id === 'mlx-lm')).toMatchObject({ blocks: 1 });
  });

  test('or are left out', () => {
    const made = plan({ engines: [engine('a', 1, 10), mlx(300)], remainingMs: 50_000 });
    expect(made.engines.map(({ engine: id }) => id)).toEqual(['a']);
    expect(made.notMeasured.map(({ prompt }) => prompt)).toEqual(['short', 'standard']);
  });
});

test('few blocks that the user asked for are no reason to reduce anything', () => {
  expect(plan({ maxBlocks: 3 })).toMatchObject({ blocks: 3, iterations: 3, looks: [3] });
  expect(plan({ maxBlocks: 5 })).toMatchObject({ blocks: 5 });
  expect(plan({ maxBlocks: 1 })).toMatchObject({ blocks: 1 });
  expect(plan({ maxBlocks: 13 })).toMatchObject({ blocks: 12 });
});

test('a plan is a pure function: a resumed run makes the same one', () => {
  expect(plan({ remainingMs: 77_777 })).toEqual(plan({ remainingMs: 77_777 }));
});

test('no engine is a refused plan, not a crash', () => {
  expect(plan({ engines: [] })).toMatchObject({
    state: 'refused',
    blocks: 0,
    engines: [],
    notes: ['No engine is left to measure.'],
  });
});
