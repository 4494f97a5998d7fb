/** What is missing, and what a reader has to know about what is there. */
import type { EngineFacts, Manifest, RunEvent, RunRecord } from '../record.ts';
import type { Collected } from './collect.ts';
import { median } from '../stats/describe.ts';
import { count, measuredSamples, promptValues } from './values.ts';
import type { Work } from './work.ts';

/** A slowest request that takes so much more than those that count is felt. */
const EXCESS_MIN = 0.1;
/** Beyond what every engine sees on this machine: then it is the engine's own. */
const EXCESS_FACTOR = 3;
/** In fewer blocks a typical one is not told from a bad moment. */
const EXCESS_BLOCKS_MIN = 3;

/** A first token that comes with others makes intervals between chunks, not tokens. */
const EVENTS_PER_TOKEN_TOLERANCE = 0.02;

type NotMeasured = RunRecord['notMeasured'][number];
type Warning = RunRecord['warnings'][number];

/** Recorded reasons, and every available engine's cell that an ended run has no block of. Missing is never a loss. */
export function listNotMeasured(input: {
  readonly manifest: Manifest;
  readonly events: readonly RunEvent[];
  readonly facts: readonly EngineFacts[];
  readonly collected: Collected;
  readonly ended: boolean;
}): NotMeasured[] {
  const { manifest, events, facts, collected, ended } = input;
  const recorded = new Map(
    events.flatMap((event) => {
      if (event.type !== 'not-measured') return [];
      const { engine, prompt, reason, estimateMs } = event;
      return [[`${engine}/${prompt}`, { engine, prompt, reason, estimateMs }] as const];
    }),
  );
  const has = (engine: string, prompt: string): boolean =>
    count(promptValues(collected, engine, prompt, 'request')) > 0;
  const silent = facts
    .filter(({ state }) => ended && state === 'available')
    .flatMap(({ id }) => manifest.plan.prompts.map(({ name }) => ({ engine: id, prompt: name })))
    .filter(({ engine, prompt }) => !recorded.has(`${engine}/${prompt}`) && !has(engine, prompt))
    .map((cell): NotMeasured => ({ ...cell, reason: whyMissing(events, cell.engine), estimateMs: null }));
  return [...[...recorded.values()].filter(({ engine, prompt }) => !has(engine, prompt)), ...silent];
}

function whyMissing(events: readonly RunEvent[], engine: string): string {
  const warning = events.findLast((event) => event.type === 'warning' && event.engine === engine);
  if (warning?.type === 'warning') return warning.message;
  const end = events.findLast((event) => event.type === 'end');
  return end?.type === 'end'
    ? `no block with it was accepted; the run ended: ${end.reason}`.slice(0, 1_900)
    : 'no block with it was accepted';
}

/** Warnings of the run, and those that only the whole of the samples shows. */
export function listWarnings(input: {
  readonly events: readonly RunEvent[];
  readonly collected: Collected;
  readonly work: Work;
}): Warning[] {
  const { events, collected, work } = input;
  const recorded = events.flatMap((event) => {
    if (event.type !== 'warning') return [];
    const { code, engine, message, hint } = event;
    return [{ code, engine, message, hint }];
  });
  return [
    ...recorded,
    ...missingBlocks(collected),
    ...chunkLevel(collected),
    ...unevenRequests(collected),
    ...work.reductions.map((message) => ({
      code: 'shortened-work',
      engine: null,
      message,
      hint: 'Give more time (--budget) to measure what was asked.',
    })),
  ];
}

function missingBlocks(collected: Collected): Warning[] {
  const byEngine = Map.groupBy(collected.failedCells, ({ engine }) => engine);
  return [...byEngine].map(([engine, cells]) => ({
    code: 'engine-missing-in-blocks',
    engine,
    message:
      `${engine} failed in ${cells.length} of ${collected.acceptedBlocks.length} accepted blocks; its pairs skip them. Last error: ${cells.at(-1)?.error ?? 'unknown'}`.slice(
        0,
        1_900,
      ),
    hint: null,
  }));
}

function chunkLevel(collected: Collected): Warning[] {
  const engines = [...new Set(collected.cells.map(({ engine }) => engine))];
  return engines.flatMap((engine) => {
    const samples = collected.cells
      .filter((cell) => cell.engine === engine)
      .flatMap((cell) =>
        [...new Set(cell.samples.map(({ prompt }) => prompt))].flatMap((prompt) => measuredSamples(cell, prompt)),
      );
    const off = samples.filter(({ eventsPerToken }) => Math.abs(eventsPerToken - 1) > EVENTS_PER_TOKEN_TOLERANCE);
    if (off.length === 0) return [];
    const message = `${engine} sent several tokens at once in ${off.length} of ${samples.length} requests: its intervals between tokens are chunk-level`;
    return [{ code: 'chunk-level', engine, message, hint: null }];
  });
}

/**
 * Values leave the slowest requests out, which on a shared machine are the machine's. Where one engine alone has slow
 * requests, block after block, they are its own, and its users wait for them.
 */
function unevenRequests(collected: Collected): Warning[] {
  const engines = [...new Set(collected.cells.map(({ engine }) => engine))];
  const prompts = [...new Set(collected.cells.flatMap(({ samples }) => samples.map(({ prompt }) => prompt)))];
  return prompts.flatMap((prompt) => {
    const excesses = engines.flatMap((engine) => {
      const excess = typicalExcess(collected, engine, prompt);
      return excess === null ? [] : [{ engine, excess }];
    });
    const [steadiest] = excesses.toSorted((left, right) => left.excess - right.excess);
    if (steadiest === undefined) return [];
    return excesses
      .filter(({ excess }) => excess >= EXCESS_MIN && excess >= EXCESS_FACTOR * steadiest.excess)
      .map(({ engine, excess }) => ({
        code: 'uneven-requests',
        engine,
        message: `${engine}: in a typical block the slowest request of “${prompt}” takes ${percent(excess)} more than those that count (${steadiest.engine}: ${percent(steadiest.excess)}); its speed above is that of its better requests`,
        hint: 'Look at its p99 in the latencies if users wait for the slow ones.',
      }));
  });
}

/** Of a process' slowest request over its value, less 1, in a typical block; null where too few blocks have it. */
function typicalExcess(collected: Collected, engine: string, prompt: string): number | null {
  const values = promptValues(collected, engine, prompt, 'request');
  const excesses = collected.acceptedBlocks.flatMap((block, index) => {
    const cell = collected.cellAt(engine, block);
    const value = values[index] ?? null;
    if (cell === undefined || value === null) return [];
    const times = measuredSamples(cell, prompt).map(({ totalMs }) => totalMs);
    return times.length < 2 ? [] : [Math.max(...times) / value - 1];
  });
  return excesses.length < EXCESS_BLOCKS_MIN ? null : median(excesses);
}

function percent(share: number): string {
  return `${Math.round(100 * share)}%`;
}
