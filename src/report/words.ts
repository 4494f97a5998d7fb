/** What the verdicts, metrics and gates are called and what they mean: one wording for every format. */
import type { Certificate, Comparison, GateName, Metric, RunRecord, Verdict } from '../core/record.ts';
import { formatInterval, formatRatio } from '../core/verdict/wording.ts';
import { excess } from './numbers.ts';

/** Colour of a statement; never its only carrier: a word always stands beside it. */
export type Tone = 'good' | 'neutral' | 'caution' | 'bad';

export const stateWords: Readonly<Record<Verdict['state'], { readonly word: string; readonly tone: Tone }>> = {
  winner: { word: 'FASTER', tone: 'good' },
  tie: { word: 'EQUIVALENT', tone: 'neutral' },
  inconclusive: { word: 'INCONCLUSIVE', tone: 'caution' },
  noisy: { word: 'NOISY', tone: 'caution' },
  'load-dependent': { word: 'LOAD-DEPENDENT', tone: 'caution' },
  void: { word: 'VOID', tone: 'bad' },
  'single-engine': { word: 'ONE ENGINE, NOTHING TO COMPARE', tone: 'neutral' },
  'nothing-measured': { word: 'NOTHING MEASURED', tone: 'bad' },
};

export const runStateWords: Readonly<Record<RunRecord['state'], string | null>> = {
  complete: null,
  running: 'RUNNING: this is the state so far; the verdict can still change.',
  interrupted: 'INTERRUPTED: the run stopped before its plan was done; this is what it had.',
  failed: 'FAILED: the run ended with an error; this is what it had.',
};

export function verdictPhrase(comparison: Pick<Comparison, 'verdict' | 'metric'>, margin: number): string {
  switch (comparison.verdict) {
    case 'FASTER':
      return `faster, by more than the ${excess(margin)} margin`;
    case 'SLIGHTLY_FASTER':
      return 'faster, size unresolved';
    case 'EQUIVALENT':
      return `equivalent: no difference beyond the ${excess(margin)} margin`;
    case 'INCONCLUSIVE':
      return 'INCONCLUSIVE: neither a difference nor equivalence is shown';
    case 'NOISY':
      return 'NOISY: the machine was too busy to tell';
    case 'LOAD_DEPENDENT':
      return 'LOAD-DEPENDENT: the machine was not quiet, and on a quiet one the result may be another';
    case 'VOID':
      return 'VOID: a validity gate failed';
    case 'NOT_COMPARED':
      return 'not compared';
  }
}

export const verdictTones: Readonly<Record<Comparison['verdict'], Tone>> = {
  FASTER: 'good',
  SLIGHTLY_FASTER: 'good',
  EQUIVALENT: 'neutral',
  INCONCLUSIVE: 'caution',
  NOISY: 'caution',
  LOAD_DEPENDENT: 'caution',
  VOID: 'bad',
  NOT_COMPARED: 'neutral',
};

/** The pair with the faster engine (or the one that measured faster) first, so that ratios read above 1. */
export interface OrientedPair {
  readonly first: string;
  readonly second: string;
  readonly ratio: number | null;
  readonly low: number | null;
  readonly high: number | null;
}

export function orient(comparison: Comparison): OrientedPair {
  const { a, b, low, high } = comparison;
  const flip = comparison.faster === null ? (comparison.ratio ?? 1) < 1 : comparison.faster === 'b';
  if (!flip) return { first: a, second: b, ratio: comparison.ratio, low, high };
  const inverse = (value: number | null): number | null => (value === null || value === 0 ? null : 1 / value);
  return { first: b, second: a, ratio: inverse(comparison.ratio), low: inverse(high), high: inverse(low) };
}

/** `1.32x` and `98% interval 1.28-1.36`: written as the headline writes them. */
export function ratioWords(
  pair: OrientedPair,
  confidence: number | null,
): { readonly size: string; readonly interval: string } {
  const interval = formatInterval({ ...pair, confidence });
  return {
    size: pair.ratio === null ? 'no ratio' : formatRatio(pair.ratio),
    interval: interval === '' ? 'no interval' : interval,
  };
}

export interface MetricWords {
  readonly name: string;
  readonly unit: string;
  readonly better: 'higher is better' | 'lower is better';
  readonly definition: string;
}

export const metricWords: Readonly<Record<Metric, MetricWords>> = {
  request: {
    name: 'Request time',
    unit: 'time from prompt to last token',
    better: 'lower is better',
    definition:
      'From handing over the prompt to the last token, on the client’s clock. The primary endpoint: the verdict rests on this metric alone, over all prompts that every ranked engine completed, each with equal weight.',
  },
  ttft: {
    name: 'Time to first token',
    unit: 'time',
    better: 'lower is better',
    definition: 'From handing over the prompt to the first token.',
  },
  prefill: {
    name: 'Prefill rate',
    unit: 'tokens per second',
    better: 'higher is better',
    definition:
      'How fast the prompt is read: prompt tokens that came from no cache, divided by the time to first token. Prompts under 128 tokens get no rate: start-up costs would dominate it.',
  },
  decode: {
    name: 'Decode rate',
    unit: 'tokens per second',
    better: 'higher is better',
    definition:
      'How fast tokens are written: one divided by the mean time between tokens, after the second one. The first interval is left out for every engine, because one of them prepares the second token before it hands over the first.',
  },
  load: {
    name: 'Load time',
    unit: 'time',
    better: 'lower is better',
    definition:
      'From starting a fresh process to being ready for a request. The model file was read before, so it comes from the page cache; the first start after a reboot takes longer.',
  },
  memory: {
    name: 'Peak memory',
    unit: 'memory',
    better: 'lower is better',
    definition:
      'Most memory of the engine’s whole process tree at one time, read from outside, pages of the memory-mapped model file included.',
  },
};

export const gateQuestions: Readonly<Record<GateName, string>> = {
  'token-count': 'Did the engine read as many prompt tokens as it was sent?',
  truncation: 'Did it read all of the prompt, start to end?',
  'prompt-cache': 'Was every prompt read afresh, none of it from a cache?',
  'double-bos': 'Was the begin-of-sequence token added once only?',
  'early-end': 'Did it generate all the tokens that were asked for?',
  'wrong-model': 'Is the model that answers the one that was asked for?',
  'context-per-slot': 'Does one request get enough context?',
  settings: 'Do the settings in effect equal the settings asked for?',
  roofline: 'Is it slower than the machine’s memory and arithmetic allow?',
};

const certificateStates: Readonly<Record<string, { readonly text: string; readonly tone: Tone }>> = {
  'bit-identical': { text: 'bit-identical', tone: 'good' },
  'same-file': { text: 'the same file', tone: 'good' },
  equal: { text: 'equal', tone: 'good' },
  'equal-count': { text: 'equal count', tone: 'good' },
  matched: { text: 'matched', tone: 'good' },
  'as-shipped': { text: 'as shipped (they differ)', tone: 'caution' },
  tuned: { text: 'tuned (each engine its own)', tone: 'neutral' },
  different: { text: 'DIFFERENT', tone: 'bad' },
  unproven: { text: 'UNPROVEN', tone: 'caution' },
};

export interface CertificateLine {
  readonly name: string;
  readonly state: string;
  readonly tone: Tone;
  readonly detail: string;
}

/** The equal-work certificate, a line each. */
export function certificateLines(certificate: Certificate): readonly CertificateLine[] {
  const { weights, tokens, output, settings, arithmetic, retired = [] } = certificate;
  const modes = arithmetic.map(
    ({ engine, bitsPerWeight, numericMode }) =>
      `${engine}: ${bitsPerWeight === null ? 'unknown' : bitsPerWeight.toFixed(2)} bits per weight, ${numericMode ?? 'arithmetic unknown'}`,
  );
  const line = (name: string, state: string, detail: string): CertificateLine => {
    const words = certificateStates[state] ?? { text: state, tone: 'caution' };
    return { name, state: words.text, tone: words.tone, detail };
  };
  return [
    line('weights', weights.state, weights.detail),
    line('tokens', tokens.state, tokens.detail),
    line('output', output.state, output.detail),
    line(
      'settings',
      settings.state,
      settings.differences.length === 0 ? 'no difference found' : settings.differences.join('; '),
    ),
    ...(retired.length === 0
      ? []
      : [{ name: 'blocks', state: 'not all in all', tone: 'neutral' as const, detail: retired.join('; ') }]),
    ...(modes.length === 0
      ? []
      : [{ name: 'computed', state: 'as each engine does', tone: 'neutral' as const, detail: modes.join('; ') }]),
  ];
}
