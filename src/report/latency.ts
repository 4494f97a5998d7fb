/** The two views of a request side by side: what the client saw, and what the engine says about itself. */
import { median } from 'simple-statistics';
import type { RunRecord, Sample } from '../core/record.ts';
import { digits } from './numbers.ts';

export interface LatencyRow {
  readonly engine: string;
  readonly prompt: string;
  readonly requestCount: number;
  /** Cells in the order of `LATENCY_HEAD`, `–` where the engine does not tell. */
  readonly cells: readonly string[];
}

export const LATENCY_CAPTION =
  "Latency in ms: the client's clock beside the engine's own (medians over all measured requests)";
export const LATENCY_HEAD = [
  'First token, client',
  'Prefill, engine',
  'Per token, client',
  'Per token, engine',
  'p50',
  'p90',
  'p99',
] as const;

const fields: readonly ((sample: Sample) => number | null)[] = [
  ({ ttftMs }) => ttftMs,
  ({ enginePrefillMs }) => enginePrefillMs,
  ({ tpotMs }) => tpotMs,
  ({ engineDecodeMs, engineDecodeIntervalCount }) =>
    engineDecodeMs === null || engineDecodeIntervalCount === null || engineDecodeIntervalCount === 0
      ? null
      : engineDecodeMs / engineDecodeIntervalCount,
  ({ tpotP50Ms }) => tpotP50Ms,
  ({ tpotP90Ms }) => tpotP90Ms,
  ({ tpotP99Ms }) => tpotP99Ms,
];

/** One row per engine and prompt, over the measured requests of accepted blocks. */
export function latencyRows(
  record: RunRecord,
  samples: readonly Sample[],
  accepted: ReadonlySet<string> | undefined,
): LatencyRow[] {
  const measured = samples.filter(
    ({ kind, block, attempt }) =>
      kind === 'measured' && (accepted === undefined || accepted.has(`${block}/${attempt}`)),
  );
  return record.engines.flatMap(({ id }) =>
    record.manifest.plan.prompts.flatMap(({ name }) => {
      const own = measured.filter(({ engine, prompt }) => engine === id && prompt === name);
      if (own.length === 0) return [];
      return [
        { engine: id, prompt: name, requestCount: own.length, cells: fields.map((field) => middle(own.map(field))) },
      ];
    }),
  );
}

function middle(values: readonly (number | null)[]): string {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? '–' : digits(median(known));
}
