import type { RunRecord } from '../core/record.ts';

/** The record itself, as it is stored: nothing added, nothing cleaned, keys in the order of the schema. */
export function renderJson(record: RunRecord): string {
  return `${JSON.stringify(record, null, 2)}\n`;
}
