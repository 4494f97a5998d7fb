/** From events to accepted cells: what counts, in which order. */
import type { EngineFacts, Manifest, Memory, RunEvent, Sample } from '../record.ts';
import type { Rejection } from '../validity/noise.ts';

/** One process of one engine in the accepted attempt of a block. */
export interface CellData {
  readonly engine: string;
  readonly block: number;
  readonly loadMs: number | null;
  readonly memory: Memory;
  /** Warm-ups included. */
  readonly samples: readonly Sample[];
}

export interface Collected {
  /** Blocks with an accepted attempt, in order of their last acceptance. */
  readonly acceptedBlocks: readonly number[];
  readonly cells: readonly CellData[];
  readonly cellAt: (engine: string, block: number) => CellData | undefined;
  /** Cells of accepted attempts that failed: their block goes on without the engine. */
  readonly failedCells: readonly { readonly engine: string; readonly block: number; readonly error: string | null }[];
  readonly rejected: readonly Rejection[];
}

/** A cell counts when it completed inside the last accepted attempt of its block; everything else is kept and ignored. */
export function collect(events: readonly RunEvent[]): Collected {
  const accepted = new Map<number, number>();
  const rejected: Rejection[] = [];
  for (const event of events) {
    if (event.type !== 'block-end') continue;
    if (event.state === 'rejected') {
      rejected.push({ reasons: event.reasons, busiest: (event.busiest ?? []).map(({ name }) => name) });
    } else {
      accepted.delete(event.block);
      accepted.set(event.block, event.attempt);
    }
  }
  const inAccepted = (place: { readonly block: number; readonly attempt: number }): boolean =>
    accepted.get(place.block) === place.attempt;
  const ends = events.filter((event) => event.type === 'cell-end').filter(inAccepted);
  const cells = collectCells(
    events,
    ends.filter((end) => end.state === 'complete'),
  );
  const byPlace = new Map(cells.map((cell) => [`${cell.block}/${cell.engine}`, cell]));
  return {
    acceptedBlocks: [...accepted.keys()],
    cells,
    cellAt: (engine, block) => byPlace.get(`${block}/${engine}`),
    failedCells: ends
      .filter((end) => end.state === 'failed')
      .map(({ engine, block, error }) => ({ engine, block, error })),
    rejected,
  };
}

type CellEnd = Extract<RunEvent, { type: 'cell-end' }>;

function collectCells(events: readonly RunEvent[], ends: readonly CellEnd[]): CellData[] {
  const key = (place: { readonly engine: string; readonly block: number; readonly attempt: number }): string =>
    `${place.block}/${place.attempt}/${place.engine}`;
  const loads = new Map(
    events.flatMap((event) => (event.type === 'load' ? [[key(event), event.loadMs] as const] : [])),
  );
  const samples = Map.groupBy(
    events.filter((event) => event.type === 'sample'),
    key,
  );
  return ends.map((end) => ({
    engine: end.engine,
    block: end.block,
    loadMs: loads.get(key(end)) ?? null,
    memory: end.memory,
    samples: samples.get(key(end)) ?? [],
  }));
}

/** Engines with what they reported after loading, in the manifest's order. */
export function latestFacts(manifest: Manifest, events: readonly RunEvent[]): EngineFacts[] {
  const reported = new Map(
    events.flatMap((event) => (event.type === 'engine-facts' ? [[event.facts.id, event.facts] as const] : [])),
  );
  return manifest.engines.map((engine) => reported.get(engine.id) ?? engine);
}
