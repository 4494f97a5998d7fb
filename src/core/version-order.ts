/** Pure: compares versions of three numbers, e.g. `0.9.3`. */
export function isBefore(version: string, other: string): boolean {
  const [left, right] = [version, other].map((text) => text.split('.').map(Number)) as [number[], number[]];
  const at = left.findIndex((part, i) => part !== right[i]);
  return at >= 0 && (left[at] as number) < (right[at] ?? 0);
}
