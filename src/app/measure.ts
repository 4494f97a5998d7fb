/** Runs a plan to its end: checks the engines, plans what fits, and carries out the protocol's steps one by one. */
import { assert, AssertionFailure } from '../core/assert.ts';
import { messageOf } from '../core/errors.ts';
import type { Generation } from '../core/engine.ts';
import { elapsedOf } from '../core/derive/derive-record.ts';
import { takeLook } from '../core/derive/take-look.ts';
import { nextAction } from '../core/protocol/next-action.ts';
import type { Action, PlannedEngine, Progress, RunPlan } from '../core/protocol/plan-types.ts';
import { predictRestMs } from '../core/protocol/predict.ts';
import { progressFromEvents } from '../core/protocol/progress.ts';
import type { EngineFacts, RunEvent } from '../core/record.ts';
import { earlyEndGate, tokenCountGate, truncationGate } from '../core/validity/gates.ts';
import { judgeAttempt } from '../core/validity/judge-attempt.ts';
import { promptCacheGate } from '../core/validity/prompt-cache.ts';
import type { Workload } from '../core/workload/build-prompts.ts';
import type { RunLog } from '../store/run-folder.ts';
import { runCell } from './cell.ts';
import type { CellRequest } from './cell.ts';
import { checkEngine } from './check-engine.ts';
import { takesText } from './machinery.ts';
import type { Machinery, PreparedEngine } from './machinery.ts';
import { registerPlan } from './register-plan.ts';
import type { Ui } from './ui.ts';
import { Watcher } from './watcher.ts';
import { describeEvent, minutes } from './wording.ts';

export interface MeasureAsk {
  readonly log: RunLog;
  readonly engines: readonly PreparedEngine[];
  readonly workload: Workload;
  readonly bannedTokens: readonly number[];
  readonly bosToken: number | null;
  readonly vocabularySize: number;
  /** Engines that are copies of another one of these, by id: its check is theirs, too. */
  readonly copies?: ReadonlyMap<string, EngineCopy>;
  /** Measuring time allowed over all sessions, ms. */
  readonly budgetMs: number;
  readonly machinery: Machinery;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

export interface EngineCopy {
  /** The engine that is checked. */
  readonly of: string;
  /** Times of the copy over its: for the plan. */
  readonly slowdown: number;
}

type EndState = 'complete' | 'interrupted';

/** Measures until the plan is done, the budget ends or the user stops it; the log then ends with an `end` event. */
export async function measure(ask: MeasureAsk): Promise<EndState> {
  return new Measurement(ask).run();
}

class Measurement {
  private readonly ask: MeasureAsk;
  private readonly earlierMs: number;
  private readonly startedMs: number;
  private readonly deadlineMs: number;
  private readonly failedGates: Set<string>;
  private readonly watcher: Watcher;

  constructor(ask: MeasureAsk) {
    this.ask = ask;
    this.earlierMs = elapsedOf(ask.log.events);
    this.startedMs = ask.machinery.nowMs();
    this.deadlineMs = this.startedMs + ask.budgetMs - this.earlierMs;
    const { machinery, log } = ask;
    this.watcher = new Watcher({
      machinery,
      manifest: log.manifest,
      events: log.events,
      elapsedMs: () => this.elapsedMs(),
      append: (event) => this.append(event),
    });
    this.failedGates = new Set(
      ask.log.events.flatMap((event) =>
        event.type === 'gate' && event.outcome === 'failed' ? [`${event.engine}/${event.gate}`] : [],
      ),
    );
  }

  async run(): Promise<EndState> {
    const { log, ui } = this.ask;
    const resumed = log.events.length > 0;
    await this.append({ type: 'session', at: new Date().toISOString(), resumed });
    try {
      const pilots = await this.checkEngines();
      const { plan, canary } = await registerPlan({
        log,
        ui,
        engines: pilots,
        prepared: this.ask.engines,
        leftMs: this.leftMs(),
        append: (event) => this.append(event),
      });
      if (plan.blocks > 0) await this.watcher.begin(canary);
      const reason = await this.carryOut(plan);
      await this.append({ type: 'end', state: 'complete', reason, elapsedMs: this.elapsedMs() });
      return 'complete';
    } catch (error) {
      if (!this.ask.signal.aborted) {
        await this.appendLast({
          type: 'end',
          state: 'failed',
          reason: messageOf(error).slice(0, 1_900),
          elapsedMs: this.elapsedMs(),
        });
        throw error;
      }
      await this.append({
        type: 'end',
        state: 'interrupted',
        reason: 'stopped by the user',
        elapsedMs: this.elapsedMs(),
      });
      return 'interrupted';
    } finally {
      await this.watcher.close();
      ui.done();
    }
  }

  /** A failing disk must not hide the error that it caused. */
  private async appendLast(event: RunEvent): Promise<void> {
    try {
      await this.append(event);
    } catch {
      // The original error is on its way to the user.
    }
  }

  private async checkEngines(): Promise<PlannedEngine[]> {
    const planned: PlannedEngine[] = [];
    // Once the plan is registered nobody joins: what it missed could not be compared.
    const isOpen = !this.ask.log.events.some((event) => event.type === 'plan');
    for (const [index, prepared] of this.ask.engines.entries()) {
      const { id } = prepared.engine;
      const copy = this.ask.copies?.get(id);
      if (isOpen && this.pilotOf(id) === undefined) {
        if (copy === undefined) await this.checkOne(prepared, this.ask.engines.length - index);
        else await this.takeCheck(prepared, copy);
      }
      const pilot = this.pilotOf(id);
      if (pilot === undefined) continue;
      planned.push({ id, referenceBackend: prepared.found.referenceBackend, pilot });
    }
    return planned;
  }

  /** `left` engines, this one included, and the measurement share the time: a hanging engine costs the others little. */
  private async checkOne(prepared: PreparedEngine, left: number): Promise<void> {
    const { id } = prepared.engine;
    const { log, ui, machinery, workload, bannedTokens, bosToken, vocabularySize, signal } = this.ask;
    const facts = log.manifest.engines.find((engine) => engine.id === id);
    if (facts === undefined) return;
    const onStep = (what: string): void => ui.status(`Checking ${id}: ${what}`);
    try {
      await checkEngine(machinery, {
        prepared,
        facts,
        manifest: log.manifest,
        workload,
        bannedTokens,
        bosToken,
        vocabularySize,
        onStep,
        signal,
        deadlineMs: machinery.nowMs() + this.leftMs() / (left + 1),
        append: (event) => this.append(event),
      });
    } catch (error) {
      if (signal.aborted || isRecordFailure(error) || error instanceof AssertionFailure) throw error;
      await this.warn(
        'engine-failed',
        id,
        `${id} could not be checked and is left out: ${messageOf(error)}`,
        hintOf(error),
      );
    }
  }

  /** What holds for an engine holds for its copy; only its times are others. */
  private async takeCheck({ engine: { id, title } }: PreparedEngine, { of, slowdown }: EngineCopy): Promise<void> {
    const pilot = this.pilotOf(of);
    const facts = this.factsOf(of);
    if (pilot === undefined || facts === undefined) return;
    const { log } = this.ask;
    // Not told: nobody checked it.
    await log.append({ type: 'engine-facts', facts: { ...facts, id, title } });
    const { prefillMsPerToken, decodeMsPerToken } = pilot;
    await log.append({
      ...pilot,
      engine: id,
      prefillMsPerToken: slowdown * prefillMsPerToken,
      decodeMsPerToken: slowdown * decodeMsPerToken,
    });
  }

  private async carryOut(plan: RunPlan): Promise<string> {
    let progress: Progress = progressFromEvents(this.ask.log.events);
    for (;;) {
      this.ask.signal.throwIfAborted();
      const state = { plan, seed: this.ask.log.manifest.plan.seed, deadlineMs: this.deadlineMs, progress };
      const action = nextAction(state, this.ask.machinery.nowMs());
      if (action.type === 'stop') return action.detail;
      progress = await this.step(action, plan, progress);
    }
  }

  private async step(action: Exclude<Action, { type: 'stop' }>, plan: RunPlan, progress: Progress): Promise<Progress> {
    switch (action.type) {
      case 'cell':
        return { ...progress, cells: [...progress.cells, await this.cell(action, plan, progress)] };
      case 'close-block': {
        const { block, attempt } = action;
        const busiest = await this.watcher.closeBlock();
        const { events, manifest } = this.ask.log;
        const { reasons, sustained } = judgeAttempt(events, manifest.engines, { block, attempt });
        const state = reasons.length > 0 ? ('rejected' as const) : ('accepted' as const);
        await this.append({
          type: 'block-end',
          block,
          attempt,
          state,
          reasons,
          ...(state === 'accepted' && sustained !== null ? { sustained } : {}),
          ...(state === 'rejected' && busiest.length > 0 ? { busiest } : {}),
        });
        return { ...progress, blocks: [...progress.blocks, { block, attempt, state, reasons }] };
      }
      case 'look':
        return this.look(action.blocks, plan, progress);
      case 'drop-engine':
        await this.warn(
          'engine-dropped',
          action.engine,
          `${action.engine} is left out from here: ${action.reason}`,
          null,
        );
        return { ...progress, dropped: [...progress.dropped, action.engine] };
    }
  }

  private async look(blocks: number, plan: RunPlan, progress: Progress): Promise<Progress> {
    const { copies, log } = this.ask;
    const { manifest, events } = log;
    const rest = predictRestMs({ plan, seed: manifest.plan.seed, deadlineMs: this.deadlineMs, progress });
    const { resolved, retired } = takeLook(manifest, events, rest, { copies: copies !== undefined });
    const restMs = [...rest.values()].reduce((sum, ms) => sum + ms, 0);
    await this.append({ type: 'look', blocks, resolved, retired: [...retired], restMs });
    return {
      ...progress,
      looks: [...progress.looks, { blocks, resolved }],
      retired: [...progress.retired, ...retired.map(({ engine }) => engine)],
    };
  }

  private async cell(
    action: Extract<Action, { type: 'cell' }>,
    plan: RunPlan,
    { retired }: Progress,
  ): Promise<Progress['cells'][number]> {
    const { engine, block, attempt, requests } = action;
    const { machinery, ui, log, workload, bannedTokens, signal } = this.ask;
    const prepared = this.ask.engines.find((candidate) => candidate.engine.id === engine);
    assert(prepared !== undefined, `the plan names ${engine}, which is not prepared`);
    const startedMs = machinery.nowMs();
    const { iterations } = plan;
    const outcome = await runCell(machinery, {
      prepared,
      block,
      attempt,
      bannedTokens,
      signal,
      settings: log.manifest.settings,
      startEstimateMs: action.startEstimateMs,
      deadlineMs: this.deadlineMs,
      requests: requests.map((request) => {
        const { prompt, iteration, kind } = request;
        const promptTokens = workload.promptTokens({ block, attempt, prompt, iteration, kind });
        const text = takesText(prepared)
          ? { promptText: workload.promptText(promptTokens, this.addedTokens(engine)) }
          : {};
        return { ...request, promptTokens, ...text };
      }),
      elapsedMs: () => this.elapsedMs(),
      append: (event) => this.append(event),
      onRequest: (request) =>
        ui.status(
          `Block ${block + 1} of ${plan.blocks} · ${engine} · ${request.kind === 'warmup' ? 'warming up' : `measuring ${request.prompt} (${request.iteration + 1} of ${iterations})`} · at most ${minutes(this.leftMs())} left${retired.length === 0 ? '' : ` · retired: ${retired.join(', ')}`}`,
        ),
      check: (request, generation) => this.check(prepared, request, generation),
    });
    if (outcome.state === 'failed')
      await this.warn('cell-failed', engine, `block ${block + 1}: ${messageOf(outcome.error)}`, hintOf(outcome.error));
    if (outcome.state === 'cut' && outcome.reason === 'interrupted') signal.throwIfAborted();
    if (outcome.state !== 'cut') await this.watcher.afterCell();
    return { engine, block, attempt, state: outcome.state, durationMs: machinery.nowMs() - startedMs };
  }

  /** Every measured answer is checked for equal work; a gate that fails once has failed. */
  private async check(prepared: PreparedEngine, request: CellRequest, generation: Generation): Promise<void> {
    const { id: engine } = prepared.engine;
    const gates = [
      tokenCountGate({
        promptTokensAsked: request.promptTokens.length,
        generation,
        fromText: takesText(prepared),
      }),
      earlyEndGate({ generateTokensAsked: request.generateTokens, generation }),
      promptCacheGate({ cachedTokenCounts: [generation.cachedTokenCount], doubling: null, repeat: null }),
      truncationGate({ truncated: generation.truncated, needles: [] }),
    ];
    for (const gate of gates) {
      const key = `${engine}/${gate.gate}`;
      if (gate.outcome !== 'failed' || this.failedGates.has(key)) continue;
      this.failedGates.add(key);
      await this.append({ type: 'gate', engine, ...gate });
    }
  }

  /** What the check found; it is in the log, so that a resumed run sends the same texts. */
  private addedTokens(id: string): number {
    return this.factsOf(id)?.addedPromptTokens ?? 0;
  }

  /** As reported after loading. */
  private factsOf(id: string): EngineFacts | undefined {
    const event = this.ask.log.events.findLast((item) => item.type === 'engine-facts' && item.facts.id === id);
    return event?.type === 'engine-facts' ? event.facts : undefined;
  }

  private pilotOf(id: string): Extract<RunEvent, { type: 'pilot' }> | undefined {
    return this.ask.log.events.find((event) => event.type === 'pilot' && event.engine === id) as
      | Extract<RunEvent, { type: 'pilot' }>
      | undefined;
  }

  private async warn(code: string, engine: string, message: string, hint: string | null): Promise<void> {
    await this.append({
      type: 'warning',
      code,
      engine,
      message: message.slice(0, 1_900),
      hint: hint?.slice(0, 1_900) ?? null,
    });
  }

  private async append(event: RunEvent): Promise<void> {
    await this.ask.log.append(event);
    const text = describeEvent(event);
    if (text !== null) this.ask.ui.line(text);
  }

  private elapsedMs(): number {
    return this.earlierMs + this.ask.machinery.nowMs() - this.startedMs;
  }

  private leftMs(): number {
    return Math.max(0, this.deadlineMs - this.ask.machinery.nowMs());
  }
}

function isRecordFailure(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'record-write-failed';
}

function hintOf(error: unknown): string | null {
  return error instanceof Error && 'hint' in error && typeof error.hint === 'string' ? error.hint : null;
}
