import { describe, expect, test } from 'vitest';
import { simulate } from './simulation.ts';
import type { SimulatedEngine } from './simulation.ts';

const BUDGET_MS = 120_000;
/** Stopping an engine and writing its last event: no work of its own may start after the budget. */
const SLACK_MS = 3_000;
const PLAN = { blocks: 12, iterations: 3, budgetMs: BUDGET_MS } as const;
const ENGINES: readonly SimulatedEngine[] = [{ id: 'alpha' }, { id: 'beta' }];

describe('the budget is a hard deadline', () => {
  test('undisturbed, the planned work ends inside it', async () => {
    // Processes that differ so much that no look ends it.
    const noise = { process: 0.05, request: 0.01 };
    const { record, endMs } = await simulate({ engines: ENGINES, plan: PLAN, noise });
    expect(record.state).toBe('complete');
    expect(endMs).toBeLessThan(BUDGET_MS);
    expect(record.blocks).toMatchObject({ planned: 8, accepted: 8 });
  });

  test.each([10, 20, 40, 60, 80, 100, 110, 119])(
    'everything takes ten times longer from second %i on',
    async (second) => {
      const { record, endMs, orphans } = await simulate({
        engines: ENGINES,
        plan: PLAN,
        slowFrom: { atMs: second * 1_000, factor: 10 },
      });
      expect(endMs).toBeLessThanOrEqual(BUDGET_MS + SLACK_MS);
      expect([record.state, orphans]).toEqual(['complete', 0]);
    },
  );

  test.each(['hang', 'hang-loading'] as const)(
    'an engine that begins to %s late in the run costs no second of overtime',
    async (fault) => {
      for (const faultFrom of [2, 3, 4, 5, 6]) {
        const { endMs, orphans } = await simulate({
          engines: [{ id: 'alpha' }, { id: 'beta', fault, faultFrom }],
          plan: PLAN,
        });
        expect(endMs).toBeLessThanOrEqual(BUDGET_MS + SLACK_MS);
        expect(orphans).toBe(0);
      }
    },
  );

  test.each(['hang', 'hang-loading'] as const)(
    'an engine that hangs in its check (%s) does not outlast the budget, and leaves time for the other',
    async (fault) => {
      const { record, endMs } = await simulate({ engines: [{ id: 'beta', fault }, { id: 'alpha' }], plan: PLAN });
      expect(endMs).toBeLessThanOrEqual(BUDGET_MS + SLACK_MS);
      expect(record.verdict.state).toBe('single-engine');
      expect(record.warnings.map(({ code, engine }) => `${code} ${engine}`)).toContain('engine-failed beta');
    },
  );

  test('engines much too slow for the time: less work is planned, and said', async () => {
    const engines = ENGINES.map((engine) => ({ ...engine, prefillMsPerToken: 10, decodeMsPerToken: 80 }));
    const { record, endMs } = await simulate({ engines, plan: { ...PLAN, budgetMs: 60_000 } });
    expect(endMs).toBeLessThanOrEqual(60_000 + SLACK_MS);
    expect(record.verdict.state).not.toBe('winner');
  });

  test('a resumed run has what is left, not the whole budget again', async () => {
    const first = await simulate({ engines: ENGINES, plan: PLAN, interruptAtRequest: 60 });
    const usedMs = first.record.elapsedMs;
    const second = await simulate({ engines: ENGINES, plan: PLAN, before: first.events });
    expect(usedMs).toBeGreaterThan(10_000);
    expect(second.endMs).toBeLessThanOrEqual(BUDGET_MS - usedMs + SLACK_MS);
    expect(second.record.state).toBe('complete');
  });

  test('--budget gives a resumed run more time', async () => {
    const first = await simulate({
      engines: ENGINES,
      plan: { ...PLAN, budgetMs: 60_000 },
      slowFrom: { atMs: 20_000, factor: 10 },
    });
    const second = await simulate({
      engines: ENGINES,
      plan: { ...PLAN, budgetMs: 60_000 },
      before: first.events,
      budgetMs: 300_000,
    });
    expect(second.record.blocks.accepted).toBeGreaterThan(first.record.blocks.accepted);
  });
});
