/** Every generation of llamafile's servers, behaving as recorded, through the machinery that measures them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'vitest';
import type { PreparedEngine } from '../../src/app/machinery.ts';
import { engine } from '../../src/engines/llamafile.ts';
import { detectFake, GENERATIONS, installFakeLlamafile, textOf } from '../fixtures/llamafile/fake-llamafile-server.ts';
import type { FakeLlamafileServer } from '../fixtures/llamafile/fake-llamafile-server.ts';
import type { FakeServer } from '../fixtures/llama-server/fake-server.ts';
import { tinyModel } from '../fixtures/model/tiny-model.ts';
import { describeRunning } from './conformance.ts';
import type { RunningCase } from './conformance.ts';
import { SETTINGS } from './describe-engine.ts';

type Faults = Record<'truncation' | 'prompt-cache' | 'early-end' | 'token-count', FakeLlamafileServer>;

const V1_FAULTS: Faults = {
  truncation: { fault: 'truncate', truncateTo: 20 },
  'prompt-cache': { fault: 'cache' },
  'early-end': { fault: 'early-end' },
  'token-count': { fault: 'hidden-cut', truncateTo: 20 },
};
const V2_FAULTS: Faults = {
  ...V1_FAULTS,
  'prompt-cache': { fault: 'sticky-cache' },
  'token-count': { fault: 'double-bos' },
};
const newest = (llamaServer: FakeServer): FakeLlamafileServer => ({ llamaServer });
const NEWEST_FAULTS: Faults = {
  truncation: newest({ fault: 'truncate', truncateTo: 20 }),
  'prompt-cache': newest({ fault: 'cache' }),
  'early-end': newest({ fault: 'early-end' }),
  'token-count': newest({ fault: 'double-bos' }),
};
const FAULTS = { v1: V1_FAULTS, v2: V2_FAULTS, 'llama-server': NEWEST_FAULTS };

for (const [name, generation] of Object.entries(GENERATIONS)) {
  describe(`generation ${name}`, () => {
    describeRunning({ name: 'llamafile', prepare: () => fakeCase(generation) });
  });
}

async function fakeCase(generation: FakeLlamafileServer & { api: keyof typeof FAULTS }): Promise<RunningCase> {
  const folders: string[] = [];
  const modelPath = await tinyModel();
  const prepared = async (behaviour: FakeLlamafileServer): Promise<PreparedEngine> => {
    const folder = await mkdtemp(join(tmpdir(), 'runoff-llamafile-'));
    folders.push(folder);
    const path = await installFakeLlamafile(folder, {
      prefillMsPerToken: 1,
      decodeMsPerToken: 1,
      ...generation,
      ...behaviour,
    });
    return { engine, found: await detectFake(path), modelPath, modelSha256: null };
  };
  const faults = await Promise.all(
    Object.entries(FAULTS[generation.api]).map(async ([gate, fault]) => [gate, await prepared(fault)] as const),
  );
  return {
    prepared: await prepared({}),
    settings: SETTINGS,
    bannedTokens: [0, 1],
    // Another start in every iteration, as a nonce does it.
    promptTokens: (count, iteration) =>
      Array.from({ length: count }, (_, index) => 20 + ((index + (index < 4 ? 100 * (iteration + 1) : 0)) % 800)),
    promptText: textOf,
    faulty: Object.fromEntries(faults),
    cleanup: async () => {
      for (const folder of folders) await rm(folder, { recursive: true, force: true });
    },
  };
}
