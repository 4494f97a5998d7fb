/** Two arms of a run, judged as if the run had been of these two alone. */
import type { Comparison, Manifest, RunEvent } from '../record.ts';
import { judgeAttempt } from '../validity/judge-attempt.ts';
import { MIX_PROMPT } from '../verdict/compare-family.ts';
import { deriveRecord } from './derive-record.ts';
import type { DeriveOptions } from './derive-record.ts';

export interface ArmPair {
  readonly manifest: Manifest;
  readonly events: readonly RunEvent[];
}

/** @returns the comparison of their request times; null where there is none. */
export function comparePair(
  { manifest, events }: ArmPair,
  options: Pick<DeriveOptions, 'copies'> = {},
): Comparison | null {
  const { comparisons } = deriveRecord(manifest, events, options);
  return comparisons.find(({ metric, prompt }) => metric === 'request' && prompt === MIX_PROMPT) ?? null;
}

/**
 * The record that a run of these two alone would have left: what disturbed a block only where others of its processes
 * ran does not reject it for them.
 */
export function pairOf(manifest: Manifest, events: readonly RunEvent[], pair: readonly [string, string]): ArmPair {
  const isOurs = (id: string): boolean => pair.includes(id);
  const engines = manifest.engines.filter(({ id }) => isOurs(id));
  const ours = (event: RunEvent): boolean =>
    event.type === 'engine-facts'
      ? isOurs(event.facts.id)
      : !('engine' in event) || event.engine === null || isOurs(event.engine);
  return {
    manifest: { ...manifest, engines },
    events: events
      .map((event, index): RunEvent => {
        if (event.type !== 'block-end' || event.state !== 'rejected') return event;
        const { reasons } = judgeAttempt(until(events.slice(0, index), ours), engines, event);
        return reasons.length > 0 ? { ...event, reasons } : accepted(event);
      })
      .filter(ours),
  };
}

type BlockEnd = Extract<RunEvent, { type: 'block-end' }>;

function accepted({ type, block, attempt }: BlockEnd): BlockEnd {
  return { type, block, attempt, state: 'accepted', reasons: [] };
}

/** What these two saw: through the first reading of the canary after the last of their processes. */
function until(events: readonly RunEvent[], ours: (event: RunEvent) => boolean): RunEvent[] {
  const last = events.findLastIndex((event) => event.type === 'cell-end' && ours(event));
  const reading = events.findIndex(
    (event, index) => index > last && event.type === 'machine-check' && event.canary !== null,
  );
  return (reading < 0 ? events : events.slice(0, reading + 1)).filter(ours);
}
