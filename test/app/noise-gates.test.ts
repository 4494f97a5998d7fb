/** Every noise gate: its fault injected into a run on simulated engines, and what the run makes of it. */
import { describe, expect, test } from 'vitest';
import type { RunEvent } from '../../src/core/record.ts';
import { protocolOf, simulate } from './simulation.ts';
import type { Simulated, SimulatedEngine, SimulatedLook } from './simulation.ts';

const ENGINES = [{ id: 'alpha' }, { id: 'beta' }] as const;
const PLAN = { blocks: 4, iterations: 3, budgetMs: 600_000 } as const;

/** Looks 0 to CALIBRATIONS - 1 calibrate; then one follows each process: two a block. */
async function run(lookAt: (look: number) => SimulatedLook): Promise<Simulated & { readonly calibrations: number }> {
  const simulated = await simulate({ engines: ENGINES, plan: PLAN, lookAt });
  const plan = simulated.events.find((event) => event.type === 'canary-plan');
  return { ...simulated, calibrations: plan?.calibrations ?? 0 };
}

const quiet = (await run(() => ({}))).calibrations;

/** The nth look after calibrating, counted from 1; 0 is the last calibration. */
const after = (look: number): number => look - quiet + 1;

function rejected(events: readonly RunEvent[]): string[] {
  return events.flatMap((event) =>
    event.type === 'block-end' && event.state === 'rejected'
      ? [`${event.block}.${event.attempt}: ${event.reasons.join('; ')}`]
      : [],
  );
}

test('a quiet machine: the canary stands around every process, never inside one, and costs less than a tenth', async () => {
  const { events, record } = await run(() => ({}));
  const order = events.flatMap((event) =>
    event.type === 'machine-check'
      ? ['look']
      : event.type === 'cell-start' || event.type === 'cell-end'
        ? [event.type]
        : [],
  );
  const first = order.indexOf('cell-start');
  expect(order.slice(0, first)).toEqual(Array.from({ length: quiet }, () => 'look'));
  expect(order.slice(first, first + 6)).toEqual(['cell-start', 'cell-end', 'look', 'cell-start', 'cell-end', 'look']);
  expect(rejected(events)).toEqual([]);
  const looks = events.filter((event) => event.type === 'machine-check');
  expect(looks.length).toBe(quiet + 8);
  expect(looks.reduce((sum, { costMs }) => sum + costMs, 0) / record.elapsedMs).toBeLessThan(0.1);
});

describe('one disturbed block is measured again, in its pair', () => {
  test('the canary falls by 20% for one look and comes back', async () => {
    const { events, record } = await run((look) => (after(look) === 3 ? { speed: 0.8 } : {}));
    expect(rejected(events)).toEqual(["1.0: the machine's own speed changed by 25% within the block (limit 10%)"]);
    expect(protocolOf(events).filter((line) => line.startsWith('block'))).toEqual([
      'block 0.0 accepted',
      'block 1.0 rejected',
      'block 2.0 accepted',
      'block 3.0 accepted',
      'block 0.1 accepted',
      'block 1.1 accepted',
    ]);
    expect(record.blocks).toEqual({ planned: 4, accepted: 4, rejected: 1 });
  });

  test('looks that spread by 5% are what this machine is; one that stands out from them is not', async () => {
    const usual = (look: number): number => 0.95 + 0.05 * ((look * 7) % 3);
    expect(rejected((await run((look) => ({ speed: usual(look) }))).events)).toEqual([]);
    const { events } = await run((look) => ({ speed: after(look) === 3 ? 0.7 : usual(look) }));
    expect(rejected(events)).toEqual([expect.stringMatching(/^1\.0: the machine's own speed changed by 43% within/)]);
    expect(rejected(events)[0]).toMatch(/limit 3[0-5]%/);
  });

  test('8% slower is inside the limit', async () => {
    expect(rejected((await run((look) => (after(look) === 3 ? { speed: 0.925 } : {}))).events)).toEqual([]);
  });

  test('the throttle count grows', async () => {
    const { events } = await run((look) => ({ conditions: { throttleCount: after(look) >= 4 ? 12 : 7 } }));
    expect(rejected(events)).toEqual(['1.0: the processor was slowed down because of heat (5 throttle events)']);
  });

  test('the system says that it limits the processor', async () => {
    const { events } = await run((look) => ({ conditions: { limited: after(look) === 4 } }));
    // The look after the second block is the one before the third.
    expect(rejected(events).map((text) => text.slice(0, 3))).toEqual(['1.0', '2.0']);
    expect(rejected(events)[0]).toContain('held below its speed by heat or a power limit');
  });

  test('pages come back from swap', async () => {
    const { events } = await run((look) => ({ conditions: { swapInPages: after(look) >= 2 ? 5_000 : 100 } }));
    expect(rejected(events)).toEqual(['0.0: 4900 pages of memory were read back from swap (limit 256)']);
  });

  test.each([
    ['cpu', 'the processor'],
    ['io', 'the disk'],
    ['memory', 'memory'],
  ])('programs wait for %s between the engines', async (resource, what) => {
    const { events } = await run((look) => (after(look) === 1 ? { pressure: { [resource]: 0.3 } } : {}));
    expect(rejected(events)).toEqual([
      `0.0: programs waited for ${what} in 30% of the time between engines (limit 10%)`,
    ]);
  });
});

test('what disturbs an unranked engine rejects no block, and an engine that is alone is not spared', async () => {
  const slow = { id: 'slow', referenceBackend: 'not built for speed' };
  const disturbed = async (engines: readonly SimulatedEngine[], engine: string): Promise<number> => {
    const { events } = await simulate({
      engines,
      plan: PLAN,
      interferenceAt: (_cell, at) => (at === engine ? { foreignCpuShare: 0.4 } : {}),
    });
    return rejected(events).length;
  };
  expect(await disturbed([...ENGINES, slow], 'slow')).toBe(0);
  expect(await disturbed([...ENGINES, slow], 'alpha')).toBeGreaterThan(0);
  expect(await disturbed([slow], 'slow')).toBeGreaterThan(0);
});

describe('what does not stop makes the run NOISY, with the remedy', () => {
  test('the laptop is unplugged', async () => {
    const { record } = await run((look) => ({ conditions: { power: after(look) >= 1 ? 'battery' : 'ac' } }));
    expect(record.verdict.state).toBe('noisy');
    expect(record.verdict.headline).toBe(
      'No winner: the machine was too noisy (3 of 3 blocks were disturbed: the power source changed from mains to battery). Connect the power supply and leave it connected, and run again.',
    );
  });

  test('a neighbour comes and goes: the canary swings', async () => {
    const { record } = await run((look) => ({ speed: look % 2 === 0 ? 1 : 0.7 }));
    expect(record.verdict.headline).toContain("the machine's own speed changed by 43% within the block");
    expect(record.verdict.headline).toContain(
      'Try at a quieter time, or on a machine or an instance type that does not share its cores',
    );
  });

  test('the program at work is named', async () => {
    const { record, events } = await simulate({
      engines: ENGINES,
      plan: PLAN,
      interferenceAt: () => ({ foreignCpuShare: 0.4 }),
      lookAt: () => ({ program: 'indexer' }),
    });
    expect(events.find((event) => event.type === 'block-end')?.busiest).toEqual([{ name: 'indexer', coreShare: 0.98 }]);
    expect(record.verdict.headline).toContain('Close indexer, and run again.');
  });
});

describe('self-heating is told, not measured again', () => {
  test('the machine settles 15% lower: one rerun for the fall, and what follows counts', async () => {
    const { events, record } = await run((look) => ({ speed: after(look) >= 3 ? 0.85 : 1 }));
    expect(rejected(events)).toEqual(["1.0: the machine's own speed changed by 18% within the block (limit 10%)"]);
    const sustained = events.flatMap((event) =>
      event.type === 'block-end' && event.sustained ? [event.sustained] : [],
    );
    expect(sustained[0]).toBe('the machine has settled at a speed 15% slower than in most of this session');
    expect(record.verdict.state).not.toBe('noisy');
  });

  test('the throttle count grows in every block: two reruns, then it is the sustained speed', async () => {
    const { events } = await run((look) => ({ conditions: { throttleCount: 10 * look } }));
    expect(rejected(events).length).toBe(2);
    expect(events.find((event) => event.type === 'block-end' && event.sustained !== undefined)).toMatchObject({
      state: 'accepted',
      sustained: 'the processor is held back by its own heat or power limit in block after block',
    });
  });
});

describe('a machine that is never quiet enough to trust a small difference', () => {
  /** Of a run of twelve blocks. */
  const CALIBRATIONS = 8;

  /** Rests while calibrating, then is 3% to 9% slower from block to block: within the limits of every block. */
  const loaded = (look: number): SimulatedLook => ({
    speed: look < CALIBRATIONS ? 1 : 0.97 - 0.03 * (Math.floor(look / 2) % 3),
  });

  async function compare(slowdown: number, lookAt: (look: number) => SimulatedLook): Promise<Simulated> {
    return simulate({
      engines: [{ id: 'alpha' }, { id: 'beta', slowdown }],
      plan: { blocks: 12, iterations: 3, budgetMs: 900_000 },
      noise: { process: 0.01, request: 0.005 },
      lookAt,
    });
  }

  test('8% faster is LOAD-DEPENDENT: no winner is named, and why', async () => {
    const { record, events } = await compare(1.08, loaded);
    expect(events.find((event) => event.type === 'canary-plan')?.calibrations).toBe(CALIBRATIONS);
    expect(rejected(events)).toEqual([]);
    expect(record.verdict).toMatchObject({ state: 'load-dependent', winner: null, topGroup: [] });
    expect(record.verdict.headline).toMatch(
      /^Load-dependent, so no winner: alpha is 1\.0\dx as fast as beta on this busy machine, but the machine was \d+(\.\d)?% slower than at its quietest/,
    );
    expect(record.machineState?.canary?.excessLoad).toBeGreaterThan(0.05);
  });

  test('the same on a quiet machine: FASTER', async () => {
    expect((await compare(1.08, () => ({}))).record.verdict).toMatchObject({ state: 'winner', winner: 'alpha' });
  });

  test('twice as fast is faster, whatever the load did', async () => {
    expect((await compare(2, loaded)).record.verdict).toMatchObject({ state: 'winner', winner: 'alpha' });
  });

  test('equal engines are not called equivalent either', async () => {
    expect((await compare(1, loaded)).record.comparisons[0]?.verdict).toBe('LOAD_DEPENDENT');
  });
});

describe('where a canary is too dear or says nothing', () => {
  test('short processes: fewer looks, then none', async () => {
    const plan = { ...PLAN, blocks: 12, prompts: [{ name: 'short', tokenCount: 8, source: 'study text' }] };
    const at = async (scale: number): Promise<string | null | undefined> => {
      const engines = ENGINES.map(({ id }) => ({
        id,
        startMs: 300 * scale,
        prefillMsPerToken: scale,
        decodeMsPerToken: 8 * scale,
      }));
      const { events } = await simulate({ engines, plan, lookAt: () => ({}) });
      const found = events.find((event) => event.type === 'canary-plan');
      return found?.mode;
    };
    expect([await at(2), await at(0.7), await at(0.01)]).toEqual(['cells', 'blocks', 'off']);
  });
});

describe('faster than the machine allows: the comparison is void', () => {
  /** Decode takes 8 ms a token: 125 tokens/s. The machine reads 20 GB/s and computes 100 GFLOP/s. */
  async function withTraffic(weightBytesPerToken: number, multipliedParametersPerToken: number): Promise<Simulated> {
    const traffic = { weightBytesPerToken, multipliedParametersPerToken, cacheValuesPerToken: null };
    return simulate({ engines: ENGINES, plan: PLAN, lookAt: () => ({}), traffic });
  }

  test('half of the limit: passed, and shown', async () => {
    const { record } = await withTraffic(80e6 * 2, 1e8);
    // 160 MB from 20 GB/s are 125 tokens/s: decode is at the limit, and not beyond it.
    expect(record.roofline?.rows[0]).toMatchObject({ decodeLimit: 125, decodeShare: expect.closeTo(1, 2) });
    expect(record.gates.filter(({ gate }) => gate === 'roofline').map(({ outcome }) => outcome)).toEqual([
      'passed',
      'passed',
    ]);
    expect(record.verdict.state).not.toBe('void');
  });

  test('decode at twice the bandwidth', async () => {
    const { record } = await withTraffic(320e6, 1e8);
    expect(record.verdict.state).toBe('void');
    expect(record.verdict.headline).toContain(
      'decode on "standard" took 2.00 times of the memory bandwidth that there is (limit 1.15)',
    );
  });

  test('the same from weights that fit into the cache says nothing', async () => {
    const traffic = { weightBytesPerToken: 100e6, multipliedParametersPerToken: 1e8, cacheValuesPerToken: null };
    const engines = ENGINES.map(({ id }) => ({ id, decodeMsPerToken: 2 }));
    const { record } = await simulate({ engines, plan: PLAN, lookAt: () => ({}), traffic });
    expect(record.roofline?.rows[0]?.decodeShare).toBeCloseTo(2.5, 1);
    expect(record.roofline?.notes.join(' ')).toContain('Part of these bytes can come from the cache of 33.6 MB');
    expect(record.verdict.state).not.toBe('void');
  });

  test('prefill at sixty times the arithmetic', async () => {
    // 1,000 prompt tokens a second at 2 x 3e9 operations each are 6,000 GFLOP/s.
    const { record } = await withTraffic(160e6, 3e9);
    expect(record.verdict.headline).toMatch(/prefill on "standard" was (59|60) times as fast as the arithmetic/);
  });
});
