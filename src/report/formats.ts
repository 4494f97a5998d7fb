/** The only way into this folder. Formats are imported when asked for: the chart library takes 200 ms to load. */
import type { RunRecord, Sample } from '../core/record.ts';

export const reportFormats = ['terminal', 'markdown', 'csv', 'json', 'html'] as const;
export type ReportFormat = (typeof reportFormats)[number];

export interface ReportOptions {
  /** Terminal only. */
  readonly color: boolean;
  /** Columns of the terminal. */
  readonly width: number;
  /** `BLOCK/ATTEMPT` of every accepted block, for the csv's column `accepted` and the latencies. */
  readonly acceptedBlocks?: ReadonlySet<string>;
}

/** @param samples all of them, rejected blocks and warm-ups included. */
export async function renderReport(
  format: ReportFormat,
  record: RunRecord,
  samples: readonly Sample[],
  options: ReportOptions,
): Promise<string> {
  switch (format) {
    case 'terminal':
      return (await import('./terminal.ts')).renderTerminal(record, options);
    case 'markdown':
      return (await import('./markdown.ts')).renderMarkdown(record, samples, options);
    case 'csv':
      return (await import('./csv.ts')).renderCsv(record, samples, options);
    case 'json':
      return (await import('./json.ts')).renderJson(record);
    case 'html':
      return (await import('./html.ts')).renderHtml(record, samples, options);
  }
}
