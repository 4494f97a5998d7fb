/** What the network may cost. Tests pass smaller ones. */
export interface NetworkLimits {
  /** From a request to its answer's headers. */
  readonly headersMs: number;
  /** A body must bring `stallBytes` in each of these, or the connection is given up for a new one. */
  readonly stallMs: number;
  readonly stallBytes: number;
  /** Failures in a row without progress. */
  readonly failuresMax: number;
  /** Before the second try; doubled for each further one. */
  readonly backoffMs: number;
  /** A server that asks for a longer pause is told to the user instead. */
  readonly pauseMsMax: number;
  readonly connections: number;
  readonly partBytes: number;
}

export const NETWORK_LIMITS: NetworkLimits = {
  // A hub that wakes up a cold file takes some seconds.
  headersMs: 30_000,
  // 1 KiB/s: below any line on which a model could be fetched, above what a dying connection drips.
  stallMs: 30_000,
  stallBytes: 30 << 10,
  failuresMax: 5,
  backoffMs: 1_000,
  // The hub counts requests in windows of five minutes.
  pauseMsMax: 5 * 60_000,
  // One connection to a content network brings some 30 to 50 MB/s; eight fill a line of a gigabit.
  connections: 8,
  // Large enough that a request's delay (0.1 s) does not show, small enough that all connections have work until the end.
  partBytes: 32 << 20,
};

/** A page of a listing has some 200 kB, a model's description some 20. */
export const API_BYTES_MAX = 16 << 20;
/** Pages of 1,000 files each; also ends a listing whose pages name each other. */
export const API_CALLS_MAX = 200;
/** The hub advises at most 100,000 files per repository. */
export const REPO_FILES_MAX = 200_000;
export const REDIRECTS_MAX = 8;
