/** The conformance suite on the real engines and the real model. Skipped with the reason where they are not set up. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { realMachinery } from '../../src/app/machinery.ts';
import { slowerBy } from '../../src/app/selftest/inject.ts';
import { modelFacts } from '../../src/models/gguf/model-facts.ts';
import { loadTokenizer } from '../../src/models/tokenizer/load-tokenizer.ts';
import { loadEngine } from '../../src/engines/registry.ts';
import { createEnvironments } from '../../src/platform/environments/environments.ts';
import { cacheFolder } from '../../src/platform/folders.ts';
import { hostWith, SETTINGS } from '../engines/describe-engine.ts';
import { describeRunning } from '../engines/conformance.ts';
import type { RunningCase } from '../engines/conformance.ts';

const MODELS = join(cacheFolder(), 'models');
const GGUF = join(MODELS, 'smollm2-135m-instruct-q4_0', 'SmolLM2-135M-Instruct.Q4_0.gguf');
const TEXT = 'The river runs past the mill where the miller counts his sacks of flour every evening before supper. ';
const environments = createEnvironments({ cacheFolder: cacheFolder(), onProgress() {} });

async function mlxFolder(): Promise<string | null> {
  const folder = join(MODELS, 'mlx');
  if (!existsSync(folder)) return null;
  const name = (await readdir(folder)).find((entry) => entry.endsWith('-f32'));
  return name === undefined ? null : join(folder, name);
}

async function whyNot(id: string): Promise<string | null> {
  const engine = await loadEngine(id);
  const detection = await engine.detect(hostWith(await environments.inspect(engine.environment ?? id)));
  if (detection.state !== 'available') return `${id} is ${detection.state}`;
  if (!existsSync(GGUF)) return 'the default model is not in the cache';
  return engine.modelFormat === 'mlx' && (await mlxFolder()) === null ? 'the MLX form is not in the cache' : null;
}

async function realCase(id: string): Promise<RunningCase> {
  const engine = await loadEngine(id);
  const found = await engine.detect(hostWith(await environments.inspect(engine.environment ?? id)));
  if (found.state !== 'available') throw new TypeError(`${id} is ${found.state}`);
  const facts = await modelFacts(GGUF);
  const tokenizer = await loadTokenizer(GGUF);
  const body = tokenizer.encode(TEXT.repeat(20));
  const words = tokenizer.encode(' north south east west spring summer autumn winter');
  const modelPath = engine.modelFormat === 'mlx' ? ((await mlxFolder()) ?? '') : GGUF;
  return {
    prepared: { engine, found, modelPath, modelSha256: null },
    settings: { ...SETTINGS, threads: 2 },
    bannedTokens: facts.endTokenIds,
    promptTokens: (count, iteration) => [
      ...[0, 1, 2, 3].map((place) => words[(iteration + place) % words.length] ?? 0),
      ...body.slice(0, count - 4),
    ],
  };
}

for (const { id, tokens } of [
  { id: 'llama-cpp', tokens: 33 },
  { id: 'llama-server', tokens: 33 },
  { id: 'mlx-lm', tokens: 16 },
  { id: 'llama-cpp-python', tokens: 33 },
  { id: 'libllama', tokens: 33 },
]) {
  const reason = await whyNot(id).catch(() => `there is no engine ${id}`);
  if (reason !== null) console.log(`test/real/conformance: ${id} skipped: ${reason}`);
  describe.skipIf(reason !== null)(`the real ${id}`, () => {
    describeRunning({ name: id, tokens, prepare: () => realCase(id) });
  });
}

/** Ten times as long: a disturbed machine does not make the plain engine three times as slow in all of three requests. */
const SHARE = 9;
const noLlama = await whyNot('llama-cpp').catch(() => 'there is no engine llama-cpp');
test.skipIf(noLlama !== null)('the copy of a selftest that is slower takes the time that it tells', async () => {
  const { prepared, settings, bannedTokens, promptTokens } = await realCase('llama-cpp');
  const fastest = async (share: number): Promise<{ firstMs: number; lastMs: number; isTaken: boolean }> => {
    const engine = slowerBy(prepared.engine, share, 'copy');
    const running = await realMachinery.start({ ...prepared, engine }, settings, 120_000);
    const told: { firstMs: number; lastMs: number; isTaken: boolean }[] = [];
    try {
      for (const iteration of [0, 1, 2]) {
        const startedMs = performance.now();
        const ask = { generateTokens: 8, bannedTokens, topLogprobs: 0, timeoutMs: 60_000 };
        const { eventMs } = await running.session.generate({ ...ask, promptTokens: promptTokens(33, iteration) });
        const [firstMs = Number.NaN] = eventMs;
        const lastMs = eventMs.at(-1) ?? Number.NaN;
        told.push({ firstMs, lastMs, isTaken: performance.now() - startedMs >= lastMs });
      }
    } finally {
      await running.stop();
    }
    return {
      firstMs: Math.min(...told.map(({ firstMs }) => firstMs)),
      lastMs: Math.min(...told.map(({ lastMs }) => lastMs)),
      isTaken: told.every(({ isTaken }) => isTaken),
    };
  };
  const [plain, slow] = [await fastest(0), await fastest(SHARE)];
  expect(slow.isTaken).toBe(true);
  expect(slow.firstMs).toBeGreaterThan(3 * plain.firstMs);
  expect(slow.lastMs).toBeGreaterThan(3 * plain.lastMs);
});
