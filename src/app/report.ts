/** Reports of a finished or partial run. */
import { join } from 'node:path';
import { deriveRecord } from '../core/derive/derive-record.ts';
import type { RunEvent, RunRecord, Sample } from '../core/record.ts';
import { atomicWrite } from '../platform/files/atomic-write.ts';
import { cleanStrings } from '../report/clean.ts';
import { renderReport } from '../report/formats.ts';
import type { ReportFormat } from '../report/formats.ts';
import { renderComparison, renderGate, renderHistory } from '../report/history.ts';
import { readRun, writeRecord } from '../store/run-folder.ts';
import type { StoredComparison, StoredRun } from './history.ts';

/** File names in the run's folder, by format. */
const FILES = { markdown: 'report.md', csv: 'report.csv', html: 'report.html' } as const;
const WIDTH_COLUMNS = 100;

export function showHistory(runs: readonly StoredRun[]): string {
  return renderHistory(cleanStrings(runs));
}

export function showComparison(
  comparison: StoredComparison,
  { limit, width }: { readonly limit: number | null; readonly width: number },
): string {
  const { before, after, compared, judged } = cleanStrings(comparison);
  const text = renderComparison(before, after, compared, width);
  if (limit === null || judged.length === 0) return text;
  return `${text}\n${judged.map(({ engine, change, outcome }) => renderGate(engine, change, outcome, limit)).join('\n')}\n`;
}

export interface ReportOptions {
  readonly color: boolean;
  readonly width: number;
}

/** Derives the record again from what is on disk and renders it. */
export async function reportOn(folder: string, format: ReportFormat, options: ReportOptions): Promise<string> {
  const { manifest, events } = await readRun(folder);
  return render(deriveRecord(manifest, events), events, format, options);
}

/** Writes `record.json` and every file report. */
export async function writeReports(folder: string, record: RunRecord, events: readonly RunEvent[]): Promise<void> {
  await writeRecord(folder, record);
  for (const [format, file] of Object.entries(FILES)) {
    const text = await render(record, events, format as ReportFormat, { color: false, width: WIDTH_COLUMNS });
    await atomicWrite(join(folder, file), text);
  }
}

export function render(
  record: RunRecord,
  events: readonly RunEvent[],
  format: ReportFormat,
  options: ReportOptions,
): Promise<string> {
  const samples = events.filter((event): event is Sample => event.type === 'sample');
  const acceptedBlocks = new Set(
    events.flatMap((event) =>
      event.type === 'block-end' && event.state === 'accepted' ? [`${event.block}/${event.attempt}`] : [],
    ),
  );
  return renderReport(format, record, samples, { ...options, acceptedBlocks });
}
