/**
 * What every engine must do while it runs, asked through the machinery that measures it: real engines in test/real,
 * fixture servers in test/engines. Each test starts the engine anew.
 */
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { realMachinery } from '../../src/app/machinery.ts';
import type { PreparedEngine, RunningEngine } from '../../src/app/machinery.ts';
import type { EngineSettings, Generation } from '../../src/core/engine.ts';
import { AppError } from '../../src/core/errors.ts';
import { generatedCount } from '../../src/core/generated-count.ts';
import { earlyEndGate, tokenCountGate, truncationGate } from '../../src/core/validity/gates.ts';
import { promptCacheGate } from '../../src/core/validity/prompt-cache.ts';
import { startProcess } from '../../src/platform/process/start-process.ts';

export interface RunningCase {
  readonly prepared: PreparedEngine;
  readonly settings: EngineSettings;
  /** `count` ids that no other iteration gives, BOS included where the model has one. */
  readonly promptTokens: (count: number, iteration: number) => readonly number[];
  /** For engines that take text. */
  readonly promptText?: (tokens: readonly number[]) => string;
  readonly bannedTokens: readonly number[];
  /** The engine with a fault built in, by the gate that must see it. */
  readonly faulty?: Partial<Record<'truncation' | 'prompt-cache' | 'early-end' | 'token-count', PreparedEngine>>;
  readonly cleanup?: () => Promise<void>;
}

export interface RunningOptions {
  readonly name: string;
  readonly prepare: () => Promise<RunningCase>;
  /** Prompt length of the cheap requests; slow engines get fewer. Default 33. */
  readonly tokens?: number;
  /** The engine cannot mask end-of-generation tokens: an early end is told, not prevented. */
  readonly mayEndEarly?: boolean;
  /** The server tells no log-probabilities: two prompts may have the same likely text. */
  readonly hidesLogprobs?: boolean;
}

const LOAD_TIMEOUT_MS = 120_000;
const REQUEST_TIMEOUT_MS = 60_000;
/** Long enough that a request is under way, short enough that it is not over. */
const UNDER_WAY_MS = 250;
/** For a request that must never end by itself. */
const LONG_GENERATE = 400;
/** SIGTERM, two seconds, SIGKILL, and a busy machine. */
const GONE_WITHIN_MS = 15_000;

interface Seen {
  readonly outcome: string;
  /** What a gate must say of this fault; `failed` where it is left out. */
  readonly expected?: string;
}

export function describeRunning(options: RunningOptions): void {
  const { name, tokens = 33 } = options;
  describe(`${name} while it runs`, () => {
    let engine: RunningCase;
    beforeAll(async () => {
      engine = await options.prepare();
    }, LOAD_TIMEOUT_MS);
    afterAll(async () => engine?.cleanup?.());

    const start = (prepared = engine.prepared): Promise<RunningEngine> =>
      realMachinery.start(prepared, engine.settings, LOAD_TIMEOUT_MS);
    const ask = (
      running: RunningEngine,
      promptTokens: readonly number[],
      generateTokens: number,
      more: { topLogprobs?: number; timeoutMs?: number } = {},
    ): Promise<Generation> =>
      running.session.generate({
        promptTokens,
        ...(engine.promptText === undefined ? {} : { promptText: engine.promptText(promptTokens) }),
        generateTokens,
        bannedTokens: engine.bannedTokens,
        topLogprobs: more.topLogprobs ?? 0,
        timeoutMs: more.timeoutMs ?? REQUEST_TIMEOUT_MS,
      });

    test('it starts, tells what it is, uses memory that is read from outside, and leaves nothing behind', async () => {
      const running = await start();
      try {
        expect(running.session.info.build.version).not.toBe('');
        expect(running.session.info.numericMode).not.toBe('');
        expect(running.loadMs).toBeGreaterThan(0);
        const { peakBytes } = await realMachinery.memory(running.pid);
        if (running.pid !== null && process.platform === 'linux') expect(peakBytes).toBeGreaterThan(1_000_000);
      } finally {
        await running.stop();
      }
      if (engine.prepared.found.runningInstance !== true) await expectGone(running.pid);
    });

    test('its counts are exact, each token has a time, greedy is repeatable and nothing comes from a cache', async () => {
      const running = await start();
      try {
        // The first request of a process is slow: everything after it would look cached.
        await ask(running, engine.promptTokens(tokens, 9), 2);
        const prompt = engine.promptTokens(tokens, 0);
        const first = await ask(running, prompt, 6);
        expect(tokenCountGate({ promptTokensAsked: tokens, generation: first }).outcome).toBe('passed');
        if (options.mayEndEarly !== true)
          expect(earlyEndGate({ generateTokensAsked: 6, generation: first }).outcome).toBe('passed');
        expect(first.eventMs).toHaveLength(first.eventTokenCounts.length);
        expect(first.eventMs.toSorted((a, b) => a - b)).toEqual(first.eventMs);
        expect(first.eventTokenCounts.reduce((sum, count) => sum + count, 0)).toBe(generatedCount(first));
        for (const token of engine.bannedTokens) expect(first.tokens).not.toContain(token);
        const again = await ask(running, prompt, 6);
        expect([again.tokens, again.text]).toEqual([first.tokens, first.text]);
        expect(tokenCountGate({ promptTokensAsked: tokens, generation: again }).outcome).toBe('passed');
        const other = await ask(running, engine.promptTokens(2 * tokens, 1), 1);
        const evidence = {
          cachedTokenCounts: [first.cachedTokenCount, other.cachedTokenCount],
          keepsPrompts: engine.prepared.found.runningInstance === true,
          doubling: null,
          repeat: {
            ttftFirstMs: first.eventMs[0] ?? 0,
            ttftSecondMs: again.eventMs[0] ?? 0,
            cachedTokenCount: again.cachedTokenCount,
          },
        };
        expect(promptCacheGate(evidence).outcome).not.toBe('failed');
        const prefilled = again.engineTimings?.prefillTokenCount;
        if (prefilled !== null && prefilled !== undefined) expect(prefilled).toBe(tokens);
      } finally {
        await running.stop();
      }
    });

    test('the start of the prompt is read: a change there changes the answer', async () => {
      const running = await start();
      try {
        const { outcome } = await readsTheStart(running);
        expect(['passed', ...(options.hidesLogprobs === true ? ['unknown'] : [])]).toContain(outcome);
      } finally {
        await running.stop();
      }
    });

    async function readsTheStart(running: RunningEngine): Promise<Seen> {
      const topLogprobs = engine.prepared.engine.capabilities.logprobs ? 5 : 0;
      const prompt = engine.promptTokens(tokens, 2);
      const bos = engine.promptTokens(tokens, 2)[0] === engine.promptTokens(tokens, 3)[0] ? 1 : 0;
      const changed = [...prompt.slice(0, bos), ...engine.promptTokens(tokens, 3).slice(bos, bos + 4)];
      const original = await ask(running, prompt, 8, { topLogprobs });
      const other = await ask(running, [...changed, ...prompt.slice(changed.length)], 8, { topLogprobs });
      const needles = [{ place: 'the start', original, changed: other }];
      const { outcome } = truncationGate({ truncated: original.truncated, needles });
      // An engine that tells neither ids nor log-probabilities: one text that stays the same proves nothing.
      const isText = original.firstTokenLogprobs.length === 0 && original.text !== undefined;
      return { outcome, expected: isText && original.truncated !== true ? 'unknown' : 'failed' };
    }

    test('stopped in the middle of an answer, the request fails and the process is gone', async () => {
      const running = await start();
      const outcome = ask(running, engine.promptTokens(tokens, 4), LONG_GENERATE).then(
        () => 'answered',
        (error: unknown) => error,
      );
      await later(UNDER_WAY_MS);
      await running.stop();
      if (engine.prepared.found.runningInstance === true) return;
      expect(await outcome).toBeInstanceOf(AppError);
      await expectGone(running.pid);
    });

    test.skipIf(process.platform === 'win32')('killed in the middle of an answer, the death is told', async () => {
      const running = await start();
      try {
        if (running.pid === null || engine.prepared.found.runningInstance === true) return;
        const outcome = codeOf(ask(running, engine.promptTokens(tokens, 5), LONG_GENERATE));
        await later(UNDER_WAY_MS);
        process.kill(running.pid, 'SIGKILL');
        expect(await outcome).toBe('engine-died');
      } finally {
        await running.stop();
      }
    });

    test.skipIf(process.platform === 'win32')(
      'hanging, the request ends at its limit and the stop still works',
      async () => {
        const running = await start();
        const { pid } = running;
        try {
          if (pid === null) return;
          process.kill(pid, 'SIGSTOP');
          const startedMs = performance.now();
          expect(await codeOf(ask(running, engine.promptTokens(tokens, 6), 4, { timeoutMs: 700 }))).toBe(
            'engine-timeout',
          );
          expect(performance.now() - startedMs).toBeLessThan(GONE_WITHIN_MS);
        } finally {
          if (pid !== null && engine.prepared.found.runningInstance === true) process.kill(pid, 'SIGCONT');
          await running.stop();
        }
        if (engine.prepared.found.runningInstance !== true) await expectGone(pid);
      },
    );

    test('on a port that somebody else has, it is an error and never the other server that is measured', async () => {
      const { prepared, settings } = engine;
      const other = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'));
      await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
      const { port } = other.address() as AddressInfo;
      const request = {
        engine: prepared.found,
        modelPath: prepared.modelPath,
        modelSha256: prepared.modelSha256,
        workFolder: process.cwd(),
        settings,
        port,
        runId: 'runoff-conformance',
      };
      const plan = prepared.engine.launchPlan(request);
      try {
        if (plan?.channel !== 'http') return;
        const started = await startProcess(plan);
        try {
          const code = await codeOf(prepared.engine.connect(started, request, 10_000));
          expect(['port-taken', 'engine-launch-failed', 'engine-protocol', 'engine-timeout']).toContain(code);
        } finally {
          await started.stop(2_000);
        }
      } finally {
        other.close();
      }
    });

    test('faults that are built in are seen by their gates', async () => {
      for (const [gate, prepared] of Object.entries(engine.faulty ?? {})) {
        const running = await start(prepared);
        try {
          const { outcome, expected = 'failed' } = await seenBy(gate, running);
          expect([gate, outcome]).toEqual([gate, expected]);
        } finally {
          await running.stop();
        }
      }
    });

    async function seenBy(gate: string, running: RunningEngine): Promise<Seen> {
      if (gate === 'truncation') return readsTheStart(running);
      return { outcome: await gateOutcome(gate, running) };
    }

    async function gateOutcome(gate: string, running: RunningEngine): Promise<string> {
      const prompt = engine.promptTokens(tokens, 7);
      const first = await ask(running, prompt, 12);
      if (gate === 'token-count') return tokenCountGate({ promptTokensAsked: tokens, generation: first }).outcome;
      if (gate === 'early-end') return earlyEndGate({ generateTokensAsked: 12, generation: first }).outcome;
      const again = await ask(running, prompt, 1);
      return promptCacheGate({
        cachedTokenCounts: [first.cachedTokenCount, again.cachedTokenCount],
        doubling: null,
        repeat: {
          ttftFirstMs: first.eventMs[0] ?? 0,
          ttftSecondMs: again.eventMs[0] ?? 0,
          cachedTokenCount: again.cachedTokenCount,
        },
      }).outcome;
    }
  });
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return error instanceof AppError ? error.code : `not an AppError: ${String(error)}`;
  }
  return 'it succeeded';
}

async function expectGone(pid: number | null): Promise<void> {
  if (pid === null) return;
  const deadline = performance.now() + GONE_WITHIN_MS;
  while (isAlive(pid) && performance.now() < deadline) await later(50);
  expect(isAlive(pid)).toBe(false);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
