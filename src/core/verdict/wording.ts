/** How numbers and pairs read in sentences. */
import { assert } from '../assert.ts';
import type { Comparison } from '../record.ts';

export const SCOPE = 'in total request time on this machine, for this model and these settings';

/** 1.42x, 14.2x, 142x: three digits that the interval can support. */
export function formatRatio(ratio: number): string {
  return `${formatFactor(ratio)}x`;
}

export function formatFactor(ratio: number): string {
  if (ratio >= 100) return String(Math.round(ratio));
  return ratio.toFixed(ratio >= 10 ? 1 : 2);
}

/** For "at least": 2.9, 29; never rounded up. */
export function floorFactor(ratio: number): string {
  if (ratio >= 10) return String(Math.floor(ratio));
  return String(Math.floor(ratio * 10) / 10);
}

/** `95% interval 1.31-1.53`; empty without one. */
export function formatInterval(comparison: Pick<Comparison, 'low' | 'high' | 'confidence'>): string {
  const { low, high, confidence } = comparison;
  if (low === null || high === null || confidence === null) return '';
  return `${Math.round(confidence * 100)}% interval ${formatFactor(low)}-${formatFactor(high)}`;
}

export function formatPercent(share: number): string {
  const percent = 100 * share;
  return `${percent > 0 && percent < 10 ? Number(percent.toFixed(1)) : Math.round(percent)}%`;
}

/** `a`, `a and b`, `a, b and c`. */
export function joinWords(words: readonly string[]): string {
  return words.length <= 1 ? (words[0] ?? '') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

/** With a full stop, once. */
export function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/** The comparison of two engines seen from `first`: ratio > 1 says that `first` is faster. Null if there is none. */
export function seenFrom(comparisons: readonly Comparison[], first: string, second: string): Comparison | null {
  const found = comparisons.find(({ a, b }) => (a === first && b === second) || (a === second && b === first));
  if (found === undefined) return null;
  if (found.a === first) return found;
  const invert = (value: number | null): number | null => (value === null ? null : 1 / value);
  return {
    ...found,
    a: first,
    b: second,
    ratio: invert(found.ratio),
    low: invert(found.high),
    high: invert(found.low),
    faster: found.faster === null ? null : found.faster === 'a' ? 'b' : 'a',
  };
}

/** `first` beats `second` with FASTER. */
export function beats(comparisons: readonly Comparison[], first: string, second: string): boolean {
  const seen = seenFrom(comparisons, first, second);
  return seen?.verdict === 'FASTER' && seen.faster === 'a';
}

export function verdictBetween(
  comparisons: readonly Comparison[],
  first: string,
  second: string,
): Comparison['verdict'] | null {
  return seenFrom(comparisons, first, second)?.verdict ?? null;
}

/** Pairs of a list, each once, in its order. */
export function pairsOf(items: readonly string[]): (readonly [string, string])[] {
  return items.flatMap((first, index) => items.slice(index + 1).map((second) => [first, second] as const));
}

/** 1.42x (95% interval 1.31-1.53). */
export function formatSize(comparison: Comparison): string {
  assert(comparison.ratio !== null, 'a size needs a ratio');
  const interval = formatInterval(comparison);
  return interval === '' ? formatRatio(comparison.ratio) : `${formatRatio(comparison.ratio)} (${interval})`;
}

/** What every report says of a run on a twin. */
export function twinSentence(twinOf: string): string {
  return `The weights are a twin's: random numbers in the shape of ${twinOf}. Its speed is meant, its output means nothing.`;
}
