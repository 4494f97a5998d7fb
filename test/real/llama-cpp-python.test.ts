/**
 * One llama.cpp build under three layers: the C library, llama-cpp-python and llama-server, on the real model. Skipped
 * where the environment is not set up; it takes minutes to compile.
 */
import { existsSync } from 'node:fs';
import { readFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { inspectProgram } from '../../src/app/inspect-program.ts';
import { realMachinery } from '../../src/app/machinery.ts';
import type { PreparedEngine, RunningEngine } from '../../src/app/machinery.ts';
import type { Detection, Engine, EngineSettings, Generation } from '../../src/core/engine.ts';
import { engine as libllama } from '../../src/engines/libllama.ts';
import { engine as binding } from '../../src/engines/llama-cpp-python.ts';
import { engine as server } from '../../src/engines/llama-server.ts';
import { modelFacts } from '../../src/models/gguf/model-facts.ts';
import { loadTokenizer } from '../../src/models/tokenizer/load-tokenizer.ts';
import { createEnvironments } from '../../src/platform/environments/environments.ts';
import { cacheFolder } from '../../src/platform/folders.ts';
import { SETTINGS } from '../engines/describe-engine.ts';

const GGUF = join(cacheFolder(), 'models', 'smollm2-135m-instruct-q4_0', 'SmolLM2-135M-Instruct.Q4_0.gguf');
const TEXT = 'The river runs past the mill where the miller counts his sacks of flour every evening before supper. ';
const PROMPTS = [1, 5, 33, 513];
const GENERATE = 24;
const LOAD_TIMEOUT_MS = 60_000;
const settings: EngineSettings = { ...SETTINGS, threads: 2 };
const environments = createEnvironments({ cacheFolder: cacheFolder(), onProgress() {} });
const environment = await environments.inspect('llama-cpp-python');
const isReady = environment.state === 'ready' && existsSync(GGUF);
if (!isReady) console.log(`test/real/llama-cpp-python: skipped: the environment is ${environment.state}`);

async function prepare(engine: Engine): Promise<PreparedEngine> {
  const enginePath =
    engine === server && environment.state === 'ready' ? join(environment.root, 'bin', 'llama-server') : null;
  const found: Detection = await engine.detect({ enginePath, findOnPath: () => null, environments, inspectProgram });
  if (found.state !== 'available') throw new TypeError(`${engine.id} is ${found.state}`);
  return { engine, found, modelPath: GGUF, modelSha256: null };
}

async function withEngine<T>(prepared: PreparedEngine, use: (running: RunningEngine) => Promise<T>): Promise<T> {
  const running = await realMachinery.start(prepared, settings, LOAD_TIMEOUT_MS);
  try {
    return await use(running);
  } finally {
    await running.stop();
  }
}

const bannedTokens = isReady ? (await modelFacts(GGUF)).endTokenIds : [];
const body = isReady ? (await loadTokenizer(GGUF)).encode(TEXT.repeat(40)) : [];

function ask(
  running: RunningEngine,
  promptTokens: readonly number[],
  more: { topLogprobs?: number; banned?: number[] } = {},
): Promise<Generation> {
  return running.session.generate({
    promptTokens,
    generateTokens: GENERATE,
    bannedTokens: [...bannedTokens, ...(more.banned ?? [])],
    topLogprobs: more.topLogprobs ?? 0,
    timeoutMs: 60_000,
  });
}

describe.skipIf(!isReady)('one build under three layers', () => {
  test('the same tokens from the same prompts, exact counts, nothing cached', { timeout: 120_000 }, async () => {
    const answers: Record<string, number[][]> = {};
    for (const engine of [libllama, binding, server]) {
      answers[engine.id] = await withEngine(await prepare(engine), async (running) => {
        const tokens: number[][] = [];
        for (const length of PROMPTS) {
          const answer = await ask(running, body.slice(0, length));
          expect([engine.id, length, answer.promptTokenCount, answer.cachedTokenCount]).toEqual([
            engine.id,
            length,
            length,
            0,
          ]);
          expect(answer.eventMs).toHaveLength(GENERATE);
          tokens.push([...answer.tokens]);
        }
        return tokens;
      });
    }
    expect(answers['llama-cpp-python']).toEqual(answers['libllama']);
    expect(answers['llama-server']).toEqual(answers['libllama']);
  });

  test.each([libllama, binding])(
    '$id: settings are read back, and the mask is the one that is asked',
    { timeout: 60_000 },
    async (engine) => {
      await withEngine(await prepare(engine), async (running) => {
        const { info } = running.session;
        expect(info).toMatchObject({ device: 'cpu', vocabularySize: 49_152, settings });
        expect(info.build).toMatchObject({ openMp: true, library: expect.stringMatching(/^llama\.cpp [0-9a-f]{7,}$/) });
        const prompt = body.slice(0, 33);
        const free = await ask(running, prompt, { topLogprobs: 5 });
        const best = free.tokens[0] ?? -1;
        expect(free.firstTokenLogprobs[0]?.token).toBe(best);
        expect(free.firstTokenLogprobs.every(({ logprob }) => logprob < 0)).toBe(true);
        const masked = await ask(running, prompt, { banned: [best] });
        expect(masked.tokens).not.toContain(best);
        expect(masked.tokens[0]).toBe(free.firstTokenLogprobs[1]?.token);
        expect((await ask(running, prompt)).tokens).toEqual(free.tokens);
      });
    },
  );

  test('settings that are asked for arrive', { timeout: 60_000 }, async () => {
    const other: EngineSettings = {
      ...settings,
      threads: 1,
      contextTokens: 2_048,
      batchTokens: 256,
      microBatchTokens: 128,
      kvType: 'q8_0',
      mmap: false,
    };
    for (const engine of [libllama, binding]) {
      const running = await realMachinery.start(await prepare(engine), other, LOAD_TIMEOUT_MS);
      try {
        expect(running.session.info.settings).toEqual(other);
      } finally {
        await running.stop();
      }
    }
  });

  test(
    'a kept prefix is seen: without its reset, llama-cpp-python answers from the last request',
    { timeout: 60_000 },
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'runoff-test-'));
      try {
        const worker = await readFile(
          new URL('../../src/engines/workers/llama-cpp-python.py', import.meta.url),
          'utf8',
        );
        expect(worker).toContain('    llm.reset()\n');
        const path = join(folder, 'worker.py');
        await writeFile(path, worker.replace('    llm.reset()\n', ''));
        const prepared = await prepare(binding);
        const keeping: Engine = {
          ...binding,
          launchPlan: (request) => ({
            command: request.engine.location,
            args: ['-I', path],
            env: {},
            channel: 'stdout',
          }),
        };
        const counts = await withEngine({ ...prepared, engine: keeping }, async (running) => {
          const prompt = body.slice(0, 65);
          const [first, again] = [await ask(running, prompt), await ask(running, prompt)];
          return [first.cachedTokenCount, again.cachedTokenCount];
        });
        expect(counts[0]).toBe(0);
        expect(counts[1]).toBeGreaterThan(60);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  );

  test('a model that is none: the library says why', { timeout: 60_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'runoff-test-'));
    try {
      const path = join(folder, 'broken.gguf');
      await writeFile(path, 'GGUF, but no more');
      for (const engine of [libllama, binding]) {
        const prepared = { ...(await prepare(engine)), modelPath: path };
        await expect(realMachinery.start(prepared, settings, LOAD_TIMEOUT_MS)).rejects.toMatchObject({
          code: 'engine-request-failed',
        });
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
