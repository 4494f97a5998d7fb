/** Is the prompt cache really off? Counters where there are any, and times that a cache would betray. */
import { failed, passed, unknown } from './gate-result.ts';
import type { GateResult } from './gate-result.ts';

/**
 * Twice the prompt must take longer. Honest runs reach 1.5 to 4.2, so there is no upper bound and only this lower one.
 * Under 256 tokens fixed costs can hide the prefill: a low ratio there is no proof; above 1,024 the check costs too much.
 */
const DOUBLING_RATIO_MIN = 1.3;
const DOUBLING_TOKENS = { min: 64, proof: 256, max: 1_024 } as const;
/** The identical prompt again, served from a cache, took 4% of the time; noise never halves it. */
const REPEAT_RATIO_MIN = 0.5;

export interface CacheEvidence {
  /** Cached counts of every fresh prompt so far; null where the engine does not tell. */
  readonly cachedTokenCounts: readonly (number | null)[];
  /** Times to first token of fresh prompts of `lengthTokens` and twice that. */
  readonly doubling: { readonly lengthTokens: number; readonly ttftMs: number; readonly ttftDoubledMs: number } | null;
  /** The identical prompt twice in a row. */
  readonly repeat: {
    readonly ttftFirstMs: number;
    readonly ttftSecondMs: number;
    readonly cachedTokenCount: number | null;
  } | null;
  /**
   * The cache is a running server's, and its owner's choice. What was sent before may come from it, as long as nothing
   * new does: measured prompts start with a nonce and are never sent twice.
   */
  readonly keepsPrompts?: boolean;
}

/** Fails on any evidence of a cache; passes when the counters are 0 or the repeated prompt took its full time. */
export function promptCacheGate(evidence: CacheEvidence): GateResult {
  const remedy = 'Switch the prompt cache off (cache_prompt: false, --cache-ram 0) and keep the nonce at the start.';
  const findings = [judgeCounters(evidence), judgeRepeat(evidence), judgeDoubling(evidence.doubling)];
  const bad = findings.filter(({ says }) => says === 'cache');
  if (bad.length > 0) return failed('prompt-cache', bad.map(({ detail }) => detail).join('; '), remedy);
  const known = findings
    .filter(({ detail }) => detail !== '')
    .map(({ detail }) => detail)
    .join('; ');
  const proven = findings.slice(0, 2).some(({ says }) => says === 'no cache');
  if (proven) return passed('prompt-cache', known);
  return unknown('prompt-cache', known === '' ? 'the engine reports no cached counts and nothing was repeated' : known);
}

interface Finding {
  readonly says: 'cache' | 'no cache' | 'nothing';
  readonly detail: string;
}

const NOTHING: Finding = { says: 'nothing', detail: '' };

function judgeCounters({ cachedTokenCounts, repeat, keepsPrompts }: CacheEvidence): Finding {
  const repeated = keepsPrompts === true ? null : (repeat?.cachedTokenCount ?? null);
  const counts = [...cachedTokenCounts, repeated].filter((count) => count !== null);
  const hits = counts.filter((count) => count > 0);
  if (hits.length > 0)
    return {
      says: 'cache',
      detail: `up to ${Math.max(...hits)} prompt tokens came from a cache in ${hits.length} of ${counts.length} requests`,
    };
  return counts.length === 0 ? NOTHING : { says: 'no cache', detail: `0 cached tokens in ${counts.length} requests` };
}

function judgeRepeat({ repeat, keepsPrompts }: CacheEvidence): Finding {
  if (repeat === null || repeat.ttftFirstMs <= 0) return NOTHING;
  const ratio = repeat.ttftSecondMs / repeat.ttftFirstMs;
  const detail = `the identical prompt again took ${ratio.toFixed(2)} of the first time (${repeat.ttftFirstMs.toFixed(0)} ms, ${repeat.ttftSecondMs.toFixed(0)} ms)`;
  const isKept = ratio < REPEAT_RATIO_MIN || (repeat.cachedTokenCount ?? 0) > 0;
  if (keepsPrompts === true && isKept)
    return { says: 'nothing', detail: `${detail}: the server keeps prompts, and measured ones are never sent twice` };
  return { says: ratio < REPEAT_RATIO_MIN ? 'cache' : 'no cache', detail };
}

function judgeDoubling(doubling: CacheEvidence['doubling']): Finding {
  if (doubling === null || doubling.ttftMs <= 0) return NOTHING;
  const { lengthTokens, ttftMs, ttftDoubledMs } = doubling;
  if (lengthTokens < DOUBLING_TOKENS.min || lengthTokens > DOUBLING_TOKENS.max) return NOTHING;
  const ratio = ttftDoubledMs / ttftMs;
  const detail = `${2 * lengthTokens} tokens took ${ratio.toFixed(2)} times as long as ${lengthTokens}`;
  if (ratio >= DOUBLING_RATIO_MIN) return { says: 'no cache', detail };
  return { says: lengthTokens >= DOUBLING_TOKENS.proof ? 'cache' : 'nothing', detail };
}
