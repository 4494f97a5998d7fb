/**
 * Early retirement: an engine that is far behind beyond doubt, and whose blocks cost what matters, is not measured on
 * (correction 10). Its missing blocks are "not measured": never losses, never ties.
 */
import type { Comparison } from '../record.ts';
import type { Behind, RetirementRule } from '../retirement-schema.ts';
import { floorFactor, seenFrom } from './wording.ts';

/**
 * At least twice as slow. The level holds at each look but the last, which gives it up (looks.ts). It is small, because an
 * engine that is worth retiring is far beyond its bound: of four, one three times slower passes at six blocks with a spread
 * of up to 9%.
 */
const RULE: RetirementRule = { ratio: 2, alpha: 0.001 };
/** Of the time that the rest of the run is predicted to take; below it, an engine is measured to the end. */
const REST_SHARE_MIN = 0.15;
/** Of two engines the farther one may not leave: there would be nothing to compare with. */
const ENGINES_MIN = 2;

/** The rule that a plan registers; null where no engine can be retired: too few, or no look before the last. */
export function retirementRule(plan: {
  readonly rankedCount: number;
  readonly lookCount: number;
}): RetirementRule | null {
  return plan.rankedCount > ENGINES_MIN && plan.lookCount > 1 ? RULE : null;
}

/**
 * Engines that are behind another by the rule.
 * @param comparisons of the headline's family, tested with the rule's ratio as their margin, at the rule's level
 */
export function findBehind(comparisons: readonly Comparison[], { ratio }: Pick<RetirementRule, 'ratio'>): Behind[] {
  const behind = comparisons.flatMap((comparison): Behind[] => {
    const { a, b, faster, verdict, preliminary } = comparison;
    if (verdict !== 'FASTER' || faster === null || preliminary) return [];
    const [than, engine] = faster === 'a' ? [a, b] : [b, a];
    const seen = seenFrom([comparison], than, engine);
    // Holm may reject at a level at which the interval, which is held to the strictest, still reaches below the bound.
    if (seen?.ratio == null || seen.low === null || seen.low < ratio) return [];
    return [{ engine, than, ratio: seen.ratio, low: seen.low }];
  });
  const farthest = Map.groupBy(behind, ({ engine }) => engine);
  return [...farthest.values()].flatMap((list) => list.toSorted((left, right) => right.low - left.low).slice(0, 1));
}

/**
 * Whom a look retires, slowest first, while two engines stay.
 * @param ranked engines that are still measured and that no gate voided
 * @param restMs predicted for what is left of every engine, reference backends included
 */
export function chooseRetired(input: {
  readonly behind: readonly Behind[];
  readonly ranked: readonly string[];
  readonly restMs: ReadonlyMap<string, number>;
}): (Behind & { readonly restMs: number })[] {
  const { behind, ranked, restMs } = input;
  let stayMs = [...restMs.values()].reduce((sum, ms) => sum + ms, 0);
  const retired: (Behind & { readonly restMs: number })[] = [];
  for (const found of behind.toSorted((left, right) => right.low - left.low)) {
    const costMs = restMs.get(found.engine) ?? 0;
    const mayLeave = ranked.includes(found.engine) && ranked.length - retired.length > ENGINES_MIN;
    if (!mayLeave || costMs < REST_SHARE_MIN * stayMs || costMs === 0) continue;
    retired.push({ ...found, restMs: costMs });
    stayMs -= costMs;
  }
  return retired;
}

/** `retired after block 6: at least 2.9x slower than alpha`. */
export function describeRetired(
  { than, low }: { readonly than: string | null; readonly low: number | null },
  blocks: number,
): string {
  const after = `retired after block ${blocks}`;
  if (than === null || low === null) return `${after}, which its samples do not support`;
  return `${after}: at least ${floorFactor(low)}x slower than ${than}`;
}
