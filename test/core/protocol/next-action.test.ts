import { describe, expect, test } from 'vitest';
import type { PlanInput, Progress } from '../../../src/core/protocol/plan-types.ts';
import { planRun } from '../../../src/core/protocol/plan-run.ts';
import { predictRestMs } from '../../../src/core/protocol/predict.ts';
import { nextBlock, progressFromEvents } from '../../../src/core/protocol/progress.ts';
import { createRandom, normal } from '../../../src/core/random.ts';
import type { RunEvent } from '../../../src/core/record.ts';
import { blockEvents } from '../fixtures.ts';
import { simulate } from './simulation.ts';
import type { World } from './simulation.ts';

const INPUT: PlanInput = {
  engines: [
    { id: 'a', referenceBackend: null, pilot: { startMs: 500, prefillMsPerToken: 1, decodeMsPerToken: 10 } },
    { id: 'b', referenceBackend: null, pilot: { startMs: 700, prefillMsPerToken: 1.5, decodeMsPerToken: 14 } },
  ],
  prompts: [{ name: 'standard', tokenCount: 512 }],
  generateTokens: 64,
  iterations: 1,
  maxBlocks: 8,
  remainingMs: 200_000,
  earlyLook: true,
};

const NOTHING: Progress = { cells: [], blocks: [], looks: [], dropped: [], retired: [] };
const CALM: World = { slowdown: () => 1, noisy: () => false };

function engineWith(id: string, factor: number): PlanInput['engines'][number] {
  return {
    id,
    referenceBackend: null,
    pilot: { startMs: 500 * factor, prefillMsPerToken: factor, decodeMsPerToken: 10 * factor },
  };
}

describe('order of events', () => {
  test('blocks in mirrored pairs, looks between pairs, then complete', () => {
    const { log, stop } = simulate(INPUT, CALM);
    expect(log.filter((line) => !line.endsWith('accepted')).join(', ')).toMatchInlineSnapshot(
      `"0.0 a, 0.0 b, 1.0 b, 1.0 a, 2.0 a, 2.0 b, 3.0 b, 3.0 a, look 4, 4.0 a, 4.0 b, 5.0 b, 5.0 a, look 6, 6.0 b, 6.0 a, 7.0 a, 7.0 b"`,
    );
    expect(stop).toMatchObject({ reason: 'complete', detail: '8 of 8 blocks' });
  });

  test('a resolved look stops the run', () => {
    const { log, stop, accepted } = simulate(INPUT, { ...CALM, resolvedAt: 6 });
    expect(log.at(-1)).toBe('look 6');
    expect(stop.reason).toBe('resolved');
    expect(accepted).toBe(6);
  });

  test('a rejected block is run again after the others, together with its mirror image', () => {
    const { log, stop, accepted } = simulate(INPUT, {
      ...CALM,
      noisy: (block, attempt) => block === 3 && attempt === 0,
    });
    const outcomes = log.filter((line) => /accepted|rejected/.test(line));
    expect(outcomes).toEqual([
      '0.0 accepted',
      '1.0 accepted',
      '2.0 accepted',
      '3.0 rejected',
      '4.0 accepted',
      '5.0 accepted',
      '6.0 accepted',
      '7.0 accepted',
      '2.1 accepted',
      '3.1 accepted',
    ]);
    expect(stop.reason).toBe('complete');
    expect(accepted).toBe(8);
  });

  test('more than half rejected: noisy', () => {
    const { stop, progress } = simulate(INPUT, { ...CALM, noisy: () => true });
    expect(stop).toMatchObject({ reason: 'noisy', detail: '5 blocks were rejected, reruns are capped at half of 8' });
    expect(progress.blocks).toHaveLength(5);
  });

  test('an engine that fails twice in a row is dropped, the others go on', () => {
    const { log, accepted, stop } = simulate(INPUT, { ...CALM, fails: (engine) => engine === 'b' });
    expect(log.filter((line) => line.includes('b'))).toEqual(['0.0 b', '1.0 b', 'drop b']);
    expect([accepted, stop.reason]).toEqual([8, 'complete']);
  });

  test('nobody left, or nobody planned', () => {
    expect(simulate({ ...INPUT, engines: [] }, CALM).stop).toMatchObject({
      reason: 'nothing-left',
      detail: 'No engine is left to measure.',
    });
    expect(simulate(INPUT, { ...CALM, fails: () => true }).stop.reason).toBe('nothing-left');
  });
});

describe('a retired engine', () => {
  const engines = ['a', 'b', 'c', 'd'].map((id) => engineWith(id, 1));
  const input: PlanInput = { ...INPUT, engines, maxBlocks: 12, remainingMs: 900_000 };
  const cellsOf = (log: readonly string[]): string[] => log.filter((line) => / [a-d]$/.test(line));
  const { log, accepted, stop } = simulate(input, { ...CALM, retiredAt: { 6: ['d'] } });

  test('has no process after its look, and the others go on to the end', () => {
    expect(cellsOf(log).filter((line) => line.endsWith(' d'))).toHaveLength(6);
    expect(cellsOf(log).filter((line) => line.endsWith(' a'))).toHaveLength(12);
    expect([accepted, stop.reason]).toEqual([12, 'complete']);
  });

  test('leaves an order that is drawn anew: mirrored pairs in which each engine follows each other equally often', () => {
    const after = cellsOf(log).slice(cellsOf(log).findIndex((line) => line.startsWith('6.0')));
    const blocks = Map.groupBy(after, (line) => line.split('.')[0]);
    const orders = [...blocks.values()].map((lines) => lines.map((line) => line.slice(-1)));
    expect(orders).toHaveLength(6);
    for (const [index, order] of orders.entries())
      if (index % 2 === 1) expect(order).toEqual(orders[index - 1]?.toReversed());
    const follows = orders.flatMap(([first = '', second = '', third = '']) => [first + second, second + third]);
    const counts = Map.groupBy(follows, (pair) => pair);
    expect([...counts.values()].map(({ length }) => length)).toEqual([2, 2, 2, 2, 2, 2]);
  });

  test('is not in the block that is run again', () => {
    const noisy = simulate(input, {
      ...CALM,
      retiredAt: { 6: ['d'] },
      noisy: (block, attempt) => block === 1 && attempt === 0,
    });
    expect(noisy.log.filter((line) => line.startsWith('1.1 '))).toHaveLength(4);
    expect(noisy.log).not.toContain('1.1 d');
    expect(noisy.accepted).toBe(12);
  });

  test('what is left costs no more than what is measured on', () => {
    const plan = planRun(input);
    const rest = (retired: readonly string[]): Map<string, number> =>
      predictRestMs({ plan, seed: 1, deadlineMs: 900_000, progress: { ...NOTHING, retired } });
    expect([...rest([])].map(([engine]) => engine)).toEqual(['a', 'b', 'c', 'd']);
    expect(rest([]).get('a')).toBeCloseTo(plan.engines[0]?.estimateMsTotal ?? 0, 6);
    expect([...rest(['d'])].map(([engine]) => engine)).toEqual(['a', 'b', 'c']);
  });
});

describe('the deadline', () => {
  test('a pair that does not fit is not started once six blocks are there', () => {
    const full = simulate({ ...INPUT, maxBlocks: 12 }, CALM);
    const { stop, accepted, endMs, deadlineMs } = simulate(
      { ...INPUT, maxBlocks: 12 },
      { ...CALM, slowdown: () => (1.35 * full.deadlineMs) / full.endMs },
    );
    expect(stop.reason).toBe('budget');
    expect(accepted % 2).toBe(0);
    expect(accepted).toBeGreaterThanOrEqual(6);
    expect(endMs).toBeLessThanOrEqual(deadlineMs);
    expect(stop.detail).toMatch(/^the next block needs about \d+ s and \d+ s are left; \d+ of 12 blocks are done$/);
  });

  test('a tenfold slowdown in the middle costs at most the running request', () => {
    const { endMs, deadlineMs, longestMs, stop } = simulate(INPUT, {
      ...CALM,
      slowdown: (_, nowMs) => (nowMs > 30_000 ? 40 : 1),
    });
    expect(stop.reason).toBe('budget');
    expect(endMs - deadlineMs).toBeLessThanOrEqual(longestMs);
  });

  test('an engine that turns out far too slow gives way while no verdict is possible', () => {
    const { log, accepted, stop } = simulate(
      { ...INPUT, engines: [...INPUT.engines, engineWith('c', 1)], remainingMs: 80_000, maxBlocks: 6 },
      { ...CALM, slowdown: (engine) => (engine === 'c' ? 10 : 1) },
    );
    expect(log).toContain('drop c');
    expect(accepted).toBeGreaterThanOrEqual(3);
    expect(['complete', 'budget']).toContain(stop.reason);
  });

  test('500 random machines: never late by more than one request, three blocks or a stated reason', () => {
    const counts: Record<string, number> = {};
    for (let seed = 0; seed < 500; seed += 1) {
      const random = createRandom('machines', seed);
      const engines = Array.from({ length: 1 + random.integer(4) }, (_, index) =>
        engineWith(`e${index}`, Math.exp(1.2 * normal(random))),
      );
      const prompts = [5, 512, 1_200, 4_096]
        .filter(() => random.next() < 0.6)
        .map((tokenCount) => ({ name: `p${tokenCount}`, tokenCount }));
      const input: PlanInput = {
        engines,
        prompts: prompts.length === 0 ? [{ name: 'p64', tokenCount: 64 }] : prompts,
        generateTokens: 64 + random.integer(200),
        iterations: 3,
        maxBlocks: 1 + random.integer(20),
        remainingMs: 20_000 + random.next() * 900_000,
        earlyLook: true,
      };
      const slowAtMs = random.next() * input.remainingMs;
      const kind = random.integer(4);
      const slowFactor = kind === 0 ? 1 : 10;
      const slowEngine = kind === 2 ? 'e0' : null;
      const world: World = {
        slowdown: (engine, nowMs) =>
          (nowMs > slowAtMs && (slowEngine ?? engine) === engine ? slowFactor : 1) * Math.exp(0.05 * normal(random)),
        noisy: () => kind === 3 && random.next() < 0.2,
      };
      const result = simulate(input, world, seed);
      expect(result.endMs - result.deadlineMs, `seed ${seed}`).toBeLessThanOrEqual(result.longestMs);
      expect(result.stop.detail).not.toBe('');
      const honest = kind === 0 && result.plan.state !== 'refused';
      if (honest) expect(result.accepted, `seed ${seed}`).toBeGreaterThanOrEqual(Math.min(3, result.plan.blocks));
      counts[result.stop.reason] = (counts[result.stop.reason] ?? 0) + 1;
    }
    expect(Object.keys(counts).sort()).toEqual(expect.arrayContaining(['budget', 'complete']));
  });
});

describe('progress', () => {
  const open: RunEvent = { type: 'cell-start', engine: 'a', block: 1, attempt: 0, elapsedMs: 20_000 };
  const session: RunEvent = { type: 'session', at: '2026-11-25', resumed: true };
  const cells = [
    { engine: 'a', totalMs: [1] },
    { engine: 'b', totalMs: [1] },
  ];

  test('is rebuilt from events, with the times of the cells', () => {
    const progress = progressFromEvents(blockEvents(0, cells));
    expect(progress.cells).toEqual([
      { engine: 'a', block: 0, attempt: 0, state: 'complete', durationMs: 900 },
      { engine: 'b', block: 0, attempt: 0, state: 'complete', durationMs: 900 },
    ]);
    expect(progress.blocks).toEqual([{ block: 0, attempt: 0, state: 'accepted', reasons: [] }]);
  });

  test('a block torn by an interruption is run again, at once, as its next attempt', () => {
    const progress = progressFromEvents([...blockEvents(0, cells), open, session]);
    expect(progress.blocks.at(-1)).toEqual({ block: 1, attempt: 0, state: 'abandoned', reasons: [] });
    expect(nextBlock(progress.blocks, 8)).toEqual({ block: 1, attempt: 1, partner: null });
  });

  test('a crash between two cells tears the block too', () => {
    const half = blockEvents(1, cells).slice(0, 4);
    expect(progressFromEvents([...blockEvents(0, cells), ...half]).blocks.at(-1)).toMatchObject({
      block: 1,
      state: 'abandoned',
    });
  });

  test('engines that were dropped stay dropped', () => {
    expect(
      progressFromEvents([{ type: 'warning', code: 'engine-dropped', engine: 'b', message: 'x', hint: null }]).dropped,
    ).toEqual(['b']);
  });

  test('a look that was taken is not taken again, and whom it retired stays away', () => {
    const look: RunEvent = {
      type: 'look',
      blocks: 6,
      resolved: false,
      retired: [{ engine: 'b', than: 'a', ratio: 3, low: 2.9, restMs: 1_000 }],
      restMs: 2_000,
    };
    expect(progressFromEvents([look, session])).toMatchObject({
      looks: [{ blocks: 6, resolved: false }],
      retired: ['b'],
    });
  });

  test('an odd last block has no partner', () => {
    const done = [0, 1].map((block) => ({ block, attempt: 0, state: 'accepted' as const, reasons: [] }));
    expect(nextBlock(done, 3)).toEqual({ block: 2, attempt: 0, partner: null });
    expect(nextBlock([...done, { block: 2, attempt: 0, state: 'accepted', reasons: [] }], 3)).toBeNull();
  });
});
