/** Two arms of a run, judged as if the run had been of these two alone. */
import type { Comparison, Manifest, RunEvent } from '../record.ts';
import { MIX_PROMPT } from '../verdict/compare-family.ts';
import { deriveRecord } from './derive-record.ts';

/** @returns the comparison of their request times; null where there is none. */
export function comparePair(
  manifest: Manifest,
  events: readonly RunEvent[],
  pair: readonly [string, string],
): Comparison | null {
  const isOurs = (id: string): boolean => pair.includes(id);
  const { comparisons } = deriveRecord(
    { ...manifest, engines: manifest.engines.filter(({ id }) => isOurs(id)) },
    events.filter((event) =>
      event.type === 'engine-facts'
        ? isOurs(event.facts.id)
        : !('engine' in event) || event.engine === null || isOurs(event.engine),
    ),
  );
  return comparisons.find(({ metric, prompt }) => metric === 'request' && prompt === MIX_PROMPT) ?? null;
}
