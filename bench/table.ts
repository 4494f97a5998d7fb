/** Cells of the tables that benches print. */

/** @param first width of the first column, which is a name; the others are `rest` wide and end at the right */
export function row(
  cells: readonly string[],
  { first, rest }: { readonly first: number; readonly rest: number },
): string {
  return cells.map((cell, index) => (index === 0 ? cell.padEnd(first) : ` ${cell.padStart(rest - 1)}`)).join('');
}

/** @returns e.g. `12.5%` for .125 */
export function percent(share: number, digits = 1): string {
  return `${(100 * share).toFixed(digits)}%`;
}
