/** The protocol as a pure step function: what happened so far and the time give the next action. */
import { assert } from '../assert.ts';
import { BLOCKS_FIRM, BLOCKS_MIN } from '../verdict/compare-family.ts';
import { blockOrder } from './block-order.ts';
import type { Action, EngineSchedule, RunState, StopReason } from './plan-types.ts';
import { activeSchedules, predictBlockMs, predictCellMs } from './predict.ts';
import { acceptedBlocks, nextBlock } from './progress.ts';
import type { NextBlock } from './progress.ts';
import { cellRequests } from './requests.ts';

/** An engine that fails this often in a row is not tried again: each try may cost a whole timeout. */
const FAILURES_IN_A_ROW_MAX = 2;
/** While no verdict is possible yet, an engine this many times dearer than the others together gives way to them. */
const DROP_FACTOR = 2;

/**
 * The next step, or the reason to stop. The deadline is hard: nothing starts that is predicted to end after it, and
 * inside a cell the caller checks `fitsBeforeDeadline` before each request, so that at most the running request is late.
 * Where a mirrored pair no longer fits the run stops after the last complete pair; a single block is added only
 * while there are fewer than six.
 */
export function nextAction(state: RunState, nowMs: number): Action {
  const { progress, plan } = state;
  if (plan.blocks === 0) return stop('nothing-left', plan.notes.at(-1) ?? 'no engine is planned');
  const accepted = acceptedBlocks(progress.blocks).length;
  if (progress.looks.at(-1)?.resolved === true)
    return stop('resolved', `every pair is resolved at the planned look after ${accepted} blocks`);
  const failing = findFailing(state);
  if (failing !== null)
    return { type: 'drop-engine', engine: failing, reason: `failed ${FAILURES_IN_A_ROW_MAX} times in a row` };
  const open = findOpenBlock(state);
  if (open !== null) return continueBlock(state, open, nowMs);
  const rejected = progress.blocks.filter((block) => block.state === 'rejected').length;
  if (rejected > plan.blocks / 2)
    return stop('noisy', `${rejected} blocks were rejected, reruns are capped at half of ${plan.blocks}`);
  const next = nextBlock(progress.blocks, plan.blocks);
  if (next === null) return stop('complete', `${accepted} of ${plan.blocks} blocks`);
  const look = plan.looks.find(
    (blocks) => blocks <= accepted && blocks < plan.blocks && !progress.looks.some((taken) => taken.blocks === blocks),
  );
  if (look !== undefined && startsPair(next)) return { type: 'look', blocks: look };
  if (activeSchedules(state, next.block).length === 0)
    return stop('nothing-left', `no engine is left for block ${next.block}`);
  return startBlock(state, next, nowMs, accepted);
}

/** Before each request of a cell: a request that cannot end in time is not sent. */
export function fitsBeforeDeadline(input: {
  readonly nowMs: number;
  readonly predictedMs: number;
  readonly deadlineMs: number;
}): boolean {
  return input.nowMs + input.predictedMs <= input.deadlineMs;
}

function stop(reason: StopReason, detail: string): Action {
  return { type: 'stop', reason, detail };
}

function startsPair({ block }: NextBlock): boolean {
  return block % 2 === 0;
}

function findFailing({ plan, progress }: RunState): string | null {
  const failing = plan.engines.find(({ engine }) => {
    const last = progress.cells.filter((cell) => cell.engine === engine).slice(-FAILURES_IN_A_ROW_MAX);
    return (
      !progress.dropped.includes(engine) &&
      last.length === FAILURES_IN_A_ROW_MAX &&
      last.every((cell) => cell.state === 'failed')
    );
  });
  return failing?.engine ?? null;
}

interface OpenBlock {
  readonly block: number;
  readonly attempt: number;
}

function findOpenBlock({ progress }: RunState): OpenBlock | null {
  const last = progress.cells.findLast(
    (cell) => !progress.blocks.some(({ block, attempt }) => block === cell.block && attempt === cell.attempt),
  );
  return last === undefined ? null : { block: last.block, attempt: last.attempt };
}

function continueBlock(state: RunState, open: OpenBlock, nowMs: number): Action {
  const done = state.progress.cells.filter(({ block, attempt }) => block === open.block && attempt === open.attempt);
  if (done.some((cell) => cell.state === 'cut')) return stop('budget', `the time ended inside block ${open.block}`);
  const left = orderedSchedules(state, open.block).filter(({ engine }) => !done.some((cell) => cell.engine === engine));
  const [next] = left;
  if (next === undefined) return { type: 'close-block', ...open };
  const restMs = left.reduce((sum, schedule) => sum + predictCellMs(state, schedule, open.block), 0);
  if (!fitsBeforeDeadline({ nowMs, predictedMs: restMs, deadlineMs: state.deadlineMs })) {
    return stop('budget', `the rest of block ${open.block} needs ${describeTime(state, restMs, nowMs)}`);
  }
  return cell(state, next, open);
}

function orderedSchedules(state: RunState, block: number): EngineSchedule[] {
  const active = activeSchedules(state, block);
  // Without a retired engine the order is drawn anew: a row of the old design with a hole is not balanced.
  const engines = state.plan.engines.map(({ engine }) => engine);
  const order = blockOrder(
    engines.filter((engine) => !state.progress.retired.includes(engine)),
    block,
    state.seed,
  );
  return order.flatMap((id) => active.filter(({ engine }) => engine === id));
}

function cell(state: RunState, schedule: EngineSchedule, { block, attempt }: OpenBlock): Action {
  const requests = cellRequests(schedule, block);
  const predictedMs = predictCellMs(state, schedule, block);
  return {
    type: 'cell',
    engine: schedule.engine,
    block,
    attempt,
    requests,
    startEstimateMs: schedule.pilot.startMs,
    predictedMs,
  };
}

function startBlock(state: RunState, next: NextBlock, nowMs: number, accepted: number): Action {
  const blockMs = predictBlockMs(state, next.block);
  const pairMs = blockMs + (next.partner === null ? 0 : predictBlockMs(state, next.partner));
  const fits = (predictedMs: number): boolean =>
    fitsBeforeDeadline({ nowMs, predictedMs, deadlineMs: state.deadlineMs });
  if (fits(pairMs) || (accepted < BLOCKS_FIRM && fits(blockMs))) {
    const [first] = orderedSchedules(state, next.block);
    assert(first !== undefined, 'a block that starts has an engine');
    return cell(state, first, next);
  }
  const tooSlow = accepted < BLOCKS_MIN ? findTooSlow(state, next.block) : null;
  if (tooSlow !== null) {
    return {
      type: 'drop-engine',
      engine: tooSlow,
      reason: `too slow for the time: its block needs ${describeTime(state, predictEngineMs(state, tooSlow, next.block), nowMs)}`,
    };
  }
  return stop(
    'budget',
    `the next block needs ${describeTime(state, blockMs, nowMs)}; ${accepted} of ${state.plan.blocks} blocks are done`,
  );
}

/** By predicted cost alone, before any verdict is possible: it cannot favour anybody. */
function findTooSlow(state: RunState, block: number): string | null {
  const costs = activeSchedules(state, block).map((schedule) => ({
    engine: schedule.engine,
    ms: predictCellMs(state, schedule, block),
  }));
  const total = costs.reduce((sum, { ms }) => sum + ms, 0);
  const slowest = costs.toSorted((left, right) => right.ms - left.ms)[0];
  if (slowest === undefined || costs.length < 2) return null;
  return slowest.ms >= DROP_FACTOR * (total - slowest.ms) ? slowest.engine : null;
}

function predictEngineMs(state: RunState, engine: string, block: number): number {
  const schedule = state.plan.engines.find((candidate) => candidate.engine === engine);
  return schedule === undefined ? 0 : predictCellMs(state, schedule, block);
}

function describeTime(state: RunState, predictedMs: number, nowMs: number): string {
  return `about ${Math.ceil(predictedMs / 1_000)} s and ${Math.max(0, Math.floor((state.deadlineMs - nowMs) / 1_000))} s are left`;
}
