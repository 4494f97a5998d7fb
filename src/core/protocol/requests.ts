/** What one process of an engine is asked, in order, and what that costs. */
import type { EngineSchedule, PilotCosts, PlannedRequest, PromptCell } from './plan-types.ts';

/** Name of the small warm-up requests in samples and nonces. */
export const WARMUP_PROMPT = 'warmup';
export const WARMUP_PROMPT_TOKENS = 32;
export const WARMUP_GENERATE_TOKENS = 8;
/** Longer prompts get no full-shape warm-up: their prefill is long enough to be warm after its first tenth. */
export const FULL_WARMUP_TOKENS_MAX = 512;
/** The first request after a start ran at a tenth, the second at half of the final speed. */
const WARMUP_REQUESTS_MIN = 2;

/** The requests of one process in one block, in order: warm-ups and K measured iterations of every prompt. */
export function cellRequests(schedule: Pick<EngineSchedule, 'pilot' | 'cells'>, block: number): PlannedRequest[] {
  const cells = schedule.cells.filter((cell) => block < cell.blocks);
  const fullWarmups = cells.filter(hasFullWarmup).length;
  const smallWarmups = Math.max(1, WARMUP_REQUESTS_MIN - fullWarmups);
  const small = Array.from({ length: smallWarmups }, (_, iteration): PlannedRequest => ({
    kind: 'warmup',
    prompt: WARMUP_PROMPT,
    iteration,
    promptTokens: WARMUP_PROMPT_TOKENS,
    generateTokens: WARMUP_GENERATE_TOKENS,
    estimateMs: requestMs(schedule.pilot, WARMUP_PROMPT_TOKENS, WARMUP_GENERATE_TOKENS),
  }));
  return [...small, ...cells.flatMap((cell) => promptRequests(schedule.pilot, cell))];
}

function promptRequests(pilot: PilotCosts, cell: PromptCell): PlannedRequest[] {
  const { prompt, promptTokens, generateTokens } = cell;
  const estimateMs = requestMs(pilot, promptTokens, generateTokens);
  const request = (kind: 'warmup' | 'measured', iteration: number): PlannedRequest => ({
    kind,
    prompt,
    iteration,
    promptTokens,
    generateTokens,
    estimateMs,
  });
  const measured = Array.from({ length: cell.iterations }, (_, iteration) => request('measured', iteration));
  return hasFullWarmup(cell) ? [request('warmup', 0), ...measured] : measured;
}

function hasFullWarmup(cell: Pick<PromptCell, 'promptTokens'>): boolean {
  return cell.promptTokens <= FULL_WARMUP_TOKENS_MAX;
}

export function requestMs(pilot: PilotCosts, promptTokens: number, generateTokens: number): number {
  return pilot.prefillMsPerToken * promptTokens + pilot.decodeMsPerToken * generateTokens;
}

/** A prompt's requests in one process, full-shape warm-up included. */
export function promptCellMs(
  pilot: PilotCosts,
  cell: Pick<PromptCell, 'promptTokens' | 'generateTokens' | 'iterations'>,
): number {
  const requests = cell.iterations + (hasFullWarmup(cell) ? 1 : 0);
  return requests * requestMs(pilot, cell.promptTokens, cell.generateTokens);
}

/** Start, warm-ups and requests of one process; 0 where the engine has nothing to do in that block. */
export function processMs(schedule: Pick<EngineSchedule, 'pilot' | 'cells'>, block: number): number {
  if (!schedule.cells.some((cell) => block < cell.blocks)) return 0;
  return cellRequests(schedule, block).reduce((sum, { estimateMs }) => sum + estimateMs, schedule.pilot.startMs);
}
