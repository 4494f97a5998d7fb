import { describe, expect, test } from 'vitest';
import { deriveRecord } from '../../../src/core/derive/derive-record.ts';
import { takeLook } from '../../../src/core/derive/take-look.ts';
import { recordSchema } from '../../../src/core/record.ts';
import type { EngineFacts, ModelFacts, RunEvent, RunRecord, Summary } from '../../../src/core/record.ts';
import { blockEvents, engineFacts, gatesPassed, manifestOf, modelFacts, sampleOf } from '../fixtures.ts';
import type { CellSpec } from '../fixtures.ts';

const A = engineFacts('a');
const B = engineFacts('b');
const MANIFEST = manifestOf([A, B]);
const WOBBLE = [1, -1, 2, -2, 3, -3, 1, -1, 2, -2, 3, -3];
const END: RunEvent = { type: 'end', state: 'complete', reason: '12 of 12 blocks', elapsedMs: 123_456 };
const PLAN: RunEvent = { type: 'plan', blocks: 12, looks: [6, 8, 12], remainingMs: 300_000, estimateMs: 200_000 };

/** a takes 1000 ms, b 1400 ms, each with a little noise. */
function cells(block: number, changes: { a?: Partial<CellSpec>; b?: Partial<CellSpec> } = {}): CellSpec[] {
  const noise = WOBBLE[block % WOBBLE.length] ?? 0;
  return [
    { engine: 'a', totalMs: [990 + noise, 1_010 + noise, 1_200], ...changes.a },
    { engine: 'b', totalMs: [1_390 - noise, 1_410 - noise, 1_500], ...changes.b },
  ];
}

function blocks(count: number): RunEvent[] {
  return Array.from({ length: count }, (_, block) => blockEvents(block, cells(block))).flat();
}

const START: RunEvent[] = [
  { type: 'session', at: '2026-11-25', resumed: false },
  ...gatesPassed('a'),
  ...gatesPassed('b'),
  PLAN,
];

function derive(events: readonly RunEvent[], manifest = MANIFEST, live = false): RunRecord {
  const record = deriveRecord(manifest, events, { live });
  // Whatever is derived must be readable again.
  expect(recordSchema.parse(JSON.parse(JSON.stringify(record)))).toEqual(record);
  return record;
}

function summary(record: RunRecord, engine: string, prompt: string, metric: Summary['metric']): Summary | undefined {
  return record.summaries.find(
    (found) => found.engine === engine && found.prompt === prompt && found.metric === metric,
  );
}

describe('a complete run', () => {
  const record = derive([...START, ...blocks(12), END]);

  test('has its state, blocks and looks', () => {
    expect(record).toMatchObject({
      state: 'complete',
      elapsedMs: 123_456,
      blocks: { planned: 12, accepted: 12, rejected: 0 },
      looks: [6, 8, 12],
      notMeasured: [],
      warnings: [],
    });
  });

  test('takes the mean of the faster iterations, then the geometric mean over blocks', () => {
    const found = summary(record, 'a', 'standard', 'request');
    expect(found?.values).toEqual(WOBBLE.map((noise) => 1_000 + noise));
    expect(found).toMatchObject({ unit: 'ms', blockCount: 12, shortened: null });
    expect(found?.estimate).toBeCloseTo(999.9977, 3);
    expect(summary(record, 'a', 'mix', 'request')?.values).toEqual(found?.values);
  });

  test('derives every metric', () => {
    expect(summary(record, 'a', 'standard', 'ttft')?.estimate).toBeCloseTo(400, 9);
    expect(summary(record, 'a', 'standard', 'prefill')?.estimate).toBeCloseTo(1_280, 9);
    expect(summary(record, 'a', 'standard', 'decode')?.estimate).toBeCloseTo(100, 9);
    expect(summary(record, 'a', '-', 'load')).toMatchObject({ unit: 'ms', estimate: expect.closeTo(500, 9) as number });
    expect(summary(record, 'a', '-', 'memory')).toMatchObject({
      unit: 'bytes',
      estimate: expect.closeTo(2e8, 0) as number,
    });
  });

  test('compares each metric and the mix, and decides', () => {
    expect(record.comparisons.map(({ metric, prompt, verdict }) => `${metric} ${prompt} ${verdict}`)).toEqual([
      'request mix FASTER',
      'request standard FASTER',
      'ttft standard EQUIVALENT',
      'prefill standard EQUIVALENT',
      'decode standard EQUIVALENT',
    ]);
    expect(record.comparisons[0]).toMatchObject({
      a: 'a',
      b: 'b',
      faster: 'a',
      ratio: expect.closeTo(1.4, 3) as number,
    });
    expect(record.verdict).toMatchObject({ state: 'winner', winner: 'a', prompts: ['standard'], preliminary: false });
    expect(record.verdict.headline).toMatchInlineSnapshot(
      `"a is faster than b by 1.40x (95% interval 1.40-1.40) in total request time on this machine, for this model and these settings."`,
    );
    expect(record.verdict.caveats).toMatchInlineSnapshot(`
      [
        "A model of 135 million parameters does not predict a larger one. Measure yours: runoff run --model FILE.gguf.",
        "Looks were planned after 6, 8 and 12 blocks; the run was tested after 12.",
        "Load times are from a warm page cache.",
      ]
    `);
  });

  test('certifies', () => {
    expect(record.certificate).toMatchObject({
      weights: { state: 'same-file' },
      tokens: { state: 'equal' },
      output: { state: 'equal-count', detail: 'generated tokens in every request: "standard": 64' },
      settings: { state: 'matched', differences: [] },
      agreement: [{ a: 'a', b: 'b', requestCount: 36, top1Share: 1, firstTokenShare: 1 }],
    });
  });
});

describe('partial runs are valid records', () => {
  test('any prefix of the events derives', () => {
    const events = [...START, ...blocks(3), END];
    for (let length = 0; length <= events.length; length += 1) derive(events.slice(0, length));
  });

  test('running, interrupted, preliminary', () => {
    expect(derive([...START, ...blocks(4)], MANIFEST, true)).toMatchObject({
      state: 'running',
      verdict: {
        state: 'inconclusive',
        headline: 'Inconclusive so far: 4 of 12 blocks are done, the first planned look is at 6.',
      },
    });
    const interrupted = derive([...START, ...blocks(4)]);
    expect(interrupted).toMatchObject({ state: 'interrupted', verdict: { state: 'winner', preliminary: true } });
    expect(interrupted.elapsedMs).toBe(31_900);
    expect(derive([...START, ...blocks(2)]).verdict.headline).toBe(
      'Inconclusive: a and b have 2 accepted blocks in common, a verdict needs at least 3.',
    );
    expect(derive([])).toMatchObject({ state: 'interrupted', verdict: { state: 'nothing-measured' } });
    expect(
      derive([...START, ...blocks(3), END, { type: 'session', at: 'x', resumed: true }], MANIFEST, true).state,
    ).toBe('running');
  });

  test('a block without its end does not count', () => {
    const open = blockEvents(6, cells(6)).slice(0, -1);
    expect(derive([...START, ...blocks(6), ...open]).blocks.accepted).toBe(6);
  });

  test('an odd block without its mirror image is shown and not tested', () => {
    const record = derive([...START, ...blocks(7)]);
    expect(summary(record, 'a', 'standard', 'request')?.blockCount).toBe(7);
    expect(record.comparisons[0]?.blockCount).toBe(6);
    expect(record.verdict.caveats).toContain(
      'Looks were planned after 6, 8 and 12 blocks; the run was tested after 6; 1 block without its mirror image is not tested.',
    );
  });
});

describe('blocks', () => {
  test('the last accepted attempt counts, rejected ones are kept out of the numbers', () => {
    const rejected = blockEvents(1, cells(1, { a: { totalMs: [9_999, 9_999, 9_999] } }), {
      reject: 'other programs used 23% of the CPU beside a',
    });
    const again = blockEvents(0, cells(0, { a: { totalMs: [1_111, 1_111, 1_111] } }), { attempt: 1 });
    const record = derive([
      ...START,
      ...blockEvents(0, cells(0)),
      ...rejected,
      ...again,
      ...blockEvents(1, cells(1), { attempt: 1 }),
      END,
    ]);
    expect(summary(record, 'a', 'standard', 'request')?.values).toEqual([1_111, 999]);
    expect(record.blocks).toEqual({ planned: 12, accepted: 2, rejected: 1 });
  });

  test('a run whose blocks were all disturbed still tells what it saw', () => {
    const rejected = Array.from({ length: 4 }, (_, block) =>
      blockEvents(block, cells(block), { reject: 'other programs used 23% of the CPU beside a' }),
    ).flat();
    const record = derive([...START, ...rejected, END]);
    expect(record.verdict.caveats).toEqual(
      expect.arrayContaining([
        'Seen in disturbed blocks, good for no comparison: a took "standard" 1.01 s (0.988 s to 1.20 s, 12 requests).',
        'Seen in disturbed blocks, good for no comparison: b took "standard" 1.41 s (1.39 s to 1.50 s, 12 requests).',
      ]),
    );
    const [single] = derive([...START, ...blockEvents(0, [{ engine: 'a', totalMs: [1_000] }], { reject: 'heat' }), END])
      .verdict.caveats;
    expect(single).toBe('Seen in disturbed blocks, good for no comparison: a took "standard" 1.00 s (1 request).');
    const oneAccepted = derive([...START, ...rejected, ...blockEvents(4, cells(4)), END]);
    expect(oneAccepted.verdict.caveats.filter((text) => text.startsWith('Seen'))).toEqual([]);
    expect(derive([...START, ...rejected], MANIFEST, true).verdict.caveats).toEqual([]);
  });

  test('a noisy run names no winner', () => {
    const noise = Array.from({ length: 7 }, (_, block) =>
      blockEvents(block, cells(block), { reject: 'other programs used 23% of the CPU beside a' }),
    ).flat();
    const record = derive([
      ...START,
      ...noise,
      ...Array.from({ length: 4 }, (_, block) => blockEvents(block, cells(block), { attempt: 1 })).flat(),
      END,
    ]);
    expect(record.verdict).toMatchObject({ state: 'noisy', winner: null });
    expect(record.comparisons.every(({ verdict }) => verdict === 'NOISY')).toBe(true);
    expect(record.verdict.headline).toMatchInlineSnapshot(
      `"No winner: the machine was too noisy (7 of 11 blocks were disturbed: other programs used 23% of the CPU beside a). Close other programs (browsers, indexing, updates, builds), and run again."`,
    );
  });

  test('a failed cell takes its engine out of that block only, with a warning', () => {
    const failing = blockEvents(2, cells(2, { b: { state: 'failed', totalMs: [1_400] } }));
    const record = derive([
      ...START,
      ...blockEvents(0, cells(0)),
      ...blockEvents(1, cells(1)),
      ...failing,
      ...blockEvents(3, cells(3)),
      END,
    ]);
    expect(summary(record, 'a', 'standard', 'request')?.blockCount).toBe(4);
    expect(record.comparisons[0]).toMatchObject({ blockCount: 3, preliminary: true });
    expect(record.warnings).toContainEqual({
      code: 'engine-missing-in-blocks',
      engine: 'b',
      message: 'b failed in 1 of 4 accepted blocks; its pairs skip them. Last error: died',
      hint: null,
    });
  });
});

describe('gates', () => {
  const failed: RunEvent = {
    type: 'gate',
    engine: 'b',
    gate: 'prompt-cache',
    outcome: 'failed',
    detail: 'up to 500 prompt tokens came from a cache',
    remedy: 'Switch the prompt cache off.',
  };

  test('a failed gate voids the comparisons, with the reason and the remedy', () => {
    const record = derive([...START, failed, ...blocks(12), END]);
    expect(record.verdict).toMatchObject({ state: 'void', winner: null });
    expect(record.comparisons[0]).toMatchObject({
      verdict: 'VOID',
      ratio: null,
      reasons: [
        'b failed the prompt-cache gate: up to 500 prompt tokens came from a cache (remedy: Switch the prompt cache off)',
      ],
    });
  });

  test('a failed settings gate only labels', () => {
    const facts: RunEvent = { type: 'engine-facts', facts: { ...B, settings: { threads: 1 } } };
    const record = derive([...START, facts, { ...failed, gate: 'settings' }, ...blocks(12), END]);
    expect(record.verdict.state).toBe('winner');
    expect(record.certificate.settings).toEqual({ state: 'as-shipped', differences: ['b: threads: 2 asked, 1 used'] });
    expect(record.verdict.why).toBe('What differs between a and b, and may explain it: threads (2 against 1).');
    expect(record.verdict.caveats).toContain('Compared as shipped, settings differ: b: threads: 2 asked, 1 used.');
  });
});

describe('different work', () => {
  const prompts = [
    { name: 'short', tokenCount: 5, source: '' },
    { name: 'standard', tokenCount: 512, source: '' },
  ];
  const manifest = manifestOf([A, B], { plan: { ...MANIFEST.plan, prompts } });
  const both = (block: number, b: Partial<CellSpec['sample']> = {}, withLong = true): RunEvent[] => {
    const events = blockEvents(block, cells(block, { b: { sample: b ?? {} } }));
    const short = (engine: string, totalMs: number): RunEvent =>
      sampleOf({ engine, block, prompt: 'short', promptTokens: 5, totalMs });
    const kept = withLong ? events : events.filter((event) => event.type !== 'sample');
    return kept.flatMap((event) =>
      event.type === 'load' ? [event, short(event.engine, event.engine === 'a' ? 100 : 120)] : [event],
    );
  };

  test('the mix is the mean of the prompts that everybody completed', () => {
    const record = derive([...START, ...Array.from({ length: 6 }, (_, block) => both(block)).flat(), END], manifest);
    expect(record.verdict.prompts).toEqual(['short', 'standard']);
    expect(summary(record, 'a', 'mix', 'request')?.values[0]).toBe((100 + 1_001) / 2);
    expect(summary(record, 'a', 'short', 'prefill')).toBeUndefined();
  });

  test('a shortened cell is shown, never compared, and out of the mix', () => {
    const record = derive(
      [...START, ...Array.from({ length: 6 }, (_, block) => both(block, { generatedTokens: 48 })).flat(), END],
      manifest,
    );
    expect(summary(record, 'b', 'standard', 'request')?.shortened).toBe('48 instead of 64 generated tokens');
    expect(summary(record, 'b', 'standard', 'decode')).toBeUndefined();
    expect(
      record.comparisons.find(({ prompt, metric }) => prompt === 'standard' && metric === 'request'),
    ).toMatchObject({ verdict: 'NOT_COMPARED', reasons: ['b did other work: 48 instead of 64 generated tokens'] });
    expect(record.verdict.prompts).toEqual(['short']);
    expect(record.certificate.output.state).toBe('different');
    expect(record.verdict.caveats).toContain(
      'Not in the headline, because not every ranked engine completed it: "standard".',
    );
  });

  test('a prompt of few blocks does not take the headline its blocks', () => {
    const record = derive(
      [...START, ...Array.from({ length: 8 }, (_, block) => both(block, {}, block < 3)).flat(), END],
      manifest,
    );
    expect(record.verdict).toMatchObject({ prompts: ['short'], preliminary: false });
    expect(record.verdict.caveats).toContain(
      'Not in the headline, because measured in too few blocks: "standard" (3).',
    );
    expect(
      record.comparisons.find(({ prompt, metric }) => prompt === 'standard' && metric === 'request'),
    ).toMatchObject({ blockCount: 3, preliminary: true });
  });

  test('fewer tokens for everybody are comparable, and said', () => {
    const events = Array.from({ length: 6 }, (_, block) =>
      blockEvents(
        block,
        cells(block, { a: { sample: { generatedTokens: 64 } }, b: { sample: { generatedTokens: 64 } } }),
      ),
    ).flat();
    const record = derive(
      [...START, ...events, END],
      manifestOf([A, B], { plan: { ...MANIFEST.plan, generateTokens: 128 } }),
    );
    expect(record.verdict.state).toBe('winner');
    expect(record.verdict.caveats).toContain('Every engine generated 64 instead of 128 tokens on "standard".');
  });
});

test('a reference backend is shown, unranked, with a lower bound', () => {
  const reference = engineFacts('mlx-lm', { referenceBackend: 'MLX on a CPU', modelFormat: 'mlx' });
  const manifest = manifestOf([A, B, reference], {
    models: [modelFacts(), modelFacts({ format: 'mlx', name: 'twin', sha256: null })],
  });
  const events = Array.from({ length: 6 }, (_, block) =>
    blockEvents(block, [...cells(block), ...(block < 3 ? [{ engine: 'mlx-lm', totalMs: [30_000 + block] }] : [])]),
  ).flat();
  const record = derive([...START, ...events, END], manifest);
  expect(record.verdict).toMatchObject({ state: 'winner', winner: 'a', topGroup: ['a'] });
  expect(record.verdict.headline).not.toContain('mlx-lm');
  expect(record.verdict.caveats).toContain(
    'mlx-lm is at least 29x slower than a on the prompt "standard" (unranked reference backend: MLX on a CPU).',
  );
  expect(record.certificate.weights).toMatchObject({ state: 'bit-identical' });
  expect(summary(record, 'mlx-lm', 'standard', 'request')?.blockCount).toBe(3);
});

test('what is missing is listed with its reason, never as a loss', () => {
  const manifest = manifestOf([A, B, engineFacts('c')]);
  const warning: RunEvent = {
    type: 'warning',
    code: 'engine-failed',
    engine: 'c',
    message: 'c could not be checked: it died',
    hint: null,
  };
  const record = derive([...START, warning, ...blocks(6), END], manifest);
  expect(record.notMeasured).toEqual([
    { engine: 'c', prompt: 'standard', reason: 'c could not be checked: it died', estimateMs: null },
  ]);
  expect(record.verdict.caveats).toContain('Not measured, so neither better nor worse: c.');
  expect(record.verdict.topGroup).toEqual(['a']);
});

test('agreement counts positions before the first difference', () => {
  const events = Array.from({ length: 3 }, (_, block) =>
    blockEvents(block, cells(block, { b: { sample: { firstTokens: [1, 2, 9, 4] } } })),
  ).flat();
  expect(derive([...START, ...events, END]).certificate.agreement).toEqual([
    { a: 'a', b: 'b', requestCount: 9, top1Share: 0.5, firstTokenShare: 1 },
  ]);
});

test('several tokens at once are warned about', () => {
  const events = Array.from({ length: 3 }, (_, block) =>
    blockEvents(block, cells(block, { b: { sample: { eventsPerToken: 0.5 } } })),
  ).flat();
  expect(derive([...START, ...events, END]).warnings).toEqual([
    {
      code: 'chunk-level',
      engine: 'b',
      message: 'b sent several tokens at once in 9 of 9 requests: its intervals between tokens are chunk-level',
      hint: null,
    },
  ]);
});

describe('one engine alone has slow requests', () => {
  const spread = (a: readonly number[], b: readonly number[], count = 3): RunRecord['warnings'] =>
    derive([
      ...START,
      ...Array.from({ length: count }, (_, block) =>
        blockEvents(block, [
          { engine: 'a', totalMs: a },
          { engine: 'b', totalMs: b },
        ]),
      ).flat(),
      END,
    ]).warnings;

  test('it is said, with what its speed is of', () => {
    expect(spread([1_000, 1_010, 1_020], [1_000, 1_000, 1_500])).toEqual([
      {
        code: 'uneven-requests',
        engine: 'b',
        message:
          'b: in a typical block the slowest request of “standard” takes 50% more than those that count (a: 1%); its speed above is that of its better requests',
        hint: 'Look at its p99 in the latencies if users wait for the slow ones.',
      },
    ]);
  });

  test('where every engine has them they are the machine’s, and two blocks tell nothing', () => {
    expect(spread([1_000, 1_000, 1_300], [1_000, 1_000, 1_500])).toEqual([]);
    expect(spread([1_000, 1_010, 1_020], [1_000, 1_000, 1_500], 2)).toEqual([]);
  });
});

test('a live run may stop at a planned look, and only there', () => {
  expect(takeLook(MANIFEST, [...START, ...blocks(5)], new Map()).resolved).toBe(false);
  expect(takeLook(MANIFEST, [...START, ...blocks(6)], new Map()).resolved).toBe(true);
});

test('different weights and unproven ones are said', () => {
  const twin = engineFacts('b', { modelFormat: 'mlx' });
  const caveats = (fingerprint: string | null): string[] =>
    derive(
      [...START, ...blocks(6), END],
      manifestOf([A, twin], { models: [modelFacts(), modelFacts({ format: 'mlx', name: 'twin', fingerprint })] }),
    ).verdict.caveats;
  expect(caveats('0'.repeat(64)).join(' ')).toContain('The engines ran different weights: fingerprints differ');
  expect(caveats(null).join(' ')).toContain('not proven');
});

describe('servers that run already', () => {
  const at = (port: number, changes: Partial<EngineFacts> = {}): EngineFacts =>
    engineFacts('b', {
      modelFormat: 'served',
      runningInstance: true,
      location: `http://127.0.0.1:${port}/v1#m`,
      ...changes,
    });
  const served = (port: number, name: string): ModelFacts =>
    modelFacts({
      format: 'served',
      name,
      path: `http://127.0.0.1:${port}/v1#m`,
      sha256: null,
      fingerprint: null,
      bitsPerWeight: null,
    });
  const gates: RunEvent[] = ['a', 'b'].map((engine) => ({
    type: 'gate',
    engine,
    gate: 'token-count',
    outcome: 'passed',
    detail: 'd',
    remedy: null,
  }));
  const record = (server: EngineFacts): ReturnType<typeof derive> =>
    derive(
      [...START, ...gates, ...blocks(6), END],
      manifestOf([A, server], { models: [modelFacts(), served(2, 'other'), served(1, 'the-model')] }),
    );

  test('the weights are not proven, and whose it is is said', () => {
    const { certificate, verdict } = record(at(1));
    expect(certificate.weights).toEqual({
      state: 'unproven',
      detail:
        'no hash and no fingerprint of what serves as "the-model" at http://127.0.0.1:1/v1 can be read from outside; a name proves nothing',
    });
    expect(verdict.caveats).toContain(
      'b: this running instance only. It was not restarted between blocks, so its state is part of the result.',
    );
    expect(verdict.caveats.join(' ')).toContain('That the engines ran the same weights is not proven');
  });

  test('of two servers, each has its own model', () => {
    expect(record(at(2)).certificate.weights.detail).toContain('"other" at http://127.0.0.1:2/v1');
  });

  test('settings that it does not tell are not called matched', () => {
    const { certificate, verdict } = record(at(1, { settings: { contextTokens: 2_048 } }));
    expect(certificate.settings).toEqual({
      state: 'as-shipped',
      differences: ["b: settings are its owner's, and it tells only contextTokens"],
    });
    expect(verdict.caveats.join(' ')).toContain('as shipped');
  });

  test('text is counted by the server, and its ids are not proven', () => {
    expect(record(at(1)).certificate.tokens).toEqual({
      state: 'unproven',
      detail:
        "the engines' own counts agree in 36 requests; b got the text of these tokens, and which ids it made of it is not told",
    });
    expect(record(at(1, { addedPromptTokens: 1 })).certificate.tokens).toEqual({
      state: 'unproven',
      detail:
        "the engines' own counts agree in 36 requests, but b adds 1 token(s) where the model file does not (a BOS?), so its texts are that much shorter",
    });
  });
});
