import { describe, expect, test } from 'vitest';
import type { EngineSettings } from '../../../src/core/engine.ts';
import { knobNames, makeKnob } from '../../../src/core/tune/knobs.ts';
import type { KnobName, KnobsInput } from '../../../src/core/tune/knobs.ts';
import { mergeSettings } from '../../../src/core/tune/merge-settings.ts';

const BASE: EngineSettings = {
  threads: 4,
  contextTokens: 768,
  batchTokens: 512,
  microBatchTokens: 512,
  kvType: 'f16',
  flashAttention: true,
  mmap: true,
  gpu: 'off',
};
const ALL = Object.keys(BASE) as (keyof EngineSettings)[];
const INPUT: KnobsInput = {
  taken: ALL,
  base: BASE,
  physicalCores: 4,
  logicalCores: 8,
  promptTokensMax: 512,
  lossy: false,
};

function labels(name: KnobName, input: Partial<KnobsInput> = {}): string[] {
  return makeKnob(name, { ...INPUT, ...input }).candidates.map(({ label }) => label);
}

test('an engine is asked only about settings that it takes, and about lossy ones on request', () => {
  expect(knobNames({ taken: ALL, lossy: false })).toEqual(['threads', 'batch', 'flash attention', 'mmap']);
  expect(knobNames({ taken: ALL, lossy: true })).toContain('KV cache type');
  expect(knobNames({ taken: ['batchTokens', 'gpu'], lossy: true })).toEqual(['batch']);
  expect(knobNames({ taken: [], lossy: true })).toEqual([]);
});

describe('threads', () => {
  test('all cores, half, one and one less; never what is in force, never more than there are', () => {
    expect(labels('threads')).toEqual(['8', '2', '1', '3']);
    expect(labels('threads', { physicalCores: 2, logicalCores: 2, base: { ...BASE, threads: 2 } })).toEqual(['1']);
    expect(labels('threads', { physicalCores: 1, logicalCores: 1, base: { ...BASE, threads: 1 } })).toEqual([]);
  });
});

describe('batch', () => {
  test('sizes up to the first that takes the whole prompt', () => {
    expect(labels('batch')).toEqual(['128', '256']);
    expect(labels('batch', { promptTokensMax: 513 })).toEqual(['128', '256', '1024']);
    expect(labels('batch', { promptTokensMax: 5 })).toEqual(['128']);
  });

  test('the micro-batch goes along where the engine takes it', () => {
    const [first] = makeKnob('batch', INPUT).candidates;
    expect(first?.settings).toEqual({ batchTokens: 128, microBatchTokens: 128 });
    const [only] = makeKnob('batch', { ...INPUT, taken: ['batchTokens'] }).candidates;
    expect(only?.settings).toEqual({ batchTokens: 128 });
  });
});

test('switches offer the other position', () => {
  expect(labels('flash attention')).toEqual(['off']);
  expect(labels('mmap', { base: { ...BASE, mmap: false } })).toEqual(['on']);
});

test('a quantised KV cache needs flash attention', () => {
  expect(labels('KV cache type')).toEqual(['q8_0']);
  expect(labels('KV cache type', { base: { ...BASE, flashAttention: false } })).toEqual([]);
});

test('own settings replace the common ones; a field that is undefined does not', () => {
  expect(mergeSettings(BASE, { threads: 1, mmap: undefined })).toEqual({ ...BASE, threads: 1 });
  expect(mergeSettings(BASE, undefined)).toEqual(BASE);
});
