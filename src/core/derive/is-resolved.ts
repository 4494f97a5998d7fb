/** May a run stop at a planned look? */
import type { Manifest, RunEvent } from '../record.ts';
import { isResolved as isHeadlineResolved } from '../verdict/compare-family.ts';
import { deriveRecord } from './derive-record.ts';

/**
 * Every ranked pair of the headline has its answer at the last planned look that the events passed. A ladder goes on to
 * its last block: it asks how much, not who is faster, and an interval never has its answer.
 */
export function isResolved(manifest: Manifest, events: readonly RunEvent[]): boolean {
  if (manifest.plan.ladder) return false;
  return isHeadlineResolved(deriveRecord(manifest, events, { live: true }).comparisons);
}
