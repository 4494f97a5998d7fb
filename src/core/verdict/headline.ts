/** The headline's wording, by outcome. */
import { assert } from '../assert.ts';
import type { Comparison } from '../record.ts';
import { mean, standardDeviation } from '../stats/describe.ts';
import { BLOCKS_NEEDED_MAX, blocksNeeded } from '../stats/detectable.ts';
import { bitsQualifier } from './arithmetic.ts';
import { BLOCKS_MIN } from './compare-family.ts';
import type { Standing } from './decide.ts';
import {
  beats,
  formatInterval,
  formatPercent,
  formatRatio,
  formatSize,
  joinWords,
  pairsOf,
  SCOPE,
  seenFrom,
  verdictBetween,
} from './wording.ts';

/** `a is faster than b by 1.42x (95% interval 1.31-1.53) in total request time on this machine, ...` */
export function winnerHeadline(standing: Standing, winner: string): string {
  const parts = standing.beaten.map((loser) => {
    const comparison = seenFrom(standing.headline, winner, loser);
    assert(comparison !== null, 'a winner was compared with everybody');
    const qualifier = qualify(standing, winner, loser);
    const size = formatSize(comparison);
    return `than ${loser} by ${size}${qualifier === null ? '' : `, ${qualifier},`}`;
  });
  return `${winner} is faster ${joinWords(parts)} ${SCOPE}.`;
}

/** `a and b are equivalent within 5% (1.01x, 95% interval 0.99-1.03) in total request time ...` */
export function tieHeadline(standing: Standing): string {
  const { top, input, headline } = standing;
  const within = `equivalent within ${formatPercent(input.margin - 1)}`;
  const pairs = pairsOf(top)
    .map(([a, b]) => seenFrom(headline, a, b))
    .filter((pair) => pair !== null);
  const [only] = pairs;
  const size = pairs.length === 1 && only !== undefined ? ` (${describeTie(only, input.margin)})` : '';
  return `${joinWords(top)} are ${within}${size} ${SCOPE}${alsoFaster(standing)}.`;
}

/** A ratio was measured, but not that of a quiet machine. */
export function loadHeadline({ headline, inPlay }: Standing): string {
  const open = pairsOf(inPlay).flatMap(([a, b]) => {
    const seen = seenFrom(headline, a, b);
    return seen?.verdict === 'LOAD_DEPENDENT' ? [seen] : [];
  });
  const described = open.slice(0, 3).map((pair) => `${pair.a} is ${describeOpen(pair)} as fast as ${pair.b}`);
  const [first] = open;
  const because = first?.reasons.find((reason) => reason.startsWith('the machine was')) ?? 'the machine was busy';
  return `Load-dependent, so no winner: ${joinWords(described)} on this busy machine, but ${because}. Run again when it is quiet.`;
}

/** Names the pairs that are open, how open, and what would close them. */
export function inconclusiveHeadline(standing: Standing): string {
  const { input, top, headline, inPlay } = standing;
  if (input.pending !== null) return `Inconclusive so far: ${input.pending}.`;
  const open = openPairs(top.length > 1 ? standing.top : inPlay, headline);
  const [first] = open;
  assert(first !== undefined, 'an inconclusive standing has an open pair');
  if (first.blockCount < BLOCKS_MIN) {
    return `Inconclusive: ${first.a} and ${first.b} have ${first.blockCount} accepted ${first.blockCount === 1 ? 'block' : 'blocks'} in common, a verdict needs at least ${BLOCKS_MIN}.`;
  }
  const advice = adviseBlocks(standing, open);
  const rest = top.length > 1 ? alsoFaster(standing) : '';
  if (open.length === 1 && first.verdict === 'SLIGHTLY_FASTER') {
    const [winner, loser] = first.faster === 'a' ? [first.a, first.b] : [first.b, first.a];
    const seen = seenFrom([first], winner, loser) ?? first;
    return `${winner} is faster than ${loser}, size unresolved: ${formatSize(seen)} ${SCOPE}${rest}; ${advice}.`;
  }
  const described = open
    .slice(0, 3)
    .map((pair) => `${pair.a} is ${describeOpen(pair)} as fast as ${pair.b}${describeInterval(pair)}`);
  const more = open.length > 3 ? `, and ${open.length - 3} more pairs are open` : '';
  return `Inconclusive: ${described.join(', ')}${more} ${SCOPE}${rest}; ${advice}.`;
}

function openPairs(engines: readonly string[], headline: readonly Comparison[]): Comparison[] {
  return pairsOf(engines).flatMap(([a, b]) => {
    const verdict = verdictBetween(headline, a, b);
    const seen = verdict === 'FASTER' || verdict === 'EQUIVALENT' ? null : seenFrom(headline, a, b);
    return seen ?? [];
  });
}

/** `about 24 blocks would resolve it`: planning advice from this run's spread. */
function adviseBlocks({ input, headline }: Standing, open: readonly Comparison[]): string {
  const alpha =
    input.alpha /
    Math.max(1, headline.filter(({ verdict }) => verdict !== 'VOID' && verdict !== 'NOT_COMPARED').length);
  const needed = open.map(({ a, b }) => {
    const differences = gainsOf(input.mixLogValues, a, b);
    return blocksNeeded({
      mean: mean(differences),
      deviation: standardDeviation(differences),
      alpha,
      margin: input.margin,
    });
  });
  const what = open.length === 1 ? 'it' : 'them';
  if (needed.some((count) => count === null))
    return `more than ${BLOCKS_NEEDED_MAX} blocks would be needed to resolve ${what}`;
  return `about ${Math.max(...needed.map((count) => count ?? 0))} blocks would resolve ${what}`;
}

function gainsOf(values: Standing['input']['mixLogValues'], a: string, b: string): number[] {
  const right = values.get(b) ?? [];
  return (values.get(a) ?? []).flatMap((value, block) => {
    const other = right[block] ?? null;
    return value === null || other === null ? [] : [other - value];
  });
}

/** 1.01x, 95% interval 0.99-1.03 */
function describeTie(comparison: Comparison, margin: number): string {
  const { ratio, low, high } = comparison;
  const reachesOut = low !== null && high !== null && (low < 1 / margin || high > margin);
  return [
    ratio === null ? [] : formatRatio(ratio),
    formatInterval(comparison),
    reachesOut ? 'which is wider than that of the test of equivalence' : [],
  ]
    .flat()
    .filter((text) => text !== '')
    .join(', ');
}

function describeOpen({ ratio }: Comparison): string {
  return ratio === null ? 'not known to be' : formatRatio(ratio);
}

function describeInterval(comparison: Comparison): string {
  const interval = formatInterval(comparison);
  return interval === '' ? '' : ` (${interval})`;
}

/** What the undecided top does not change: who is beaten, and by whom. */
function alsoFaster({ top, beaten, headline }: Standing): string {
  const byAll = beaten.filter((loser) => top.every((winner) => beats(headline, winner, loser)));
  const bySome = beaten.filter((loser) => !byAll.includes(loser));
  const all = byAll.length === 0 ? '' : `; ${top.length === 2 ? 'both' : 'all'} are faster than ${joinWords(byAll)}`;
  return bySome.length === 0
    ? all
    : `${all}; ${joinWords(bySome)} ${bySome.length === 1 ? 'is' : 'are'} not the fastest`;
}

function qualify(standing: Standing, a: string, b: string): string | null {
  const find = (id: string) => standing.input.engines.find((engine) => engine.id === id);
  const [left, right] = [find(a), find(b)];
  return left === undefined || right === undefined ? null : bitsQualifier(left, right, standing.input.models);
}
