import { beforeAll, describe, expect, test } from 'vitest';
import { protocolOf, simulate } from './simulation.ts';
import type { Simulated, SimulationOptions } from './simulation.ts';

/** beta is 5% slower than alpha, just at the margin, so that the run goes on; gamma is far behind. */
const OPTIONS: SimulationOptions = {
  engines: [{ id: 'alpha' }, { id: 'beta', slowdown: 1.05 }, { id: 'gamma', slowdown: 3 }],
  plan: { blocks: 8, iterations: 1, budgetMs: 3_600_000, seed: 5 },
  noise: { process: 0.01, request: 0.01 },
};

const blocksOf = ({ events }: Pick<Simulated, 'events'>, id: string): number[] =>
  events.flatMap((event) => (event.type === 'cell-end' && event.engine === id ? [event.block] : []));

describe('an engine three times slower than the others', () => {
  let whole: Simulated;

  beforeAll(async () => {
    whole = await simulate(OPTIONS);
  });

  test('is retired at the first look, and the others are measured to the end in an order drawn anew', () => {
    const lines = protocolOf(whole.events);
    const look = lines.findIndex((line) => line.startsWith('look 4'));
    expect(lines[look]).toBe('look 4: open, gamma retired');
    expect(lines.slice(look + 1).map((line) => line.replace(/:.*/, ''))).toEqual([
      expect.stringMatching(/^ {2}4\.0 (alpha|beta)$/),
      expect.stringMatching(/^ {2}4\.0 (alpha|beta)$/),
      'block 4.0 accepted',
      expect.stringMatching(/^ {2}5\.0 (alpha|beta)$/),
      expect.stringMatching(/^ {2}5\.0 (alpha|beta)$/),
      'block 5.0 accepted',
      expect.stringMatching(/^ {2}6\.0 (alpha|beta)$/),
      expect.stringMatching(/^ {2}6\.0 (alpha|beta)$/),
      'block 6.0 accepted',
      expect.stringMatching(/^ {2}7\.0 (alpha|beta)$/),
      expect.stringMatching(/^ {2}7\.0 (alpha|beta)$/),
      'block 7.0 accepted',
      'end complete',
    ]);
    expect(blocksOf(whole, 'gamma')).toHaveLength(4);
    expect(blocksOf(whole, 'alpha')).toHaveLength(8);
  });

  test('is told while the run goes on, with the time that this saves', () => {
    const line = whole.lines.find((text) => text.includes('gamma is retired')) ?? '';
    expect(line).toMatch(
      /^ {2}– gamma is retired after block 4: at least 2\.\dx slower than alpha; \d+ s of the \d+ s left would be its own\.\n {4}What is not measured is neither a loss nor a tie\.$/,
    );
  });

  test('is in the record, from the samples as from the event', () => {
    const look = whole.events.find((event) => event.type === 'look');
    const [retired] = whole.record.retired ?? [];
    expect(retired).toMatchObject({ engine: 'gamma', blocks: 4, than: 'alpha' });
    expect(retired?.low).toBe(look?.retired[0]?.low);
    expect(retired?.ratio).toBeCloseTo(3, 1);
    expect(whole.record.verdict.topGroup).not.toContain('gamma');
  });

  test('stays away when the run is stopped after its look and resumed', async () => {
    const cut = whole.events.findIndex((event) => event.type === 'look') + 1;
    const resumed = await simulate({ ...OPTIONS, before: whole.events.slice(0, cut) });
    expect(resumed.state).toBe('complete');
    expect(blocksOf(resumed, 'gamma')).toHaveLength(4);
    expect(blocksOf(resumed, 'alpha')).toHaveLength(8);
    expect(resumed.events.filter((event) => event.type === 'look')).toHaveLength(2);
    expect(resumed.record.retired).toEqual(whole.record.retired);
  });
});

test('two engines: nobody is retired, and the plan has no rule for it', async () => {
  const { events } = await simulate({ ...OPTIONS, engines: [{ id: 'alpha' }, { id: 'gamma', slowdown: 3 }] });
  expect(events.find((event) => event.type === 'plan')).not.toHaveProperty('retirement');
  expect(events.flatMap((event) => (event.type === 'look' ? event.retired : []))).toEqual([]);
});

test('a ladder measures every rung to the end', async () => {
  const plan = { ...OPTIONS.plan, ladder: true };
  const ladder = await simulate({ ...OPTIONS, plan });
  expect(blocksOf(ladder, 'gamma')).toHaveLength(8);
});

test('a look is taken once: a run that is resumed after it does not test the same blocks again', async () => {
  const engines = [{ id: 'alpha' }, { id: 'beta', slowdown: 1.05 }];
  const noise = { process: 0.04, request: 0.01 };
  const whole = await simulate({ ...OPTIONS, engines, noise });
  const cut = whole.events.findIndex((event) => event.type === 'look') + 1;
  expect(whole.events[cut - 1]).toMatchObject({ type: 'look', blocks: 4, resolved: false });
  const resumed = await simulate({ ...OPTIONS, engines, before: whole.events.slice(0, cut) });
  expect(resumed.events.flatMap((event) => (event.type === 'look' ? [event.blocks] : []))).toEqual([4, 6]);
});
