/** A broken invariant of our own code: never an engine's or a user's fault, so nobody may take it for one. */
export class AssertionFailure extends TypeError {}

/** Programmer errors: a broken invariant crashes at once, where it is broken. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(`assertion failed: ${message}`);
}
