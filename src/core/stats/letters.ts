/** Compact letter display. */

/** Letters for this many groups; more cannot be read (20 engines with few groups never get there). */
const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

/**
 * One letter per maximal set of engines that are pairwise EQUIVALENT; every engine gets at least one.
 * Two engines share a letter exactly when they were shown to be equivalent, so the letters show that ties are not
 * transitive. `items` come best first, and so do the letters. (The usual display after Piepho 2004 joins what is not
 * significantly different; joining what is unknown would call noise a tie.)
 */
export function compactLetters(
  items: readonly string[],
  equivalent: (left: string, right: string) => boolean,
): Record<string, string> {
  const groups = maximalCliques(items, equivalent).sort((left, right) => compareGroups(items, left, right));
  const letters: Record<string, string> = Object.fromEntries(items.map((item) => [item, '']));
  for (const [index, group] of groups.entries()) {
    const letter = LETTERS[index] ?? `(${index + 1})`;
    for (const item of group) letters[item] = `${letters[item] ?? ''}${letter}`;
  }
  return letters;
}

/** Groups in the order of their best members. */
function compareGroups(items: readonly string[], left: readonly string[], right: readonly string[]): number {
  const ranks = (group: readonly string[]): number[] =>
    items.flatMap((item, rank) => (group.includes(item) ? [rank] : []));
  const [leftRanks, rightRanks] = [ranks(left), ranks(right)];
  const differs = leftRanks.findIndex((rank, index) => rank !== rightRanks[index]);
  return differs === -1 ? -1 : (leftRanks[differs] ?? 0) - (rightRanks[differs] ?? Infinity);
}

/** Bron & Kerbosch 1973, without a pivot: at most 20 engines. */
function maximalCliques(items: readonly string[], joined: (left: string, right: string) => boolean): string[][] {
  const cliques: string[][] = [];
  const extend = (clique: readonly string[], candidates: readonly string[], seen: readonly string[]): void => {
    if (candidates.length === 0 && seen.length === 0) cliques.push([...clique]);
    let [left, done] = [candidates, seen];
    for (const item of candidates) {
      const near = (other: string): boolean => other !== item && joined(item, other);
      extend([...clique, item], left.filter(near), done.filter(near));
      left = left.filter((other) => other !== item);
      done = [...done, item];
    }
  };
  extend([], items, []);
  return cliques;
}
