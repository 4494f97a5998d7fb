/** Objects of one build; more is not a progress line. */
const STEPS_MAX = 100_000;

/**
 * Pure: what a line of CMake's or Ninja's output tells a waiting person.
 * @returns e.g. `compiling 12 of 212 (5%)`; null for lines that tell nothing
 */
export function compileStep(line: string): string | null {
  const ninja = /^\[(\d{1,6})\/(\d{1,6})\] /.exec(line);
  if (ninja !== null) {
    const [done, total] = [Number(ninja[1]), Number(ninja[2])];
    if (total < 1 || done > total || total > STEPS_MAX) return null;
    return `compiling ${done} of ${total} (${Math.floor((100 * done) / total)}%)`;
  }
  const make = /^\[ {0,2}(\d{1,3})%\] /.exec(line);
  if (make !== null) return Number(make[1]) <= 100 ? `compiling (${make[1]}%)` : null;
  return /^-- The CXX compiler identification is (?!unknown)/.test(line) ? 'configuring the build' : null;
}

/**
 * Pure: minutes that a build takes here.
 * @param minutesOnTwoCores of the definition
 * @param cores that this process may use
 */
export function minutesHere(minutesOnTwoCores: number, cores: number): number {
  return Math.max(1, Math.round((2 * minutesOnTwoCores) / Math.max(1, cores)));
}
