/** What the next cells will cost, from the pilot and from the cells that ran. */
import type { EngineSchedule, RunState } from './plan-types.ts';
import { acceptedBlocks } from './progress.ts';
import { processMs } from './requests.ts';

/** A slowdown shows in the prediction after one cell and fills it after four. */
const RECENT_CELLS = 4;

/** Estimate of this cell's work times the running mean of (measured / estimated) over the engine's recent cells. */
export function predictCellMs(state: RunState, schedule: EngineSchedule, block: number): number {
  const recent = state.progress.cells
    .filter((cell) => cell.engine === schedule.engine && cell.state === 'complete')
    .slice(-RECENT_CELLS);
  const ratios = recent.flatMap((cell) => {
    const estimateMs = processMs(schedule, cell.block);
    return estimateMs > 0 ? [cell.durationMs / estimateMs] : [];
  });
  const factor = ratios.length === 0 ? 1 : ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
  return processMs(schedule, block) * factor;
}

/** Engines with work in this block that were neither dropped nor retired. */
export function activeSchedules(state: RunState, block: number): EngineSchedule[] {
  const { plan, progress } = state;
  const isGone = (engine: string): boolean => progress.dropped.includes(engine) || progress.retired.includes(engine);
  return plan.engines.filter(({ engine, blocks }) => block < blocks && !isGone(engine));
}

export function predictBlockMs(state: RunState, block: number): number {
  return activeSchedules(state, block).reduce((sum, schedule) => sum + predictCellMs(state, schedule, block), 0);
}

/** What every engine that is measured on still costs until the planned end, ms. */
export function predictRestMs(state: RunState): Map<string, number> {
  const accepted = new Set(acceptedBlocks(state.progress.blocks));
  const rest = new Map<string, number>();
  for (let block = 0; block < state.plan.blocks; block += 1) {
    if (accepted.has(block)) continue;
    for (const schedule of activeSchedules(state, block))
      rest.set(schedule.engine, (rest.get(schedule.engine) ?? 0) + predictCellMs(state, schedule, block));
  }
  return rest;
}
