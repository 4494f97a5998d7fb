/** The OpenAI adapter on the real servers of llama.cpp and MLX with the real model; skipped with the reason without them. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { realMachinery } from '../../src/app/machinery.ts';
import type { PreparedEngine } from '../../src/app/machinery.ts';
import type {
  AvailableEngine,
  EngineSession,
  EngineSettings,
  GenerateRequest,
  LaunchPlan,
} from '../../src/core/engine.ts';
import { engine as llamaServer } from '../../src/engines/llama-server.ts';
import { engine } from '../../src/engines/openai.ts';
import { modelFacts } from '../../src/models/gguf/model-facts.ts';
import { loadTokenizer } from '../../src/models/tokenizer/load-tokenizer.ts';
import { createEnvironments } from '../../src/platform/environments/environments.ts';
import { cacheFolder } from '../../src/platform/folders.ts';
import { freePort } from '../../src/platform/network/free-port.ts';
import { startProcess } from '../../src/platform/process/start-process.ts';
import type { StartedProcess } from '../../src/platform/process/start-process.ts';
import { codeOf, hostWith, launchRequest, planOf, SETTINGS } from '../engines/describe-engine.ts';
import { describeRunning } from '../engines/conformance.ts';
import type { RunningCase } from '../engines/conformance.ts';

const MODELS = join(cacheFolder(), 'models');
const GGUF = join(MODELS, 'smollm2-135m-instruct-q4_0', 'SmolLM2-135M-Instruct.Q4_0.gguf');
const MLX = join(MODELS, 'mlx');
const TEXT = ' The river runs past the mill where the miller counts his sacks of flour every evening before supper.';
/** More than the suite has iterations: a server that keeps prompts must meet none twice. */
const WORDS = ' north south east west spring summer autumn winter red green blue white black';
const LOAD_TIMEOUT_MS = 180_000;
const POLL_MS = 100;
const settings: EngineSettings = { ...SETTINGS, threads: 2 };
const environments = createEnvironments({ cacheFolder: cacheFolder(), onProgress() {} });
const NO_ENVIRONMENT = { state: 'absent', what: 'nothing', downloadBytes: 0 } as const;

const mlxFolder = existsSync(MLX) ? readdirSync(MLX).find((name) => name.endsWith('-f32')) : undefined;
const runtimes = { xllamacpp: await runtimeOf('xllamacpp'), 'mlx-lm': await runtimeOf('mlx-lm') };
const missing = {
  'llama.cpp': whyNot('xllamacpp', existsSync(GGUF)),
  mlx: whyNot('mlx-lm', existsSync(GGUF) && mlxFolder !== undefined),
};
for (const [name, reason] of Object.entries(missing))
  if (reason !== null) console.log(`test/real/openai: ${name} skipped: ${reason}`);

async function runtimeOf(id: string): Promise<string | null> {
  const environment = await environments.inspect(id);
  return environment.state === 'ready' ? environment.runtime : null;
}

function whyNot(id: 'xllamacpp' | 'mlx-lm', hasModel: boolean): string | null {
  if (runtimes[id] === null) return `the environment ${id} is not installed (runoff setup installs it)`;
  return hasModel ? null : 'the model is not in the cache (runoff setup fetches it)';
}

const XLLAMACPP: AvailableEngine = {
  state: 'available',
  build: { version: 'xllamacpp', library: null, openMp: null, instructionSets: null },
  device: 'cpu',
  location: runtimes.xllamacpp ?? '',
  variant: 'xllamacpp',
  referenceBackend: null,
};

function llamaRequest(port: number): ReturnType<typeof launchRequest> {
  return launchRequest(XLLAMACPP, { modelPath: GGUF, settings, port });
}

function mlxPlan(port: number): LaunchPlan {
  return {
    command: runtimes['mlx-lm'] ?? '',
    args: ['-I', '-m', 'mlx_lm', 'server', '--model', join(MLX, mlxFolder ?? ''), '--port', String(port)],
    // Nothing is looked up on a hub.
    env: { HF_HUB_OFFLINE: '1' },
    channel: 'http',
  };
}

interface Served {
  readonly process: StartedProcess;
  readonly port: number;
  readonly prepared: PreparedEngine;
}

async function serve(planFor: (port: number) => LaunchPlan, model: string): Promise<Served> {
  const port = await freePort();
  const process = await startProcess(planFor(port));
  const deadlineMs = performance.now() + LOAD_TIMEOUT_MS;
  for (;;) {
    const found = await engine.detect(hostWith(NO_ENVIRONMENT, { enginePath: `http://127.0.0.1:${port}/v1${model}` }));
    if (found.state === 'available')
      return { process, port, prepared: { engine, found, modelPath: GGUF, modelSha256: null } };
    if (performance.now() > deadlineMs)
      throw new TypeError(`no server: ${JSON.stringify(found)} ${process.stderrTail()}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function caseOf({ process, prepared }: Served): Promise<RunningCase> {
  const tokenizer = await loadTokenizer(GGUF);
  const body = tokenizer.encode(TEXT.repeat(20));
  const words = tokenizer.encode(WORDS);
  return {
    prepared,
    settings,
    bannedTokens: (await modelFacts(GGUF)).endTokenIds,
    promptTokens: (count, iteration) => [
      ...[0, 1, 2, 3].map((place) => words[(iteration + place) % words.length] ?? 0),
      ...body.slice(0, count - 4),
    ],
    promptText: (tokens) => tokenizer.decode([...tokens]),
    cleanup: async () => void (await process.stop(2_000)),
  };
}

describe.skipIf(missing['llama.cpp'] !== null)("llama.cpp's own server", () => {
  describeRunning({
    name: "openai, llama.cpp's server",
    prepare: async () => caseOf(await serve((port) => planOf(llamaServer, llamaRequest(port)), '')),
  });
});

describe.skipIf(missing.mlx !== null)('mlx_lm.server', () => {
  describeRunning({
    name: 'openai, mlx_lm.server',
    tokens: 12,
    hidesLogprobs: true,
    prepare: async () => caseOf(await serve(mlxPlan, '#default_model')),
  });
});

describe.skipIf(missing['llama.cpp'] !== null)('what the server itself says of the same prompts', () => {
  let served: Served;
  let own: EngineSession;
  let open: EngineSession;
  let given: RunningCase;
  beforeAll(async () => {
    served = await serve((port) => planOf(llamaServer, llamaRequest(port)), '');
    own = await llamaServer.connect(served.process, llamaRequest(served.port), LOAD_TIMEOUT_MS);
    open = await engine.connect(served.process, launchRequest(served.prepared.found), LOAD_TIMEOUT_MS);
    given = await caseOf(served);
  }, LOAD_TIMEOUT_MS);
  afterAll(async () => given?.cleanup?.());

  function ask(count: number): GenerateRequest {
    const promptTokens = given.promptTokens(count, count);
    const promptText = given.promptText?.(promptTokens) ?? '';
    return {
      promptTokens,
      promptText,
      generateTokens: 12,
      bannedTokens: given.bannedTokens,
      topLogprobs: 5,
      timeoutMs: 60_000,
    };
  }

  test('the text of the adapter is that of the ids that llama-server answers, and so are all counts', async () => {
    for (const count of [5, 33, 65]) {
      const [byIds, byText] = [await own.generate(ask(count)), await open.generate(ask(count))];
      expect(byText.text).toBe(given.promptText?.(byIds.tokens));
      expect([byText.promptTokenCount, byText.generatedTokenCount, byText.cachedTokenCount]).toEqual([count, 12, 0]);
      expect(byText.firstTokenLogprobs.map(({ logprob }) => logprob.toFixed(3))).toEqual(
        byIds.firstTokenLogprobs.map(({ logprob }) => logprob.toFixed(3)),
      );
    }
  });

  test('it says what it serves, which can only disprove', () => {
    expect(open.info).toMatchObject({ vocabularySize: 49_152, modelName: null, settings: { contextTokens: 1_024 } });
    expect(served.prepared.found.build.version).toMatch(/^running server of llamacpp, model runoff-[0-9a-f]+, Q4_0$/);
  });

  test('its process is the one that listens', async () => {
    expect((await realMachinery.memory(open.info.serverPid ?? null)).peakBytes).toBeGreaterThan(80e6);
  });

  test.skipIf(process.platform === 'win32')('killed in the middle of an answer: an error, at once', async () => {
    const outcome = codeOf(open.generate({ ...ask(33), generateTokens: 800 }));
    await new Promise((resolve) => setTimeout(resolve, 300));
    process.kill(open.info.serverPid ?? 0, 'SIGKILL');
    expect(await outcome).toBe('engine-request-failed');
  });
});
