/** Our times of an engine's requests against the ones that it reports itself. */
import { median } from 'simple-statistics';
import type { Generation } from '../../core/engine.ts';
import type { Clocks } from '../../core/selftest/selftest.ts';
import { gatePrompt } from '../check-engine.ts';
import { takesText } from '../machinery.ts';
import type { Machinery, PreparedEngine } from '../machinery.ts';
import type { PreparedRun } from '../prepare.ts';

/** Cold ones, and enough that their median ignores a stall. */
const WARM_UPS = 2;
const REQUESTS = 6;
/** Long enough that the transport is a small part; a prompt of the gates. */
const PROMPT_TOKENS = 512;
const GENERATE_TOKENS = 32;
const LOAD_TIMEOUT_MS = 120_000;
const REQUEST_TIMEOUT_MS = 60_000;

export interface ClocksAsk {
  readonly machinery: Machinery;
  readonly prepared: PreparedEngine;
  readonly run: PreparedRun;
  readonly signal: AbortSignal;
}

/** @throws AppError as the engine does when it does not start or answer */
export async function compareClocks({ machinery, prepared, run, signal }: ClocksAsk): Promise<Clocks> {
  const running = await machinery.start(prepared, run.manifest.settings, LOAD_TIMEOUT_MS);
  try {
    const answers: Generation[] = [];
    for (let iteration = 0; iteration < WARM_UPS + REQUESTS; iteration++) {
      signal.throwIfAborted();
      const promptTokens = run.workload.promptTokens({
        block: 0,
        prompt: gatePrompt(PROMPT_TOKENS),
        iteration,
        kind: 'measured',
      });
      const { bannedTokens } = run;
      const answer = await running.session.generate({
        promptTokens,
        ...(takesText(prepared) ? { promptText: run.workload.promptText(promptTokens) } : {}),
        generateTokens: GENERATE_TOKENS,
        bannedTokens,
        topLogprobs: 0,
        timeoutMs: REQUEST_TIMEOUT_MS,
      });
      if (iteration >= WARM_UPS) answers.push(answer);
    }
    return {
      engine: prepared.engine.id,
      requestCount: REQUESTS,
      prefillRatio: medianOf(answers.map(prefillRatio)),
      decodeRatio: medianOf(answers.map(decodeRatio)),
    };
  } finally {
    await running.stop();
  }
}

function medianOf(ratios: readonly (number | null)[]): number | null {
  const told = ratios.filter((ratio) => ratio !== null);
  return told.length === 0 ? null : median(told);
}

function prefillRatio({ eventMs, engineTimings }: Generation): number | null {
  const own = engineTimings?.prefillMs ?? null;
  return own === null || own <= 0 || eventMs[0] === undefined ? null : eventMs[0] / own;
}

function decodeRatio({ eventMs, engineTimings }: Generation): number | null {
  const own = engineTimings?.decodeMs ?? null;
  const [first, last] = [eventMs[0], eventMs.at(-1)];
  return own === null || own <= 0 || first === undefined || last === undefined ? null : (last - first) / own;
}
