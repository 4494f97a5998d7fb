/** One cell: a fresh process of one engine in one block, from the warm page cache to the stop. */
import { AssertionFailure } from '../core/assert.ts';
import { AppError, messageOf } from '../core/errors.ts';
import type { EngineSession, EngineSettings, Generation } from '../core/engine.ts';
import type { Memory, RunEvent, Sample } from '../core/record.ts';
import { toSample } from '../core/sample.ts';
import type { Machinery, PreparedEngine, RunningEngine } from './machinery.ts';

export interface CellRequest {
  readonly kind: 'warmup' | 'measured';
  readonly prompt: string;
  readonly iteration: number;
  readonly promptTokens: readonly number[];
  /** For engines that take text only. */
  readonly promptText?: string;
  readonly generateTokens: number;
  /** Predicted cost: a request that takes many times longer is hung. */
  readonly estimateMs: number;
}

export interface CellAsk {
  readonly prepared: PreparedEngine;
  readonly settings: EngineSettings;
  readonly block: number;
  readonly attempt: number;
  readonly requests: readonly CellRequest[];
  readonly bannedTokens: readonly number[];
  readonly startEstimateMs: number;
  /** On the machinery's clock: no request may end later than this. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  /** Milliseconds of measuring time, all sessions counted. */
  readonly elapsedMs: () => number;
  readonly append: (event: RunEvent) => Promise<void>;
  readonly onRequest: (request: CellRequest) => void;
  /** Checks every answer; what it returns is a fault of the engine's work, not of the machine. */
  readonly check: (request: CellRequest, generation: Generation) => Promise<void>;
}

export type CellOutcome =
  | { readonly state: 'complete'; readonly durationMs: number }
  | { readonly state: 'failed'; readonly error: unknown }
  /** The budget ended or the user stopped it: nobody's fault, nothing measured. */
  | { readonly state: 'cut'; readonly reason: 'deadline' | 'interrupted' };

const NO_MEMORY: Memory = { peakBytes: null, anonymousBytes: null, fileBackedBytes: null };
const NO_INTERFERENCE = { foreignCpuShare: null, stealShare: null, ownCpuShare: null };
/** Twelve times the prediction: a tenfold slowdown by a busy neighbour is seen here and is no hang. */
const HANG_FACTOR = 12;
const REQUEST_TIMEOUT_MIN_MS = 30_000;
const LOAD_TIMEOUT_MIN_MS = 120_000;

export async function runCell(machinery: Machinery, ask: CellAsk): Promise<CellOutcome> {
  const { prepared, block, attempt, append } = ask;
  const where = { engine: prepared.engine.id, block, attempt };
  const startedMs = machinery.nowMs();
  await machinery.warmPageCache(prepared.modelPath);
  await append({ type: 'cell-start', ...where, elapsedMs: ask.elapsedMs() });
  let running: RunningEngine | null = null;
  try {
    const loadTimeoutMs = Math.max(LOAD_TIMEOUT_MIN_MS, HANG_FACTOR * ask.startEstimateMs);
    running = await machinery.start(
      prepared,
      ask.settings,
      Math.min(ask.deadlineMs - machinery.nowMs(), loadTimeoutMs),
    );
    // A served model was loaded long before: connecting is no load.
    if (prepared.engine.modelFormat !== 'served')
      await append({ type: 'load', ...where, loadMs: running.loadMs, engineLoadMs: running.session.info.engineLoadMs });
    // From here on: what a start suffers is in no request, and a busy start would reject a quiet measurement.
    const before = await machinery.cpu(running.pid);
    const cut = await runRequests(machinery, ask, running.session, where);
    if (cut !== null) return { state: 'cut', reason: cut };
    const memory = await machinery.memory(running.pid);
    const interference = machinery.interference(before, await machinery.cpu(running.pid));
    await append({
      type: 'cell-end',
      ...where,
      elapsedMs: ask.elapsedMs(),
      state: 'complete',
      error: null,
      memory,
      interference,
    });
  } catch (error) {
    if (ask.signal.aborted) return { state: 'cut', reason: 'interrupted' };
    if (isRecordFailure(error) || error instanceof AssertionFailure) throw error;
    if (machinery.nowMs() >= ask.deadlineMs) return { state: 'cut', reason: 'deadline' };
    const failed = {
      state: 'failed' as const,
      error: messageOf(error).slice(0, 1_900),
      memory: NO_MEMORY,
      interference: NO_INTERFERENCE,
    };
    await append({ type: 'cell-end', ...where, elapsedMs: ask.elapsedMs(), ...failed });
    return { state: 'failed', error };
  } finally {
    await running?.stop();
  }
  return { state: 'complete', durationMs: machinery.nowMs() - startedMs };
}

async function runRequests(
  machinery: Machinery,
  ask: CellAsk,
  session: EngineSession,
  where: Pick<Sample, 'engine' | 'block' | 'attempt'>,
): Promise<'deadline' | 'interrupted' | null> {
  for (const request of ask.requests) {
    if (ask.signal.aborted) return 'interrupted';
    const leftMs = ask.deadlineMs - machinery.nowMs();
    if (leftMs <= 0) return 'deadline';
    ask.onRequest(request);
    const generation = await session.generate({
      promptTokens: request.promptTokens,
      ...(request.promptText === undefined ? {} : { promptText: request.promptText }),
      generateTokens: request.generateTokens,
      bannedTokens: ask.bannedTokens,
      topLogprobs: 0,
      timeoutMs: Math.min(leftMs, Math.max(REQUEST_TIMEOUT_MIN_MS, HANG_FACTOR * request.estimateMs)),
    });
    await ask.append(
      toSample({ ...where, kind: request.kind, prompt: request.prompt, iteration: request.iteration }, generation),
    );
    await ask.check(request, generation);
  }
  return null;
}

function isRecordFailure(error: unknown): boolean {
  return error instanceof AppError && error.code === 'record-write-failed';
}
