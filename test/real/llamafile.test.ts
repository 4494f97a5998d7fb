/**
 * The adapter with the real model: a llamafile that is built here stands in for the genuine one, which no registry has. It
 * reads as a llamafile, starts through sh, takes its arguments, and serves with the real llama.cpp (docs/LLAMAFILE.md).
 * Skipped with the reason where llama-server is not installed.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { carriedModelSpec, ggufFor } from '../../src/app/carried-model.ts';
import { inspectProgram } from '../../src/app/inspect-program.ts';
import { realMachinery } from '../../src/app/machinery.ts';
import { demonstrationModel } from '../../src/app/demonstration-model.ts';
import { prepareModel } from '../../src/app/prepare-model.ts';
import type { AppError } from '../../src/core/errors.ts';
import { engine } from '../../src/engines/llamafile.ts';
import { engine as llamaServer } from '../../src/engines/llama-server.ts';
import { modelFacts } from '../../src/models/gguf/model-facts.ts';
import { loadTokenizer } from '../../src/models/tokenizer/load-tokenizer.ts';
import { createEnvironments } from '../../src/platform/environments/environments.ts';
import { cacheFolder } from '../../src/platform/folders.ts';
import { describeRunning } from '../engines/conformance.ts';
import type { RunningCase } from '../engines/conformance.ts';
import { hostWith, SETTINGS } from '../engines/describe-engine.ts';
import { detectFake } from '../fixtures/llamafile/fake-llamafile-server.ts';
import { buildConformanceLlamafile, servingPython } from '../fixtures/llamafile/conformance.ts';
import { tinyModel } from '../fixtures/model/tiny-model.ts';

const GGUF = demonstrationModel(cacheFolder());
const TEXT = 'The river runs past the mill where the miller counts his sacks of flour every evening before supper. ';
const settings = { ...SETTINGS, threads: 2 };
const BUILD_TIMEOUT_MS = 60_000;

const python = await servingPython();
const reason =
  python === null ? 'llama-server is not installed' : existsSync(GGUF) ? null : 'the default model is not in the cache';

let folder = '';
/** By name: the versions whose dialect they take, with the model inside or beside. */
const CASES = [
  { name: 'a .llamafile of 0.9.3, model inside', file: 'old.llamafile', version: '0.9.3', inside: true },
  { name: 'llamafile 0.9.3 with a GGUF', file: 'old', version: '0.9.3', inside: false },
  { name: 'a .llamafile of 0.10, model inside', file: 'new.llamafile', version: '0.10.2', inside: true },
  { name: 'llamafile 0.10 with a GGUF', file: 'new', version: '0.10.2', inside: false },
] as const;

if (reason !== null) console.log(`test/real/llamafile: skipped: ${reason}`);

describe.skipIf(reason !== null)('a llamafile with the real model', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'runoff-conformance-'));
    for (const { file, version, inside } of CASES) {
      const model = inside ? GGUF : null;
      await buildConformanceLlamafile({ out: join(folder, file), python: python ?? '', version, model });
    }
  }, BUILD_TIMEOUT_MS);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  for (const item of CASES) describeRunning({ name: item.name, prepare: () => realCase(item) });
  describeModels();
});

async function realCase({ file, inside }: (typeof CASES)[number]): Promise<RunningCase> {
  const location = join(folder, file);
  const found = await detectFake(location);
  const { endTokenIds } = await modelFacts(GGUF);
  const tokenizer = await loadTokenizer(GGUF);
  const body = tokenizer.encode(TEXT.repeat(20));
  const words = tokenizer.encode(' north south east west spring summer autumn winter');
  return {
    prepared: { engine, found, modelPath: inside ? location : GGUF, modelSha256: null },
    settings,
    bannedTokens: endTokenIds,
    promptTokens: (count, iteration) => [
      ...[0, 1, 2, 3].map((place) => words[(iteration + place) % words.length] ?? 0),
      ...body.slice(0, count - 4),
    ],
  };
}

function describeModels(): void {
  describe('the model inside', () => {
    const ui = { line: () => {}, status: () => {}, done: () => {} };
    const ask = async (spec: string) => ({
      spec,
      cacheFolder: await mkdtemp(join(folder, 'cache-')),
      python: null,
      offlineBecause: null,
      signal: new AbortController().signal,
      ui,
    });
    const foundAt = async (path: string) => ({ engine, found: await detectFake(path) });

    test('it is the model of the run, and every other engine gets the same bytes', async () => {
      const path = join(folder, 'old.llamafile');
      const item = await foundAt(path);
      const spec = carriedModelSpec([item]);
      expect(spec).toBe(`${path}:SmolLM2-135M-Instruct.Q4_0.gguf`);
      const modelAsk = await ask(spec ?? '');
      const model = await prepareModel(modelAsk);
      const original = await prepareModel({ ...modelAsk, spec: GGUF });
      expect(model.facts).toMatchObject({
        sha256: original.facts.sha256,
        fingerprint: original.facts.fingerprint,
        derivedBy: 'taken out of old.llamafile by runoff, byte for byte',
      });
      expect(await ggufFor(item, model, modelAsk)).toBe(path);
      expect(await ggufFor(item, original, modelAsk)).toBe(path);
    });

    test('with another model than the run, it is refused with what to do', async () => {
      const path = join(folder, 'old.llamafile');
      const modelAsk = await ask(await tinyModel());
      const refused = ggufFor(await foundAt(path), await prepareModel(modelAsk), modelAsk);
      await expect(refused).rejects.toMatchObject({
        code: 'model-unsupported',
        message:
          'old.llamafile holds SmolLM2-135M-Instruct.Q4_0.gguf, which is not Tiny-Test.Q4_0, the model of this run',
      } satisfies Partial<AppError>);
    });

    test('an engine without a model takes any, and several carriers decide nothing', async () => {
      const bare = await foundAt(join(folder, 'old'));
      expect(carriedModelSpec([bare])).toBeNull();
      const both = [await foundAt(join(folder, 'old.llamafile')), await foundAt(join(folder, 'new.llamafile'))];
      expect(carriedModelSpec(both)).toBeNull();
    });
  });

  test('a prompt that does not fit is cut, and both the count and the flag tell', async () => {
    const path = join(folder, 'old.llamafile');
    const running = await realMachinery.start(
      { engine, found: await detectFake(path), modelPath: path, modelSha256: null },
      { ...settings, contextTokens: 256 },
      BUILD_TIMEOUT_MS,
    );
    try {
      const promptTokens = (await loadTokenizer(GGUF)).encode(TEXT.repeat(20)).slice(0, 300);
      const ask = { promptTokens, generateTokens: 4, bannedTokens: [], topLogprobs: 0, timeoutMs: 60_000 };
      expect(await running.session.generate(ask)).toMatchObject({ promptTokenCount: 172, truncated: true });
    } finally {
      await running.stop();
    }
  });

  test('greedy text is that of the same llama.cpp without a llamafile around it', async () => {
    const tokenizer = await loadTokenizer(GGUF);
    const { endTokenIds } = await modelFacts(GGUF);
    const promptTokens = tokenizer.encode(TEXT);
    const environments = createEnvironments({ cacheFolder: cacheFolder(), onProgress() {} });
    const server = await llamaServer.detect({ ...hostWith(await environments.inspect('xllamacpp')), inspectProgram });
    if (server.state !== 'available') throw new TypeError('llama-server is installed');
    const say = async (prepared: Parameters<typeof realMachinery.start>[0]) => {
      const running = await realMachinery.start(prepared, settings, BUILD_TIMEOUT_MS);
      try {
        const ask = { promptTokens, generateTokens: 32, bannedTokens: endTokenIds, topLogprobs: 0, timeoutMs: 60_000 };
        const { text, tokens } = await running.session.generate(ask);
        return text ?? tokenizer.decode([...tokens]);
      } finally {
        await running.stop();
      }
    };
    const path = join(folder, 'old.llamafile');
    const inside = await say({ engine, found: await detectFake(path), modelPath: path, modelSha256: null });
    const bare = await say({ engine: llamaServer, found: server, modelPath: GGUF, modelSha256: null });
    expect(inside).toBe(bare);
  });
}
