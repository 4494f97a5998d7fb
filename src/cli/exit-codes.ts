/** Exit codes, documented in the README: scripts may rely on them. */
export const EXIT = {
  /** The command did what it says. A tie or an inconclusive result is a result. */
  ok: 0,
  /** Something outside runoff failed; the message says what to do. */
  failed: 1,
  /** The command line or the plan file is wrong. */
  usage: 2,
  /** The comparison is void: an engine did not do the same work. The record says why. */
  voided: 3,
  /** `runoff compare --fail-if-slower`: an engine is slower by more than the limit, shown by its whole interval. */
  slower: 4,
  /** `runoff doctor` predicts, or `runoff selftest` or `runoff models tokenizer` found, a problem: a run would fail or mislead. */
  trouble: 5,
  /** A bug in runoff. */
  internal: 70,
  /** Ctrl-C or SIGTERM: the record is valid and can be resumed. */
  interrupted: 130,
} as const;
