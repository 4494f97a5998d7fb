/** From one answered request to the numbers of the record. Definitions: docs/METHODOLOGY.md. */
import { quantileSorted } from 'simple-statistics';
import { assert } from './assert.ts';
import type { Generation } from './engine.ts';
import { generatedCount } from './generated-count.ts';
import type { Sample } from './record.ts';

/** How many greedy tokens are kept for the agreement between engines. */
const FIRST_TOKENS = 32;

export type SamplePlace = Pick<Sample, 'engine' | 'block' | 'attempt' | 'kind' | 'prompt' | 'iteration'>;

/**
 * @param generation times in ms since the request was handed over, one entry per event.
 * @returns a sample; TTFT is the first event's time, total the last's. TPOT leaves the first interval out for every
 * engine: MLX issues the second step before it yields the first token, so that interval is not a step.
 */
export function toSample(place: SamplePlace, generation: Generation): Sample {
  const { eventMs, eventTokenCounts, tokens, engineTimings } = generation;
  assert(eventMs.length === eventTokenCounts.length, 'one time per event');
  const generated = generatedCount(generation);
  const intervals = tokenIntervals(generation);
  const sorted = intervals.toSorted((a, b) => a - b);
  const at = (share: number): number | null => (sorted.length === 0 ? null : quantileSorted(sorted, share));
  return {
    type: 'sample',
    ...place,
    promptTokens: generation.promptTokenCount,
    generatedTokens: generated,
    ttftMs: eventMs[0] ?? 0,
    totalMs: eventMs.at(-1) ?? 0,
    tpotMs: intervals.length === 0 ? null : intervals.reduce((sum, ms) => sum + ms, 0) / intervals.length,
    tpotP50Ms: at(0.5),
    tpotP90Ms: at(0.9),
    tpotP99Ms: at(0.99),
    enginePrefillMs: engineTimings?.prefillMs ?? null,
    engineDecodeMs: engineTimings?.decodeMs ?? null,
    engineDecodeIntervalCount: engineTimings?.decodeIntervalCount ?? null,
    eventsPerToken: generated === 0 ? 0 : eventMs.length / generated,
    cachedTokens: generation.cachedTokenCount,
    firstTokens: tokens.slice(0, FIRST_TOKENS),
  };
}

/** Per-token intervals after the second event; an event of several tokens counts as that many equal intervals. */
function tokenIntervals({ eventMs, eventTokenCounts }: Generation): number[] {
  const intervals: number[] = [];
  for (let index = 2; index < eventMs.length; index++) {
    const count = eventTokenCounts[index] ?? 1;
    const each = ((eventMs[index] ?? 0) - (eventMs[index - 1] ?? 0)) / count;
    for (let token = 0; token < count; token++) intervals.push(Math.max(0, each));
  }
  return intervals;
}
