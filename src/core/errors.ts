/**
 * Operating errors: something outside the program went wrong and a person can act on it.
 * Programmer errors use `assert` and crash.
 */

/** Stable identifiers: scripts may match on them, so they never change meaning. */
export type ErrorCode =
  | 'usage'
  | 'plan-invalid'
  | 'model-not-found'
  | 'model-invalid'
  | 'model-unsupported'
  | 'tokenizer-unknown'
  | 'access-denied'
  | 'download-failed'
  | 'not-enough-space'
  | 'publish-refused'
  | 'publish-failed'
  | 'conversion-failed'
  | 'environment-failed'
  | 'engine-unavailable'
  | 'engine-launch-failed'
  | 'engine-died'
  | 'engine-timeout'
  | 'engine-protocol'
  | 'engine-request-failed'
  | 'port-taken'
  | 'record-invalid'
  | 'record-write-failed'
  | 'canary-failed'
  | 'interrupted'
  | 'nothing-to-compare';

export interface AppErrorOptions {
  /** What the user can do next: one sentence, with the command where there is one. */
  readonly hint?: string;
  /** Values that explain the failure; printed with --verbose and stored in the record. */
  readonly context?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** An operating error: `message` says what failed with the values, `hint` what to do next. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly context: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.hint = options.hint;
    this.context = options.context ?? {};
  }
}

/** The message of anything that was thrown, without its stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
