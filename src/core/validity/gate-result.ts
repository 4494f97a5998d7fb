import type { GateName } from '../record.ts';

/** What a gate found; append it to the run as `{ type: 'gate', engine, ...result }`. */
export interface GateResult {
  readonly gate: GateName;
  readonly outcome: 'passed' | 'failed' | 'unknown';
  /** What was seen, with the values. */
  readonly detail: string;
  /** What to do about it; null when nothing is wrong. */
  readonly remedy: string | null;
}

/** A failed gate voids every comparison with its engine, except for these: they only label it ("as shipped"). */
export const LABELLING_GATES: ReadonlySet<GateName> = new Set<GateName>(['settings']);

export function passed(gate: GateResult['gate'], detail: string): GateResult {
  return { gate, outcome: 'passed', detail, remedy: null };
}

export function failed(gate: GateResult['gate'], detail: string, remedy: string): GateResult {
  return { gate, outcome: 'failed', detail, remedy };
}

export function unknown(gate: GateResult['gate'], detail: string): GateResult {
  return { gate, outcome: 'unknown', detail, remedy: null };
}
