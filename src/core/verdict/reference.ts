/** Reference backends: measured briefly, never ranked, told apart by how much slower they are at least. */
import type { DecideInput } from './decide.ts';
import { floorFactor, formatFactor, seenFrom } from './wording.ts';

/** One caveat per reference backend and its fastest common prompt with the fastest ranked engine. */
export function referenceCaveats(input: DecideInput, inPlay: readonly string[]): string[] {
  return input.engines.flatMap((engine) => {
    if (engine.referenceBackend === null) return [];
    const found = inPlay.flatMap((ranked) => {
      const comparisons = input.comparisons.filter(({ metric }) => metric === 'request');
      const prompts = [...new Set(comparisons.map(({ prompt }) => prompt))].sort();
      return prompts.flatMap((prompt) => {
        const seen = seenFrom(
          comparisons.filter((comparison) => comparison.prompt === prompt),
          ranked,
          engine.id,
        );
        return seen?.ratio == null ? [] : [{ ranked, prompt, ratio: seen.ratio, low: seen.low }];
      });
    })[0];
    if (found === undefined)
      return [
        `${engine.id} is unranked (reference backend: ${engine.referenceBackend}) and has no prompt in common with the others.`,
      ];
    const why = `unranked reference backend: ${engine.referenceBackend}`;
    return [`${engine.id} ${describeGap(found)} than ${found.ranked} on the prompt "${found.prompt}" (${why}).`];
  });
}

/** The interval's lower bound; without one the point estimate, rounded down. */
function describeGap({ ratio, low }: { readonly ratio: number; readonly low: number | null }): string {
  if (low !== null && low > 1) return `is at least ${floorFactor(low)}x slower`;
  if (ratio > 1 && low === null) return `is about ${floorFactor(ratio)}x slower (a point estimate, rounded down)`;
  if (low !== null) return `is not shown to be slower (${formatFactor(ratio)}x, from ${formatFactor(low)}x)`;
  return `is not slower (${formatFactor(ratio)}x)`;
}
