/** May a run stop at a planned look? */
import type { Manifest, RunEvent } from '../record.ts';
import { isResolved as isHeadlineResolved } from '../verdict/compare-family.ts';
import { deriveRecord } from './derive-record.ts';

/** Every ranked pair of the headline has its answer at the last planned look that the events passed. */
export function isResolved(manifest: Manifest, events: readonly RunEvent[]): boolean {
  return isHeadlineResolved(deriveRecord(manifest, events, { live: true }).comparisons);
}
