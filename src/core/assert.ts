/** Programmer errors: a broken invariant crashes at once, where it is broken. */
export function assert(condition: unknown, message: string): asserts condition {
  // oxlint-disable-next-line no-restricted-syntax -- not an operating error: nobody outside the code can act on it.
  if (!condition) throw new TypeError(`assertion failed: ${message}`);
}
