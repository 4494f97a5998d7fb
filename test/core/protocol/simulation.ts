/** A simulated machine: carries out the protocol on a simulated clock, request by request, as the application does. */
import { fitsBeforeDeadline, nextAction } from '../../../src/core/protocol/next-action.ts';
import type { Action, PlanInput, Progress, RunPlan, StopReason } from '../../../src/core/protocol/plan-types.ts';
import { planRun } from '../../../src/core/protocol/plan-run.ts';
import { acceptedBlocks } from '../../../src/core/protocol/progress.ts';

export interface World {
  /** Multiplies the cost of whatever this engine does at this time. */
  readonly slowdown: (engine: string, nowMs: number) => number;
  /** Is the block that just ended disturbed? */
  readonly noisy: (block: number, attempt: number, nowMs: number) => boolean;
  readonly fails?: (engine: string, block: number) => boolean;
  readonly resolvedAt?: number;
  /** Whom the look after this many blocks retires. */
  readonly retiredAt?: Readonly<Record<number, readonly string[]>>;
}

export interface Simulated {
  readonly plan: RunPlan;
  readonly log: readonly string[];
  readonly stop: { readonly reason: StopReason; readonly detail: string };
  readonly endMs: number;
  readonly deadlineMs: number;
  /** The longest request that ran, ms. */
  readonly longestMs: number;
  readonly accepted: number;
  readonly progress: Progress;
}

/** More steps than any plan needs: 100 blocks, reruns, 20 engines. */
const STEPS_MAX = 10_000;

export function simulate(input: PlanInput, world: World, seed = 1): Simulated {
  const plan = planRun(input);
  const deadlineMs = input.remainingMs;
  let [nowMs, longestMs] = [0, 0];
  let progress: Progress = { cells: [], blocks: [], looks: [], dropped: [], retired: [] };
  const log: string[] = [];

  const spend = (engine: string, estimateMs: number): void => {
    const costMs = estimateMs * world.slowdown(engine, nowMs);
    nowMs += costMs;
    longestMs = Math.max(longestMs, costMs);
  };
  const runCell = (action: Extract<Action, { type: 'cell' }>): Progress['cells'][number] => {
    const { engine, block, attempt } = action;
    const startedMs = nowMs;
    const done = (state: 'complete' | 'failed' | 'cut') => ({
      engine,
      block,
      attempt,
      state,
      durationMs: nowMs - startedMs,
    });
    spend(engine, action.startEstimateMs);
    if (world.fails?.(engine, block) === true) return done('failed');
    for (const { estimateMs } of action.requests) {
      if (!fitsBeforeDeadline({ nowMs, predictedMs: 0, deadlineMs })) return done('cut');
      spend(engine, estimateMs);
    }
    return nowMs > deadlineMs ? done('cut') : done('complete');
  };

  for (let step = 0; step < STEPS_MAX; step += 1) {
    const action = nextAction({ plan, seed, deadlineMs, progress }, nowMs);
    switch (action.type) {
      case 'stop':
        return {
          plan,
          log,
          stop: action,
          endMs: nowMs,
          deadlineMs,
          longestMs,
          accepted: acceptedBlocks(progress.blocks).length,
          progress,
        };
      case 'cell':
        progress = { ...progress, cells: [...progress.cells, runCell(action)] };
        log.push(`${action.block}.${action.attempt} ${action.engine}`);
        break;
      case 'close-block': {
        const { block, attempt } = action;
        const state = world.noisy(block, attempt, nowMs) ? ('rejected' as const) : ('accepted' as const);
        progress = { ...progress, blocks: [...progress.blocks, { block, attempt, state, reasons: [] }] };
        log.push(`${block}.${attempt} ${state}`);
        break;
      }
      case 'look':
        progress = {
          ...progress,
          looks: [...progress.looks, { blocks: action.blocks, resolved: action.blocks === world.resolvedAt }],
          retired: [...progress.retired, ...(world.retiredAt?.[action.blocks] ?? [])],
        };
        log.push(`look ${action.blocks}`);
        break;
      case 'drop-engine':
        progress = { ...progress, dropped: [...progress.dropped, action.engine] };
        log.push(`drop ${action.engine}`);
        break;
    }
  }
  throw new TypeError('the protocol does not end');
}
