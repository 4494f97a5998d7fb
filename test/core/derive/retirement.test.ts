import { describe, expect, test } from 'vitest';
import { deriveRecord } from '../../../src/core/derive/derive-record.ts';
import { takeLook } from '../../../src/core/derive/take-look.ts';
import { recordSchema } from '../../../src/core/record.ts';
import type { Comparison, Manifest, RunEvent, RunRecord } from '../../../src/core/record.ts';
import { blockEvents, engineFacts, gatesPassed, manifestOf } from '../fixtures.ts';

const IDS = ['a', 'b', 'slow'] as const;
const MANIFEST = manifestOf(IDS.map((id) => engineFacts(id)));
const WOBBLE = [1, -1, 2, -2, 3, -3, 1, -1, 2, -2, 3, -3];
/** b is 5% slower than a, just at the margin: never resolved. */
const MS = { a: 1_000, b: 1_050, slow: 3_000 };
const END: RunEvent = { type: 'end', state: 'complete', reason: '12 of 12 blocks', elapsedMs: 123_456 };
const PLAN: Extract<RunEvent, { type: 'plan' }> = {
  type: 'plan',
  blocks: 12,
  looks: [6, 8, 12],
  remainingMs: 300_000,
  estimateMs: 200_000,
  retirement: { ratio: 2, alpha: 0.001 },
};
const START: RunEvent[] = [
  { type: 'session', at: '2026-11-25', resumed: false },
  ...IDS.flatMap((id) => gatesPassed(id)),
  PLAN,
];
const REST = new Map([
  ['a', 6_000],
  ['b', 6_300],
  ['slow', 18_000],
]);

function block(number: number, ids: readonly (typeof IDS)[number][], attempt = 0, reject?: string): RunEvent[] {
  const noise = WOBBLE[number % WOBBLE.length] ?? 0;
  const cells = ids.map((engine, index) => {
    const ms = MS[engine] + 4 * noise * (index % 2 === 0 ? 1 : -1);
    return { engine, totalMs: [ms, ms - 5, ms + 100] };
  });
  return blockEvents(number, cells, { attempt, ...(reject === undefined ? {} : { reject }) });
}

function blocks(from: number, to: number, ids: readonly (typeof IDS)[number][] = IDS): RunEvent[] {
  return Array.from({ length: to - from }, (_, index) => block(from + index, ids)).flat();
}

/** As the application takes it and writes it down. */
function lookAt(count: number, events: readonly RunEvent[], manifest: Manifest = MANIFEST): RunEvent {
  const { resolved, retired } = takeLook(manifest, events, REST);
  return { type: 'look', blocks: count, resolved, retired: [...retired], restMs: 30_300 };
}

function derive(events: readonly RunEvent[], manifest = MANIFEST): RunRecord {
  const record = deriveRecord(manifest, events);
  expect(recordSchema.parse(JSON.parse(JSON.stringify(record)))).toEqual(record);
  return record;
}

function headline({ comparisons }: RunRecord, a: string, b: string): Comparison | undefined {
  return comparisons.find((pair) => pair.prompt === 'mix' && pair.a === a && pair.b === b);
}

const SIX = [...START, ...blocks(0, 6)];
const LOOK = lookAt(6, SIX);
const WHOLE = [...SIX, LOOK, ...blocks(6, 12, ['a', 'b']), END];

describe('a look', () => {
  test('retires who is at least twice as slow beyond doubt, and says what that saves', () => {
    expect(LOOK).toMatchObject({
      resolved: false,
      retired: [{ engine: 'slow', than: 'a', ratio: expect.closeTo(3, 1) as number, restMs: 18_000 }],
    });
    const low = LOOK.type === 'look' ? (LOOK.retired[0]?.low ?? 0) : 0;
    expect(low).toBeGreaterThan(2.8);
    expect(low).toBeLessThan(3);
  });

  test('retires nobody where the plan registered no rule, in a ladder, in a noisy run, or whose gate failed', () => {
    const { retirement: _, ...plain } = PLAN;
    const withoutRule = SIX.map((event) => (event.type === 'plan' ? plain : event));
    expect(takeLook(MANIFEST, withoutRule, REST).retired).toEqual([]);
    const ladder = { ...MANIFEST, plan: { ...MANIFEST.plan, ladder: true } };
    expect(takeLook(ladder, SIX, REST).retired).toEqual([]);
    const busy = Array.from({ length: 7 }, (_unused, index) =>
      block(6 + (index % 6), IDS, index, 'other programs'),
    ).flat();
    expect(takeLook(MANIFEST, [...START, ...busy, ...blocks(0, 6)], REST).retired).toEqual([]);
    const failed: RunEvent = {
      type: 'gate',
      engine: 'slow',
      gate: 'early-end',
      outcome: 'failed',
      detail: 'd',
      remedy: null,
    };
    expect(takeLook(MANIFEST, [...SIX, failed], REST).retired).toEqual([]);
  });

  test('retires nobody when every pair has its answer', () => {
    const apart = SIX.map((event) =>
      event.type === 'sample' && event.engine === 'b' ? { ...event, totalMs: event.totalMs * 1.4 } : event,
    );
    expect(takeLook(MANIFEST, apart, REST)).toEqual({ resolved: true, retired: [] });
  });

  test('retires nobody a second time', () => {
    const events = [...SIX, LOOK, ...blocks(6, 8, ['a', 'b'])];
    const rest = new Map([...REST].filter(([id]) => id !== 'slow'));
    expect(takeLook(MANIFEST, events, rest)).toEqual({ resolved: false, retired: [] });
  });
});

describe('the record of a run with a retired engine', () => {
  const record = derive(WHOLE);

  test('has the evidence, computed from the samples', () => {
    expect(record.retired).toEqual([
      {
        engine: 'slow',
        blocks: 6,
        than: 'a',
        ratio: expect.closeTo(3, 1) as number,
        low: LOOK.type === 'look' ? LOOK.retired[0]?.low : null,
        restMs: 18_000,
        restMsAll: 30_300,
      },
    ]);
  });

  test('judges its pairs at its last look, and the others in all blocks', () => {
    const atLook = deriveRecord(MANIFEST, SIX, { live: true });
    expect(headline(record, 'a', 'slow')).toEqual(headline(atLook, 'a', 'slow'));
    expect(headline(record, 'a', 'slow')).toMatchObject({ verdict: 'FASTER', faster: 'a', blockCount: 6 });
    expect(headline(record, 'a', 'b')).toMatchObject({ verdict: 'SLIGHTLY_FASTER', blockCount: 12 });
    expect(record.comparisons.filter(({ b }) => b === 'slow').every(({ blockCount }) => blockCount === 6)).toBe(true);
  });

  test('tests the others with what retirement left: the last look has .033', () => {
    const { retirement: _, ...plain } = PLAN;
    const without = derive([...START.filter((event) => event !== PLAN), plain, ...blocks(0, 12), END], MANIFEST);
    const width = (pair: Comparison | undefined): number => Math.log((pair?.high ?? 0) / (pair?.low ?? 1));
    // t_{1-.033/6, 11} / t_{1-.035/6, 11} = 3.05241 / 3.01947, by integrating the density.
    expect(width(headline(record, 'a', 'b')) / width(headline(without, 'a', 'b'))).toBeCloseTo(1.01091, 4);
  });

  test('never calls what is missing a loss or a tie', () => {
    expect(record.verdict.letters['slow']).not.toBe(record.verdict.letters['a']);
    expect(record.verdict.topGroup).toEqual(['a', 'b']);
    expect(record.notMeasured).toEqual([]);
    expect(record.summaries.find(({ engine, prompt }) => engine === 'slow' && prompt === 'standard')?.blockCount).toBe(
      6,
    );
    expect(record.verdict.caveats).toContain(
      'slow was retired after block 6: at least 2.9x slower than a. Its other blocks are not measured: neither losses nor ties.',
    );
  });

  test('says so in the certificate', () => {
    expect(record.certificate.retired).toEqual([
      'slow: 6 of 12 blocks (retired after block 6: at least 2.9x slower than a)',
    ]);
  });

  test('is the same when a block of the look is run again without it', () => {
    const again = [
      ...SIX,
      LOOK,
      ...blocks(6, 12, ['a', 'b']),
      ...block(0, ['a', 'b'], 1),
      ...block(1, ['a', 'b'], 1),
      END,
    ];
    const rerun = derive(again);
    expect(headline(rerun, 'a', 'slow')).toEqual(headline(record, 'a', 'slow'));
    expect(rerun.retired).toEqual(record.retired);
  });

  test('any prefix of its events derives', () => {
    for (let length = 0; length <= WHOLE.length; length += 1) derive(WHOLE.slice(0, length));
  });

  test('a retirement that the samples do not support is told', () => {
    const forged: RunEvent = {
      type: 'look',
      blocks: 6,
      resolved: false,
      retired: [{ engine: 'b', than: 'a', ratio: 9, low: 8, restMs: 6_300 }],
      restMs: 30_300,
    };
    const told = derive([...SIX, forged, ...blocks(6, 12, ['a', 'slow']), END]);
    expect(told.retired).toMatchObject([{ engine: 'b', than: null, ratio: null, low: null }]);
    expect(told.verdict.caveats.join(' ')).toContain('b was retired after block 6, which its samples do not support.');
    expect(headline(told, 'a', 'b')?.verdict).not.toBe('FASTER');
  });
});

test('two engines far behind: the slower one leaves, and the run ends, because nothing else is open', () => {
  const manifest = manifestOf(['a', 'b', 'slow'].map((id) => engineFacts(id)));
  const events = SIX.map((event) =>
    event.type === 'sample' && event.engine === 'b' ? { ...event, totalMs: event.totalMs * 2.78 } : event,
  );
  const look = lookAt(6, events, manifest);
  expect(look).toMatchObject({ resolved: true, retired: [{ engine: 'slow', than: 'a' }] });
  const record = derive([...events, look, END], manifest);
  expect(record.verdict).toMatchObject({ state: 'winner', winner: 'a', topGroup: ['a'] });
  expect(headline(record, 'b', 'slow')?.verdict).not.toBe('EQUIVALENT');
  // Tested at the look's own level, not with all that is left: 1 - .005/3.
  expect(headline(record, 'a', 'b')).toEqual(headline(deriveRecord(manifest, events, { live: true }), 'a', 'b'));
});

describe('a run that was stopped and resumed', () => {
  const session: RunEvent = { type: 'session', at: '2026-11-26', resumed: true };
  const stop: RunEvent = { type: 'end', state: 'interrupted', reason: 'stopped by the user', elapsedMs: 70_000 };
  const width = (record: RunRecord): number => {
    const pair = headline(record, 'a', 'b');
    return Math.log((pair?.high ?? 0) / (pair?.low ?? 1));
  };

  test('pays for having been readable: its last look has half of the level', () => {
    const through = derive([...START, ...blocks(0, 12), END]);
    const resumed = derive([...START, ...blocks(0, 8), stop, session, ...blocks(8, 12), END]);
    // t_{1-.0165/6, 11} / t_{1-.033/6, 11} = 3.44254 / 3.05241, by integrating the density.
    expect(width(resumed) / width(through)).toBeCloseTo(1.12781, 4);
    expect(resumed.verdict.caveats.join(' ')).toContain('The run was stopped and resumed after 8 blocks.');
  });

  test('keeps whom it retired, and the looks that it took', () => {
    const resumed = derive([...SIX, LOOK, stop, session, ...blocks(6, 12, ['a', 'b']), END]);
    expect(headline(resumed, 'a', 'slow')).toEqual(headline(derive(WHOLE), 'a', 'slow'));
    expect(resumed.retired).toEqual(derive(WHOLE).retired);
  });
});
