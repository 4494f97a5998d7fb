/** A plan while it is being made to fit: plain data, replaced and never changed. */
import type { EngineSchedule, PlanInput, PlannedEngine, PromptCell } from './plan-types.ts';
import { processMs, promptCellMs } from './requests.ts';

export interface Draft {
  readonly input: PlanInput;
  /** Ranked engines with the cells that they keep; `blocks` of a cell is its cap. */
  readonly ranked: readonly DraftEngine[];
  readonly references: readonly DraftEngine[];
}

export interface DraftEngine {
  readonly engine: PlannedEngine;
  readonly cells: readonly PromptCell[];
}

/** 10% of the time is left for what the pilot did not see: longer prompts cost more per token, machines warm up. */
const PLANNED_SHARE = 0.9;

export function capacityMs(input: PlanInput): number {
  return Math.max(0, input.remainingMs) * PLANNED_SHARE;
}

export function makeCell(
  engine: PlannedEngine,
  input: PlanInput,
  prompt: PlanInput['prompts'][number],
  iterations: number,
  blocks: number,
): PromptCell {
  const cell = {
    prompt: prompt.name,
    promptTokens: prompt.tokenCount,
    generateTokens: input.generateTokens,
    iterations,
    blocks,
    shortened: null,
  };
  return { ...cell, estimateMs: promptCellMs(engine.pilot, cell) };
}

/** Applies a change to every cell of the ranked engines; null removes the cell. Estimates follow. */
export function mapCells(draft: Draft, change: (cell: PromptCell, engine: DraftEngine) => PromptCell | null): Draft {
  const ranked = draft.ranked.map((engine) => ({
    ...engine,
    cells: engine.cells.flatMap((cell) => {
      const changed = change(cell, engine);
      return changed === null ? [] : [{ ...changed, estimateMs: promptCellMs(engine.engine.pilot, changed) }];
    }),
  }));
  return { ...draft, ranked: ranked.filter(({ cells }) => cells.length > 0) };
}

/** The engine's process in one block of an N-block run, ms. */
export function engineBlockMs(engine: DraftEngine, block: number): number {
  return processMs({ pilot: engine.engine.pilot, cells: engine.cells }, block);
}

export function engineTotalMs(engine: DraftEngine, blocks: number): number {
  return sumBlocks(blocks, (block) => engineBlockMs(engine, block));
}

export function draftTotalMs(draft: Draft, blocks: number): number {
  return [...draft.ranked, ...draft.references].reduce((sum, engine) => sum + engineTotalMs(engine, blocks), 0);
}

function sumBlocks(blocks: number, costMs: (block: number) => number): number {
  return Array.from({ length: blocks }, (_, block) => costMs(block)).reduce((sum, ms) => sum + ms, 0);
}

/**
 * Most blocks that fit: even from 6 on, because blocks are mirrored in pairs; below that 5 only when asked for, 4 or 3.
 * 0 where not even three fit.
 */
export function fittingBlocks(draft: Draft): number {
  const { maxBlocks } = draft.input;
  const even = Array.from({ length: Math.floor(maxBlocks / 2) }, (_, index) => 2 * (index + 1)).reverse();
  const candidates = [
    ...(maxBlocks < 6 ? [maxBlocks] : []),
    ...even.filter((blocks) => blocks >= 4),
    ...(maxBlocks >= 3 ? [3] : []),
  ];
  return candidates.find((blocks) => draftTotalMs(draft, blocks) <= capacityMs(draft.input)) ?? 0;
}

/** As the run will see it. */
export function toSchedule({ engine, cells }: DraftEngine, runBlocks: number): EngineSchedule {
  const kept = cells.map((cell) => ({ ...cell, blocks: Math.min(cell.blocks, runBlocks) }));
  const blocks = Math.max(0, ...kept.map((cell) => cell.blocks));
  const schedule = { pilot: engine.pilot, cells: kept };
  return {
    engine: engine.id,
    referenceBackend: engine.referenceBackend,
    ...schedule,
    blocks,
    estimateMsPerBlock: processMs(schedule, 0),
    estimateMsTotal: sumBlocks(blocks, (block) => processMs(schedule, block)),
  };
}
