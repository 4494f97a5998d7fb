import { describe, expect, test } from 'vitest';
import { protocolOf, simulate } from './simulation.ts';
import type { SimulationOptions } from './simulation.ts';

const ENGINES = [{ id: 'alpha' }, { id: 'beta' }] as const;
const SHORT = { blocks: 4, iterations: 3, budgetMs: 600_000 } as const;

async function protocol(options: SimulationOptions): Promise<string> {
  const { events, orphans } = await simulate(options);
  expect(orphans).toBe(0);
  return protocolOf(events).join('\n');
}

describe('the order of events', () => {
  test('two engines, four blocks: checks first, then mirrored pairs of fresh processes', async () => {
    expect(await protocol({ engines: ENGINES, plan: SHORT })).toMatchInlineSnapshot(`
      "session
      check alpha
        pilot alpha: 1.03 + 8.00 ms per token
      check beta
        pilot beta: 1.03 + 8.00 ms per token
      plan 4 blocks, looks at 4
        0.0 alpha: load w:warmup w:standard m:standard x3
        0.0 beta: load w:warmup w:standard m:standard x3
      block 0.0 accepted
        1.0 beta: load w:warmup w:standard m:standard x3
        1.0 alpha: load w:warmup w:standard m:standard x3
      block 1.0 accepted
        2.0 alpha: load w:warmup w:standard m:standard x3
        2.0 beta: load w:warmup w:standard m:standard x3
      block 2.0 accepted
        3.0 beta: load w:warmup w:standard m:standard x3
        3.0 alpha: load w:warmup w:standard m:standard x3
      block 3.0 accepted
      end complete: 4 of 4 blocks"
    `);
  });

  test('two prompts: each has its own full-shape warm-up up to 512 tokens', async () => {
    const prompts = [
      { name: 'short', tokenCount: 8, source: 'study text' },
      { name: 'long', tokenCount: 700, source: 'study text' },
    ];
    const { events } = await simulate({ engines: [{ id: 'alpha' }], plan: { ...SHORT, blocks: 3, prompts } });
    expect(protocolOf(events).find((line) => line.startsWith('  0.0'))).toMatchInlineSnapshot(
      `"  0.0 alpha: load w:warmup w:short m:short x3 m:long x3"`,
    );
  });

  test('a reference backend comes once or little, and is not in the looks', async () => {
    const engines = [
      ...ENGINES,
      { id: 'cpu-reference', prefillMsPerToken: 20, decodeMsPerToken: 50, referenceBackend: 'not built for speed' },
    ];
    const { events, record } = await simulate({ engines, plan: { ...SHORT, blocks: 6 } });
    const blocks = events.flatMap((event) =>
      event.type === 'cell-end' && event.engine === 'cpu-reference' ? [event.block] : [],
    );
    expect(blocks).toEqual([0, 1, 2]);
    expect(record.verdict.topGroup).not.toContain('cpu-reference');
  });
});

describe('what goes wrong in an engine', () => {
  test('one failed process: a warning, and its block goes on without it', async () => {
    expect(
      await protocol({
        engines: [{ id: 'alpha' }, { id: 'beta', fault: 'die', faultFrom: 3, faultCount: 1 }],
        plan: SHORT,
      }),
    ).toMatchInlineSnapshot(`
      "session
      check alpha
        pilot alpha: 1.03 + 8.00 ms per token
      check beta
        pilot beta: 1.03 + 8.00 ms per token
      plan 4 blocks, looks at 4
        0.0 alpha: load w:warmup w:standard m:standard x3
        0.0 beta: load w:warmup w:standard m:standard x3
      block 0.0 accepted
        1.0 beta: FAILED
      warning cell-failed: beta
        1.0 alpha: load w:warmup w:standard m:standard x3
      block 1.0 accepted
        2.0 alpha: load w:warmup w:standard m:standard x3
        2.0 beta: load w:warmup w:standard m:standard x3
      block 2.0 accepted
        3.0 beta: load w:warmup w:standard m:standard x3
        3.0 alpha: load w:warmup w:standard m:standard x3
      block 3.0 accepted
      end complete: 4 of 4 blocks"
    `);
  });

  test('an engine that fails twice in a row is dropped, and the other is measured on', async () => {
    const engines = [{ id: 'alpha' }, { id: 'beta', fault: 'die-loading', faultFrom: 3 }] as const;
    expect(await protocol({ engines, plan: SHORT })).toMatchInlineSnapshot(`
      "session
      check alpha
        pilot alpha: 1.03 + 8.00 ms per token
      check beta
        pilot beta: 1.03 + 8.00 ms per token
      plan 4 blocks, looks at 4
        0.0 alpha: load w:warmup w:standard m:standard x3
        0.0 beta: load w:warmup w:standard m:standard x3
      block 0.0 accepted
        1.0 beta: FAILED
      warning cell-failed: beta
        1.0 alpha: load w:warmup w:standard m:standard x3
      block 1.0 accepted
        2.0 alpha: load w:warmup w:standard m:standard x3
        2.0 beta: FAILED
      warning cell-failed: beta
      warning engine-dropped: beta
      block 2.0 accepted
        3.0 alpha: load w:warmup w:standard m:standard x3
      block 3.0 accepted
      end complete: 4 of 4 blocks"
    `);
  });

  test('an engine that does not start is left out with its reason', async () => {
    const { events, record } = await simulate({
      engines: [{ id: 'alpha' }, { id: 'beta', fault: 'die-loading' }],
      plan: SHORT,
    });
    expect(protocolOf(events).slice(0, 5)).toMatchInlineSnapshot(`
      [
        "session",
        "check alpha",
        "  pilot alpha: 1.03 + 8.00 ms per token",
        "warning engine-failed: beta",
        "plan 4 blocks, looks at 4",
      ]
    `);
    expect(record.warnings.map(({ message }) => message)).toEqual([
      'beta could not be checked and is left out: beta ended while loading (exit code 1)',
    ]);
    expect(record.verdict.state).toBe('single-engine');
  });

  test('no engine starts: the run ends and says why', async () => {
    const engines = [
      { id: 'alpha', fault: 'die-loading' },
      { id: 'beta', fault: 'die' },
    ] as const;
    const { events, record, state } = await simulate({ engines, plan: SHORT });
    expect(state).toBe('complete');
    expect(protocolOf(events)).toMatchInlineSnapshot(`
      [
        "session",
        "warning engine-failed: alpha",
        "check beta",
        "warning engine-failed: beta",
        "plan 0 blocks, looks at ",
        "end complete: No engine is left to measure.",
      ]
    `);
    expect(record.verdict.state).toBe('nothing-measured');
    expect(record.verdict.headline).toContain('beta died by SIGSEGV');
  });

  test('a request that hangs fails its process, not the run', async () => {
    const { record, state, endMs } = await simulate({
      engines: [{ id: 'alpha' }, { id: 'beta', fault: 'hang', faultFrom: 3, faultCount: 1 }],
      plan: SHORT,
    });
    expect(state).toBe('complete');
    expect(record.warnings.map(({ code }) => code)).toEqual(['cell-failed', 'engine-missing-in-blocks']);
    expect(record.blocks.accepted).toBe(4);
    expect(endMs).toBeLessThan(600_000);
  });
});

describe('noise', () => {
  test('a disturbed block is run again as a whole pair, after the others', async () => {
    const busy = (cell: number) => (cell === 2 ? { foreignCpuShare: 0.3 } : {});
    expect(await protocol({ engines: ENGINES, plan: SHORT, interferenceAt: busy })).toMatchInlineSnapshot(`
      "session
      check alpha
        pilot alpha: 1.03 + 8.00 ms per token
      check beta
        pilot beta: 1.03 + 8.00 ms per token
      plan 4 blocks, looks at 4
        0.0 alpha: load w:warmup w:standard m:standard x3
        0.0 beta: load w:warmup w:standard m:standard x3
      block 0.0 accepted
        1.0 beta: load w:warmup w:standard m:standard x3
        1.0 alpha: load w:warmup w:standard m:standard x3
      block 1.0 rejected
        2.0 alpha: load w:warmup w:standard m:standard x3
        2.0 beta: load w:warmup w:standard m:standard x3
      block 2.0 accepted
        3.0 beta: load w:warmup w:standard m:standard x3
        3.0 alpha: load w:warmup w:standard m:standard x3
      block 3.0 accepted
        0.1 alpha: load w:warmup w:standard m:standard x3
        0.1 beta: load w:warmup w:standard m:standard x3
      block 0.1 accepted
        1.1 beta: load w:warmup w:standard m:standard x3
        1.1 alpha: load w:warmup w:standard m:standard x3
      block 1.1 accepted
      end complete: 4 of 4 blocks"
    `);
  });

  test('a machine that is never quiet: no verdict, and what to do', async () => {
    const { record, events } = await simulate({
      engines: ENGINES,
      plan: SHORT,
      interferenceAt: () => ({ stealShare: 0.2 }),
    });
    expect(record.verdict.state).toBe('noisy');
    expect(record.verdict.headline).toContain('the hypervisor took 20% of the CPU');
    expect(protocolOf(events).at(-1)).toBe('end complete: 3 blocks were rejected, reruns are capped at half of 4');
  });
});

describe('the disk and the user', () => {
  test('Ctrl-C while an engine is checked: the run can be resumed', async () => {
    const { events, record, state, orphans } = await simulate({ engines: ENGINES, plan: SHORT, interruptAtRequest: 4 });
    expect([state, record.state, orphans]).toEqual(['interrupted', 'interrupted', 0]);
    expect(protocolOf(events)).toMatchInlineSnapshot(`
      [
        "session",
        "check alpha",
        "end interrupted: stopped by the user",
      ]
    `);
  });

  test('Ctrl-C while a block is measured: what is complete counts', async () => {
    const { events, record, orphans } = await simulate({ engines: ENGINES, plan: SHORT, interruptAtRequest: 50 });
    expect([record.state, orphans]).toEqual(['interrupted', 0]);
    expect(record.blocks.accepted).toBe(events.filter((event) => event.type === 'block-end').length);
    expect(protocolOf(events).at(-1)).toBe('end interrupted: stopped by the user');
  });

  test('the disk fills: the run stops with that error, and what is written is a valid record', async () => {
    for (let events = 1; events < 60; events += 7) {
      const { state, error, orphans, record } = await simulate({
        engines: ENGINES,
        plan: SHORT,
        diskFullAtEvent: events,
      });
      expect([state, orphans, record.state]).toEqual(['failed', 0, 'interrupted']);
      expect(error).toMatchObject({ code: 'record-write-failed' });
    }
  });
});
