import { expect, test } from 'vitest';
import type { Sample } from '../../src/core/record.ts';
import { latencyRows } from '../../src/report/latency.ts';
import { winner } from './fixtures/records.ts';

const record = winner;
const [engine] = record.engines;
const [prompt] = record.manifest.plan.prompts;

function sample(changes: Partial<Sample>): Sample {
  return {
    type: 'sample',
    engine: engine?.id ?? '',
    block: 0,
    attempt: 0,
    kind: 'measured',
    prompt: prompt?.name ?? '',
    iteration: 0,
    promptTokens: 512,
    generatedTokens: 64,
    ttftMs: 100,
    totalMs: 700,
    tpotMs: 10,
    tpotP50Ms: 9,
    tpotP90Ms: 12,
    tpotP99Ms: 20,
    enginePrefillMs: 98,
    engineDecodeMs: 567,
    engineDecodeIntervalCount: 63,
    eventsPerToken: 1,
    cachedTokens: 0,
    firstTokens: [],
    ...changes,
  };
}

test('medians over measured requests of accepted blocks, both views in one row', () => {
  const samples = [
    sample({}),
    sample({ iteration: 1, ttftMs: 120, tpotP99Ms: 40 }),
    sample({ iteration: 2, ttftMs: 110, tpotP99Ms: 30 }),
    sample({ kind: 'warmup', ttftMs: 9_999 }),
    sample({ block: 1, ttftMs: 9_999 }),
  ];
  const [row] = latencyRows(record, samples, new Set(['0/0']));
  expect(row).toEqual({
    engine: engine?.id,
    prompt: prompt?.name,
    requestCount: 3,
    cells: ['110', '98.0', '10.0', '9.00', '9.00', '12.0', '30.0'],
  });
});

test('what the engine does not tell is a dash, not a zero', () => {
  const silent = sample({ enginePrefillMs: null, engineDecodeMs: null, engineDecodeIntervalCount: null });
  expect(latencyRows(record, [silent], undefined)[0]?.cells).toEqual(['100', '–', '10.0', '–', '9.00', '12.0', '20.0']);
});

test('an engine without measured requests has no row', () => {
  expect(latencyRows(record, [sample({ kind: 'warmup' })], undefined)).toEqual([]);
});
