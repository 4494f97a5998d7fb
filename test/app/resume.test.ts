import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { deriveRecord } from '../../src/core/derive/derive-record.ts';
import { recordSchema } from '../../src/core/record.ts';
import type { RunEvent } from '../../src/core/record.ts';
import { protocolOf, simulate } from './simulation.ts';
import type { Simulated, SimulationOptions } from './simulation.ts';

const OPTIONS: SimulationOptions = {
  engines: [{ id: 'alpha' }, { id: 'beta', slowdown: 1.3 }, { id: 'gamma', fault: 'die', faultFrom: 4, faultCount: 1 }],
  plan: { blocks: 4, iterations: 2, budgetMs: 3_600_000, seed: 11 },
  noise: { process: 0.01, request: 0.01 },
  interferenceAt: (cell) => (cell === 4 ? { foreignCpuShare: 0.5 } : {}),
};

function measuredBlocks(events: readonly RunEvent[]): string[] {
  return events.flatMap((event) =>
    event.type === 'block-end' && event.state === 'accepted' ? [`${event.block}`] : [],
  );
}

describe('a run that was stopped anywhere', () => {
  let whole: Simulated;

  beforeAll(async () => {
    whole = await simulate(OPTIONS);
    expect(whole.record.state).toBe('complete');
  });

  test('is a valid record at every event, and never claims to be complete', () => {
    for (let cut = 0; cut < whole.events.length; cut++) {
      const record = recordSchema.parse(deriveRecord(whole.manifest, whole.events.slice(0, cut)));
      expect(record.state).toBe('interrupted');
      expect(record.blocks.accepted).toBeLessThanOrEqual(whole.record.blocks.accepted);
    }
  });

  test('goes on from any event to a complete and valid record with the same plan', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: whole.events.length - 1 }), async (cut) => {
        const before = whole.events.slice(0, cut);
        const resumed = await simulate({ ...OPTIONS, before });
        expect(resumed.state).toBe('complete');
        expect(resumed.record.state).toBe('complete');
        expect(resumed.orphans).toBe(0);
        expect(resumed.events.slice(0, cut)).toEqual(before);
        expect(resumed.events.filter((event) => event.type === 'plan')).toHaveLength(1);
        expect(new Set(measuredBlocks(resumed.events))).toEqual(new Set(['0', '1', '2', '3']));
        expect(resumed.record.blocks.planned).toBe(4);
      }),
      { numRuns: 40, seed: 5 },
    );
  });

  test('may be stopped again and again', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 5, max: 40 }), { minLength: 1, maxLength: 4 }), async (stops) => {
        let before: readonly RunEvent[] = [];
        const { interferenceAt: _, ...quiet } = OPTIONS;
        for (const interruptAtRequest of stops)
          before = (await simulate({ ...quiet, before, interruptAtRequest })).events;
        const { record, orphans } = await simulate({ ...quiet, before });
        expect([record.state, record.blocks.accepted, orphans]).toEqual(['complete', 4, 0]);
      }),
      { numRuns: 10, seed: 6 },
    );
  });

  test('an open block is measured again from its start, so that its engines are close in time', async () => {
    const open = whole.events.findIndex((event) => event.type === 'cell-end' && event.block === 1) + 1;
    const resumed = await simulate({ ...OPTIONS, before: whole.events.slice(0, open) });
    const after = protocolOf(resumed.events.slice(open));
    expect(after.slice(0, 2).map((line) => line.replace(/:.*/, ''))).toEqual([
      'session resumed',
      expect.stringMatching(/^ {2}1\.1 /),
    ]);
  });

  test('that is complete stays as it is', async () => {
    const again = await simulate({ ...OPTIONS, before: whole.events });
    expect(protocolOf(again.events.slice(whole.events.length))).toEqual([
      'session resumed',
      expect.stringMatching(/^end complete/),
    ]);
    expect(again.record.comparisons).toEqual(whole.record.comparisons);
  });
});

test('an engine that failed its check does not join a comparison whose plan is registered', async () => {
  const engines = [{ id: 'alpha' }, { id: 'beta' }, { id: 'gamma', fault: 'die-loading' as const, faultCount: 1 }];
  const plan = { blocks: 4, iterations: 2, budgetMs: 3_600_000 };
  const first = await simulate({ engines, plan, interruptAtRequest: 60 });
  const registered = first.events.find((event) => event.type === 'plan');
  expect(registered).toBeDefined();
  // In the next session gamma would start: its blocks would be missing in the first half.
  const second = await simulate({ engines: engines.map(({ id }) => ({ id })), plan, before: first.events });
  expect(second.events.filter((event) => event.type === 'pilot').map(({ engine }) => engine)).toEqual([
    'alpha',
    'beta',
  ]);
  expect(second.record.state).toBe('complete');
});
