import { describe, expect, test } from 'vitest';
import {
  contextPerSlotGate,
  doubleBosGate,
  earlyEndGate,
  logprobDistance,
  promptCacheGate,
  settingsGate,
  tokenCountGate,
  truncationGate,
  wrongModelGate,
} from '../../../src/core/validity/gates.ts';
import type { CacheEvidence } from '../../../src/core/validity/gates.ts';
import { isBlockNoisy, remedyOf, runNoise, usualSteal } from '../../../src/core/validity/noise.ts';
import { SETTINGS } from '../fixtures.ts';

test('token count of a text: what to do is another thing', () => {
  const input = { promptTokensAsked: 512, generation: { promptTokenCount: 600 }, fromText: true };
  expect(tokenCountGate(input)).toMatchObject({
    outcome: 'failed',
    detail: 'a text of 512 tokens sent, 600 reported: truncated, or another tokenizer',
    remedy: 'Give --model the file that the engine serves, and check its context.',
  });
});

test('token count', () => {
  expect(tokenCountGate({ promptTokensAsked: 512, generation: { promptTokenCount: 512 } })).toEqual({
    gate: 'token-count',
    outcome: 'passed',
    detail: '512 prompt tokens sent, 512 reported',
    remedy: null,
  });
  expect(tokenCountGate({ promptTokensAsked: 512, generation: { promptTokenCount: 513 } })).toMatchObject({
    outcome: 'failed',
    detail: '512 prompt tokens sent, 513 reported: probably a second BOS',
  });
  expect(tokenCountGate({ promptTokensAsked: 512, generation: { promptTokenCount: 300 } }).detail).toContain(
    'truncated',
  );
});

test('early end', () => {
  const tokens = Array.from({ length: 33 }, () => 7);
  expect(earlyEndGate({ generateTokensAsked: 33, generation: { tokens } }).outcome).toBe('passed');
  expect(earlyEndGate({ generateTokensAsked: 96, generation: { tokens } })).toMatchObject({
    outcome: 'failed',
    detail: '33 of 96 tokens generated',
  });
  expect(earlyEndGate({ generateTokensAsked: 32, generation: { tokens } }).outcome).toBe('failed');
});

test('double BOS: sent twice, or added by the engine', () => {
  const outcome = (promptTokens: number[], promptTokenCount: number, bosToken: number | null = 1): string =>
    doubleBosGate({ promptTokens, bosToken, generation: { promptTokenCount } }).outcome;
  expect(outcome([1, 1, 5], 3)).toBe('failed');
  expect(outcome([1, 5, 6], 4)).toBe('failed');
  expect(outcome([1, 5, 6], 3)).toBe('passed');
  expect(outcome([5, 6], 3)).toBe('passed');
  expect(outcome([1, 1], 2, null)).toBe('passed');
  expect(doubleBosGate({ promptTokens: [1, 5], bosToken: 1, generation: null }).outcome).toBe('passed');
});

describe('prompt cache', () => {
  const judge = (changes: Partial<CacheEvidence>): string =>
    promptCacheGate({ cachedTokenCounts: [], doubling: null, repeat: null, ...changes }).outcome;
  const doubling = (lengthTokens: number, ratio: number): CacheEvidence['doubling'] => ({
    lengthTokens,
    ttftMs: 100,
    ttftDoubledMs: 100 * ratio,
  });
  const repeat = (ratio: number, cachedTokenCount: number | null = null): CacheEvidence['repeat'] => ({
    ttftFirstMs: 100,
    ttftSecondMs: 100 * ratio,
    cachedTokenCount,
  });

  test('counters', () => {
    expect(judge({ cachedTokenCounts: [0, 0] })).toBe('passed');
    expect(judge({ cachedTokenCounts: [0, 500] })).toBe('failed');
    expect(judge({ cachedTokenCounts: [null] })).toBe('unknown');
    expect(judge({ cachedTokenCounts: [0], repeat: repeat(1, 12) })).toBe('failed');
  });

  test('a repeated prompt must not collapse', () => {
    expect(judge({ repeat: repeat(0.95) })).toBe('passed');
    expect(judge({ repeat: repeat(0.5) })).toBe('passed');
    expect(judge({ repeat: repeat(0.49) })).toBe('failed');
    expect(judge({ cachedTokenCounts: [0], repeat: repeat(0.04) })).toBe('failed');
  });

  test('twice the prompt: no upper bound, fails only below 1.3, and only where prefill dominates', () => {
    expect(judge({ cachedTokenCounts: [0], doubling: doubling(256, 4.2) })).toBe('passed');
    expect(judge({ cachedTokenCounts: [0], doubling: doubling(256, 1.3) })).toBe('passed');
    expect(judge({ cachedTokenCounts: [0], doubling: doubling(256, 1.29) })).toBe('failed');
    expect(judge({ cachedTokenCounts: [0], doubling: doubling(1_024, 1) })).toBe('failed');
    expect(judge({ cachedTokenCounts: [0], doubling: doubling(64, 1.1) })).toBe('passed');
    expect(judge({ cachedTokenCounts: [0], doubling: doubling(2_048, 1) })).toBe('passed');
    expect(judge({ doubling: doubling(256, 2) })).toBe('unknown');
  });

  test('a running server may keep prompts, as long as no new one comes from there', () => {
    const keeps = (changes: Partial<CacheEvidence>) => judge({ keepsPrompts: true, ...changes });
    expect(keeps({ cachedTokenCounts: [0, 0], repeat: repeat(0.04, 500) })).toBe('passed');
    expect(keeps({ cachedTokenCounts: [0, 16], repeat: repeat(0.04, 500) })).toBe('failed');
    expect(keeps({ cachedTokenCounts: [null], repeat: repeat(0.04) })).toBe('unknown');
    expect(keeps({ cachedTokenCounts: [null], repeat: repeat(0.04), doubling: doubling(256, 1) })).toBe('failed');
    expect(keeps({ cachedTokenCounts: [null], repeat: repeat(0.95) })).toBe('passed');
  });

  test('the detail holds the values', () => {
    expect(
      promptCacheGate({ cachedTokenCounts: [0, 0], doubling: doubling(256, 2.1), repeat: repeat(0.98, 0) }),
    ).toEqual({
      gate: 'prompt-cache',
      outcome: 'passed',
      remedy: null,
      detail:
        '0 cached tokens in 3 requests; the identical prompt again took 0.98 of the first time (100 ms, 98 ms); 512 tokens took 2.10 times as long as 256',
    });
  });
});

describe('truncation', () => {
  const seen = {
    place: 'the start',
    original: { tokens: [1], firstTokenLogprobs: [{ token: 1, logprob: -1 }] },
    changed: { tokens: [1], firstTokenLogprobs: [{ token: 1, logprob: -1.2 }] },
  };
  const unseen = { ...seen, place: 'one third', changed: seen.original };

  test('every needle must change the answer', () => {
    expect(truncationGate({ truncated: null, needles: [seen] })).toMatchObject({
      outcome: 'passed',
      detail: 'the answer depends on the start (log-probability 0.20)',
    });
    expect(truncationGate({ truncated: false, needles: [seen, unseen] })).toMatchObject({
      outcome: 'failed',
      detail: 'changing one third changed nothing in the answer',
    });
    expect(truncationGate({ truncated: true, needles: [seen] }).outcome).toBe('failed');
  });

  test('without log-probabilities the output decides', () => {
    const bare = (tokens: number[]) => ({ tokens, firstTokenLogprobs: [] });
    expect(
      truncationGate({ truncated: null, needles: [{ place: 'x', original: bare([1, 2]), changed: bare([1, 3]) }] })
        .outcome,
    ).toBe('passed');
    expect(
      truncationGate({ truncated: null, needles: [{ place: 'x', original: bare([1, 2]), changed: bare([1, 2]) }] })
        .outcome,
    ).toBe('failed');
  });

  test('texts without log-probabilities: one that stays the same proves nothing, all of them do', () => {
    const says = (text: string) => ({ tokens: [], text, firstTokenLogprobs: [] });
    const same = { place: 'the start', original: says('a'), changed: says('a') };
    const other = { place: 'one third', original: says('a'), changed: says('b') };
    expect(truncationGate({ truncated: null, needles: [same, other] })).toMatchObject({
      outcome: 'unknown',
      detail: 'changing the start changed nothing in the answer, and the engine tells no log-probabilities that would',
    });
    expect(truncationGate({ truncated: null, needles: [same, same] }).outcome).toBe('failed');
    expect(truncationGate({ truncated: null, needles: [other] }).outcome).toBe('passed');
  });

  test('without needles only the engine can tell', () => {
    expect(truncationGate({ truncated: false, needles: [] }).outcome).toBe('passed');
    expect(truncationGate({ truncated: null, needles: [] }).outcome).toBe('unknown');
  });

  test('the distance is the largest over shared tokens', () => {
    expect(
      logprobDistance(
        [
          { token: 1, logprob: -1 },
          { token: 2, logprob: -3 },
        ],
        [
          { token: 2, logprob: -2.5 },
          { token: 9, logprob: 0 },
        ],
      ),
    ).toBe(0.5);
    expect(logprobDistance([{ token: 1, logprob: -1 }], [])).toBeNull();
  });
});

test('wrong model: vocabulary and name disprove', () => {
  const judge = (vocabularySizeReported: number | null, modelNameReported: string | null): string =>
    wrongModelGate({
      vocabularySizeExpected: 49_152,
      vocabularySizeReported,
      modelPathExpected: '/m/SmolLM2.Q4_0.gguf',
      modelNameReported,
    }).outcome;
  expect(judge(49_152, null)).toBe('passed');
  expect(judge(32_000, null)).toBe('failed');
  expect(judge(null, 'C:\\m\\smollm2.q4_0.gguf')).toBe('passed');
  expect(judge(null, 'smollm2.Q4_0')).toBe('passed');
  expect(judge(49_152, 'other.gguf')).toBe('failed');
  expect(judge(null, null)).toBe('unknown');
});

test('context per slot', () => {
  const judge = (contextTokensReported: number | null): string =>
    contextPerSlotGate({ contextTokensReported, promptTokens: 512, generateTokens: 64 }).outcome;
  expect([judge(576), judge(575), judge(null)]).toEqual(['passed', 'failed', 'unknown']);
});

test('settings: differences by name, more context is none', () => {
  expect(settingsGate({ asked: SETTINGS, reported: { ...SETTINGS, threads: 1, contextTokens: 4_096 } })).toMatchObject({
    outcome: 'failed',
    detail: 'threads: 2 asked, 1 used',
  });
  expect(settingsGate({ asked: SETTINGS, reported: { threads: 2 } })).toMatchObject({
    outcome: 'passed',
    detail: 'matched: threads',
  });
  expect(settingsGate({ asked: SETTINGS, reported: {} }).outcome).toBe('unknown');
});

test('a block is noisy by foreign CPU over 5% and steal over 2%, and what is unknown is no reason', () => {
  const cell = (foreignCpuShare: number | null, stealShare: number | null) => [
    { engine: 'a', interference: { foreignCpuShare, stealShare, ownCpuShare: null } },
  ];
  expect(isBlockNoisy(cell(0.05, 0.02))).toEqual([]);
  expect(isBlockNoisy(cell(null, null))).toEqual([]);
  expect(isBlockNoisy(cell(0.23, 0.031))).toEqual([
    'other programs used 23% of the CPU beside a (limit 5.0%)',
    'the hypervisor took 3.1% of the CPU from a (limit 2.0%)',
  ]);
});

test('what the hypervisor takes all the time is no reason to run a block again, what comes on top is', () => {
  const cells = (...shares: (number | null)[]) =>
    shares.map((stealShare) => ({
      engine: 'a',
      interference: { foreignCpuShare: null, stealShare, ownCpuShare: null },
    }));
  expect(usualSteal(cells(0.03, 0.05, 0.04, 0.09, null)).standing).toBeCloseTo(0.045, 12);
  expect(usualSteal(cells(0.4, 0.5)).standing).toBe(0.1);
  expect(usualSteal(cells(null))).toEqual({ standing: 0, spread: 0 });
  const level = { standing: 0.04, spread: 0 };
  expect(isBlockNoisy(cells(0.06), level)).toEqual([]);
  expect(isBlockNoisy(cells(0.061), level)).toEqual([
    'the hypervisor took 6.1% of the CPU from a (limit 6.0%, 4.0% is usual here)',
  ]);
});

test('steal that comes and goes is no reason either, until it stands out from how it does', () => {
  const cells = (...shares: number[]) =>
    shares.map((stealShare) => ({
      engine: 'a',
      interference: { foreignCpuShare: null, stealShare, ownCpuShare: null },
    }));
  // Off their middle by 1%, but for one that is a disturbance.
  const waves = usualSteal(cells(0.02, 0.03, 0.01, 0.03, 0.01, 0.3));
  expect(waves.standing).toBeCloseTo(0.025, 12);
  expect(waves.spread).toBeCloseTo(1.4826 * 0.01, 12);
  expect(isBlockNoisy(cells(0.069), waves)).toEqual([]);
  expect(isBlockNoisy(cells(0.3), waves)).toHaveLength(1);
  // However wild it is: five per cent over the usual is too much.
  expect(isBlockNoisy(cells(0.07), { standing: 0.02, spread: 0.1 })).toEqual([]);
  expect(isBlockNoisy(cells(0.071), { standing: 0.02, spread: 0.1 })).toHaveLength(1);
});

test('a run is noisy when more than half of N were rejected, or rejections left it without a verdict', () => {
  const reasons = ['other programs used 23% of the CPU beside a (limit 5.0%)'];
  const judge = (rejected: number, accepted: number, ended = true) =>
    runNoise({
      planned: 12,
      accepted,
      rejected: Array.from({ length: rejected }, () => ({ reasons, busiest: [] })),
      ended,
    });
  expect(judge(6, 12)).toEqual({ state: 'quiet', reason: null, remedy: null });
  expect(judge(7, 5)).toEqual({
    state: 'noisy',
    reason: '7 of 12 blocks were disturbed: other programs used 23% of the CPU beside a (limit 5.0%)',
    remedy: 'Close other programs (browsers, indexing, updates, builds), and run again.',
  });
  expect(judge(5, 2).state).toBe('noisy');
  expect(judge(5, 2, false).state).toBe('quiet');
  expect(judge(2, 3).state).toBe('quiet');
});

test('what would help is told once, however many signs there are of it', () => {
  const rejection = (...reasons: string[]) => ({ reasons, busiest: ['ninja'] });
  const stolen = 'the hypervisor took 3.0% of the CPU from a (limit 2.0%)';
  const slower = 'own speed: the machine was 12% slower than before';
  const elsewhere = 'ry at a quieter time, or on a machine or an instance type that does not share its cores';
  expect(remedyOf([rejection(stolen), rejection(slower)])).toBe(`T${elsewhere}`);
  expect(remedyOf([rejection(stolen), rejection('other programs used 23% of the CPU beside a')])).toBe(
    `Close ninja, t${elsewhere}`,
  );
});
