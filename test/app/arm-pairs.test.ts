/** Two arms out of a run of more: judged by their own two processes; and arms that are copies of one engine. */
import { describe, expect, test } from 'vitest';
import { comparePair, pairOf } from '../../src/core/derive/compare-pair.ts';
import type { RunEvent } from '../../src/core/record.ts';
import { simulate } from './simulation.ts';
import type { Simulated, SimulatedLook, SimulationOptions } from './simulation.ts';

const ENGINES = [{ id: 'alpha' }, { id: 'beta' }, { id: 'gamma' }] as const;
const PLAN = { blocks: 4, iterations: 3, budgetMs: 600_000 } as const;

function run(more: Partial<SimulationOptions>): Promise<Simulated> {
  return simulate({ engines: ENGINES, plan: PLAN, lookAt: () => ({}), ...more });
}

function rejected(events: readonly RunEvent[]): string[] {
  return events.flatMap((event) =>
    event.type === 'block-end' && event.state === 'rejected' ? [`${event.block}.${event.attempt}`] : [],
  );
}

function rejectedFor({ manifest, events }: Simulated, pair: readonly [string, string]): string[] {
  return rejected(pairOf(manifest, events, pair).events);
}

/** The engines of a block in the order in which they ran. */
function orderIn({ events }: Simulated, block: number): string[] {
  return events.flatMap((event) =>
    event.type === 'cell-start' && event.block === block && event.attempt === 0 ? [event.engine] : [],
  );
}

describe('a block that was disturbed', () => {
  test('beside one process only counts for the pairs without it', async () => {
    const simulated = await run({
      interferenceAt: (cell, engine) => (engine === 'gamma' && cell < 3 ? { foreignCpuShare: 0.4 } : {}),
    });
    expect(rejected(simulated.events)).toEqual(['0.0']);
    expect(rejectedFor(simulated, ['alpha', 'beta'])).toEqual([]);
    expect(rejectedFor(simulated, ['alpha', 'gamma'])).toEqual(['0.0']);
    expect(rejectedFor(simulated, ['beta', 'gamma'])).toEqual(['0.0']);
  });

  test('keeps for a pair only what disturbed the pair', async () => {
    const simulated = await run({
      interferenceAt: (cell, engine) => (engine !== 'beta' && cell < 3 ? { foreignCpuShare: 0.4 } : {}),
    });
    const { events } = pairOf(simulated.manifest, simulated.events, ['alpha', 'beta']);
    const end = events.find((event) => event.type === 'block-end');
    expect(end).toMatchObject({ state: 'rejected', reasons: [expect.stringContaining('beside alpha')] });
  });

  test('is judged for a pair by the looks at the machine around and between its two, not by later ones', async () => {
    const quiet = await run({});
    const looks = quiet.events.find((event) => event.type === 'canary-plan')?.calibrations ?? 0;
    const [first = '', second = '', third = ''] = orderIn(quiet, 0);
    // The look after the third process of block 0.
    const late = await run({ lookAt: (look): SimulatedLook => (look === looks + 2 ? { speed: 0.7 } : {}) });
    expect(rejected(late.events)).toContain('0.0');
    expect(rejectedFor(late, [first, second])).not.toContain('0.0');
    expect(rejectedFor(late, [second, third])).toContain('0.0');
    const between = await run({ lookAt: (look): SimulatedLook => (look === looks ? { speed: 0.7 } : {}) });
    expect(rejectedFor(between, [first, second])).toContain('0.0');
    expect(rejectedFor(between, [first, third])).toContain('0.0');
  });

  test('stays rejected for a run that had no others', async () => {
    const engines = ENGINES.slice(0, 2);
    const simulated = await run({ engines, interferenceAt: (cell) => (cell < 1 ? { stealShare: 0.2 } : {}) });
    expect(rejectedFor(simulated, ['alpha', 'beta'])).toEqual(rejected(simulated.events));
    expect(rejected(simulated.events)).toHaveLength(1);
  });
});

describe('copies of one engine', () => {
  const engines = [{ id: 'alpha' }, { id: 'again' }, { id: 'slow', slowdown: 1.3 }];
  const copies = new Map([
    ['again', { of: 'alpha', slowdown: 1 }],
    ['slow', { of: 'alpha', slowdown: 1.3 }],
  ]);

  test('share the check of the first, and the plan knows what they cost', async () => {
    const { events, record } = await run({ engines, copies });
    const gated = events.flatMap((event) => (event.type === 'gate' ? [event.engine] : []));
    expect([...new Set(gated)]).toEqual(['alpha']);
    const [alpha, again, slow] = events.filter((event) => event.type === 'pilot');
    expect(again).toEqual({ ...alpha, engine: 'again' });
    expect(slow?.decodeMsPerToken).toBeCloseTo(1.3 * (alpha?.decodeMsPerToken ?? 0), 9);
    expect(slow?.startMs).toBe(alpha?.startMs);
    const facts = events.flatMap((event) => (event.type === 'engine-facts' ? [event.facts] : []));
    expect(facts.map(({ id }) => id)).toEqual(['alpha', 'again', 'slow']);
    expect(new Set(facts.map(({ build }) => JSON.stringify(build))).size).toBe(1);
    expect(record.blocks).toEqual({ planned: 4, accepted: 4, rejected: 0 });
  });

  test('of an engine that fails its check are not measured either', async () => {
    const { events, lines } = await run({
      engines: [{ id: 'alpha', fault: 'die-loading' }, ...engines.slice(1)],
      copies,
    });
    expect(events.some((event) => event.type === 'cell-start')).toBe(false);
    expect(lines.join('\n')).toContain('alpha could not be checked');
  });

  test('are slowed alike by load: a difference between them is one, where two engines would get no winner', async () => {
    // Quiet while it is calibrated, slower from just before the first block on.
    const quiet = await run({ engines, copies });
    const looks = quiet.events.find((event) => event.type === 'canary-plan')?.calibrations ?? 0;
    const simulated = await run({
      engines,
      copies,
      plan: { ...PLAN, blocks: 8 },
      lookAt: (look): SimulatedLook => ({ speed: look < looks - 1 ? 1 : 0.78 }),
    });
    const pair = pairOf(simulated.manifest, simulated.events, ['alpha', 'slow']);
    expect(comparePair(pair)).toMatchObject({ verdict: 'LOAD_DEPENDENT', faster: null });
    expect(comparePair(pair, { copies: true })).toMatchObject({ verdict: 'FASTER', faster: 'a' });
    const same = pairOf(simulated.manifest, simulated.events, ['alpha', 'again']);
    expect(comparePair(same, { copies: true })?.faster).toBeNull();
  });

  test('end their run at the look that has the answer, under load, too', async () => {
    const two = engines.filter(({ id }) => id !== 'again');
    const copy = new Map([...copies].filter(([id]) => id === 'slow'));
    const quiet = await run({ engines: two, copies: copy });
    const looks = quiet.events.find((event) => event.type === 'canary-plan')?.calibrations ?? 0;
    const loaded = {
      engines: two,
      plan: { ...PLAN, blocks: 8 },
      lookAt: (look: number): SimulatedLook => ({ speed: look < looks - 1 ? 1 : 0.78 }),
    };
    expect((await run({ ...loaded, copies: copy })).record.blocks.accepted).toBe(4);
    expect((await run(loaded)).record.blocks.accepted).toBe(8);
  });
});
