import { describe, expect, test } from 'vitest';
import { deriveRecord } from '../../../src/core/derive/derive-record.ts';
import type { RunEvent, RunRecord } from '../../../src/core/record.ts';
import { renderReport } from '../../../src/report/formats.ts';
import { blockEvents, engineFacts, manifestOf, modelFacts } from '../fixtures.ts';

const MIB = 2 ** 20;
const TRAFFIC = { weightBytesPerToken: 400e6, multipliedParametersPerToken: 7e8, cacheValuesPerToken: 11_520 };

function look(readBytesPerS: number): RunEvent {
  return {
    type: 'machine-check',
    elapsedMs: 0,
    canary: { readBytesPerS, flopsPerS: 40e9, readMs: 150, multiplyAddMs: 150 },
    conditions: { throttleCount: null, limited: null, power: 'ac', swapInPages: 0 },
    pressure: null,
    costMs: 300,
  };
}

/** Three blocks of alpha on two prompts with these times to first token, ms; decode at 10 ms a token. */
function record(input: { ttft?: readonly number[]; withCanary?: boolean; device?: 'cpu' | 'cuda' } = {}): RunRecord {
  const { ttft = [2_400, 8_200], withCanary = true, device = 'cpu' } = input;
  const prompts = [
    { name: 'long', tokenCount: 1_200, source: 'study text' },
    { name: 'very-long', tokenCount: 4_096, source: 'study text' },
  ];
  const manifest = manifestOf([engineFacts('alpha', { device })], { models: [modelFacts({ traffic: TRAFFIC })] });
  const plan = { ...manifest.plan, prompts };
  const machine = { ...manifest.machine, cacheBytes: 32 * MIB };
  const blocks = [0, 1, 2].flatMap((block) => {
    const events = blockEvents(block, [{ engine: 'alpha', totalMs: [9_000] }]);
    return events.flatMap((event): RunEvent[] =>
      event.type === 'sample'
        ? prompts.map(({ name, tokenCount }, index) => ({
            ...event,
            prompt: name,
            promptTokens: tokenCount,
            ttftMs: ttft[index] ?? 0,
          }))
        : [event],
    );
  });
  const session: RunEvent = { type: 'session', at: '2026-11-25T00:00:00Z', resumed: false };
  const looks = withCanary ? [look(20e9), look(20e9)] : [];
  const end: RunEvent = { type: 'end', state: 'complete', reason: 'done', elapsedMs: 60_000 };
  return deriveRecord({ ...manifest, plan, machine }, [session, ...looks, ...blocks, end]);
}

test('bytes of a token: weights, and the KV cache at the middle of the answer', () => {
  const rows = record().roofline?.rows ?? [];
  // 11,520 f16 values for each of 1,200 + 32 tokens.
  expect(rows[0]).toMatchObject({ engine: 'alpha', prompt: 'long', bytesPerToken: 400e6 + 11_520 * 2 * 1_232 });
  expect(rows[1]?.bytesPerToken).toBe(400e6 + 11_520 * 2 * 4_128);
});

test('shares: decode of the bandwidth, prefill over the canary’s arithmetic', () => {
  const [row] = record().roofline?.rows ?? [];
  expect(row?.decode).toBeCloseTo(100, 6);
  expect(row?.decodeShare).toBeCloseTo((100 * (400e6 + 11_520 * 2 * 1_232)) / 20e9, 6);
  // 1,200 tokens in 2.4 s at 1.4 GFLOP each.
  expect(row?.prefillShare).toBeCloseTo((500 * 1.4e9) / 40e9, 6);
});

describe('what is explained', () => {
  const notes = (value: RunRecord): string => (value.roofline?.notes ?? []).join('\n');

  test('prefill follows arithmetic, decode follows bytes', () => {
    expect(notes(record())).toContain('A prompt token of this model costs 1.4 GFLOP and a generated one reads 428 MB');
  });

  test('equal times for long and very long prompts are a cut prompt', () => {
    expect(notes(record({ ttft: [2_400, 2_500] }))).toContain(
      'alpha takes as long for the first token of "long" and "very-long": one of them was cut',
    );
    expect(notes(record())).not.toContain('takes as long');
  });

  test('weights that may lie in the cache: the limit is none', () => {
    // 400 MB against a cache of 32 MiB, as in these records, come from memory.
    expect(notes(record())).not.toContain('from the cache of');
  });

  test('fixed costs per token are named only where most of the time is not reading', () => {
    expect(notes(record())).not.toContain('do not shrink');
  });
});

test('nothing without a canary, nor on a GPU; old records derive and render', async () => {
  expect(record({ device: 'cuda' }).roofline).toBeNull();
  const old = record({ withCanary: false });
  expect([old.roofline, old.machineState]).toEqual([null, null]);
  expect(old.gates).toEqual([]);
  const text = await renderReport('terminal', old, [], { color: false, width: 100 });
  expect(text).not.toContain('The machine');
});

test('every format shows the share of the limit', async () => {
  const value = record();
  for (const format of ['terminal', 'markdown', 'html'] as const) {
    const text = await renderReport(format, value, [], { color: false, width: 100 });
    expect([format, text.includes('214%')]).toEqual([format, true]);
    expect(text).toContain('The machine');
  }
});
