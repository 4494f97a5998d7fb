/** Where the time of a request goes inside the engine, by the calls that the request itself made. */
import { AppError } from '../../src/core/errors.ts';

/** `[kind, start, end]`, ns of the engine's monotonic clock; kinds as in decode-clock.c. */
export type Call = readonly [kind: number, startNs: number, endNs: number];

const DECODE = 0;
const SAMPLE = 1;
const RECORD_BYTES = 24;

/** Ms of a token, from the first token to the last. */
export interface Inside {
  /** In the calls that compute the model. */
  readonly engineMs: number;
  /** Choosing tokens. */
  readonly samplingMs: number;
  /** Between these calls: the engine's own loop. */
  readonly loopMs: number;
}

/** What decode-clock.c wrote. */
export function readCalls(bytes: Buffer): Call[] {
  return Array.from({ length: Math.floor(bytes.length / RECORD_BYTES) }, (_, index): Call => {
    const at = (field: number): number => Number(bytes.readBigUInt64LE(index * RECORD_BYTES + field * 8));
    return [at(0), at(1), at(2)];
  });
}

/**
 * Of the calls of one request, the prompt's first. The first choice of a token ends the prefill.
 * @throws AppError `engine-protocol` where another number of tokens was chosen
 */
export function splitCalls(calls: readonly Call[], tokens: number): Inside {
  const first = calls.findIndex(([kind]) => kind === SAMPLE);
  const chosen = calls.filter(([kind]) => kind === SAMPLE).length;
  if (chosen !== tokens)
    throw new AppError('engine-protocol', `${chosen} tokens were chosen inside the engine, and ${tokens} answered`);
  const decoding = calls.slice(first + 1);
  const perToken = (ns: readonly number[]): number => ns.reduce((sum, value) => sum + value, 0) / 1e6 / (tokens - 1);
  const spent = (wanted: number): number =>
    perToken(decoding.filter(([kind]) => kind === wanted).map(([, startNs, endNs]) => endNs - startNs));
  const between = decoding.map(([, startNs], index) => startNs - (calls[first + index]?.[2] ?? startNs));
  return { engineMs: spent(DECODE), samplingMs: spent(SAMPLE), loopMs: perToken(between) };
}
