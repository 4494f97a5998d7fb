/** The conformance suite on the real engines and the real model. Skipped with the reason where they are not set up. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe } from 'vitest';
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
