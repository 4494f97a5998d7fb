import { expect, test } from 'vitest';
import { cheating, slowerBy } from '../../../src/app/selftest/inject.ts';
import type { Engine, EngineProcess, LaunchRequest, WorkerRequest } from '../../../src/core/engine.ts';
import { fixtureEngine } from '../../fixtures/engines/fixture-engine.ts';

/** Records what reaches the worker, and answers as an honest one that counts what it got. */
function recorder(): { process: EngineProcess; seen: WorkerRequest[] } {
  const seen: WorkerRequest[] = [];
  const process: EngineProcess = {
    pid: 1,
    exited: new Promise(() => {}),
    stderrTail: () => 'the tail',
    request: async (message) => {
      seen.push(message);
      if (message.method === 'load') return { engineLoadMs: 1, vocabularySize: 100, settings: {} };
      const { promptTokens, generateTokens } = message.params as { promptTokens: number[]; generateTokens: number };
      const tokens = Array.from({ length: generateTokens }, (_, index) => index);
      const eventMs = tokens.map((index) => index + 1);
      return { tokens, eventMs, promptTokenCount: promptTokens.length, cachedTokenCount: 0, firstTokenLogprobs: [] };
    },
  };
  return { process, seen };
}

async function ask(engine: Engine, prompts: readonly (readonly number[])[]) {
  const { process, seen } = recorder();
  // oxlint-disable-next-line no-unsafe-type-assertion -- the fixture engine reads these fields only.
  const request = { modelPath: '/model.gguf', settings: {}, engine: { build: {} } } as unknown as LaunchRequest;
  const session = await engine.connect(process, request, 1_000);
  const answers = [];
  for (const promptTokens of prompts)
    answers.push(
      await session.generate({ promptTokens, generateTokens: 8, bannedTokens: [], topLogprobs: 0, timeoutMs: 1_000 }),
    );
  return { answers, computed: seen.filter(({ method }) => method === 'generate').map(({ params }) => params), seen };
}

const PROMPT = [1, 2, 3, 4, 5, 6];
const alpha = fixtureEngine('alpha');

test('a slower copy tells its worker how much to burn, and asks for the same work', async () => {
  const { seen, answers } = await ask(slowerBy(alpha, 0.1, 'alpha-slower-10'), [PROMPT]);
  expect(seen[0]).toMatchObject({ method: 'load', params: { burnShare: 0.1, modelPath: '/model.gguf' } });
  expect(seen[1]?.params).toMatchObject({ promptTokens: PROMPT, generateTokens: 8 });
  expect(answers[0]?.promptTokenCount).toBe(6);
});

test('truncation computes the second half and claims the whole', async () => {
  const { computed, answers } = await ask(cheating(alpha, 'truncation'), [PROMPT]);
  expect(computed[0]?.['promptTokens']).toEqual([4, 5, 6]);
  expect(answers[0]?.promptTokenCount).toBe(6);
});

test('the hidden cache shortens a prompt only when it was the last one', async () => {
  const { computed, answers } = await ask(cheating(alpha, 'cache'), [PROMPT, PROMPT, [9, 9], PROMPT]);
  expect(computed.map(({ promptTokens }) => promptTokens)).toEqual([PROMPT, [6], [9, 9], PROMPT]);
  expect(answers.map(({ promptTokenCount }) => promptTokenCount)).toEqual([6, 6, 2, 6]);
});

test('two connections of one cheating engine do not share its cache', async () => {
  const engine = cheating(alpha, 'cache');
  await ask(engine, [PROMPT]);
  expect((await ask(engine, [PROMPT])).computed[0]?.['promptTokens']).toEqual(PROMPT);
});

test('early stop generates half', async () => {
  const { answers } = await ask(cheating(alpha, 'early-stop'), [PROMPT]);
  expect(answers[0]?.tokens).toHaveLength(4);
});
