import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { enginesOf, isInside, rungPath, serverAfterInstall, serverIn, withLibraryIds } from '../../src/app/ladder.ts';
import { makePlan, planDefaults } from '../../src/app/plan.ts';
import { askAgain } from '../../src/app/run.ts';
import { describePlan } from '../../src/cli/describe-plan.ts';
import type { EnvironmentLocator } from '../../src/core/engine.ts';
import { createRun } from '../../src/store/run-folder.ts';
import { engineFacts, manifestOf } from '../core/fixtures.ts';
import { simulate } from './simulation.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runoff-ladder-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const nothingFound = async (): Promise<boolean> => false;

function environments(root: string | null): EnvironmentLocator {
  return {
    inspect: async () =>
      root === null
        ? { state: 'absent', what: 'llama.cpp, compiled here', downloadBytes: 60e6 }
        : {
            state: 'ready',
            root,
            runtime: join(root, 'bin', 'python'),
            packages: { 'llama-cpp-python': '0.3.16', 'llama.cpp': '0c1e570' },
          },
  };
}

describe('the engines of a ladder', () => {
  test('bottom first, and llamafile only where it is found', async () => {
    const bottomUp = ['libllama', 'llama-cpp-python', 'llama-server', 'llama-cpp'];
    expect(await enginesOf({ ladder: true }, nothingFound)).toEqual(bottomUp);
    expect(await enginesOf({ ladder: true }, async (id) => id === 'llamafile')).toEqual([...bottomUp, 'llamafile']);
  });

  test('those asked for are the ladder, in the order given', async () => {
    const engines = ['llama-cpp', 'llama-server'];
    expect(await enginesOf({ ladder: true, engines }, nothingFound)).toEqual(engines);
  });

  test('without --ladder the default ones', async () => {
    expect(await enginesOf({}, nothingFound)).toEqual(['llama-cpp', 'llama-server', 'mlx-lm']);
  });
});

describe('the plan', () => {
  const context = {
    physicalCores: 2,
    randomSeed: 1,
    countFileTokens: async () => null,
    countStudyTokens: async () => 100,
  };

  test('has 10 minutes where nothing else is asked, and the default prompts', async () => {
    expect(planDefaults({ ladder: true }).budgetMs).toBe(600_000);
    expect(planDefaults({ ladder: true, budgetSeconds: 60 }).budgetMs).toBe(60_000);
    expect(planDefaults({ ladder: true, study: true }).budgetMs).toBe(1_200_000);
    expect(planDefaults({}).budgetMs).toBe(360_000);
    expect(planDefaults({ ladder: true }).prompts).toEqual(planDefaults({}).prompts);
  });

  test('records that it is a ladder', async () => {
    expect((await makePlan({ ladder: true }, context)).ladder).toBe(true);
    expect((await makePlan({}, context)).ladder).toBe(false);
  });
});

test('a stopped ladder goes on as one', async () => {
  const made = manifestOf([engineFacts('libllama')]);
  const run = join(folder, 'run');
  const log = await createRun(run, { ...made, plan: { ...made.plan, ladder: true } });
  await log.close();
  expect(await askAgain(run)).toMatchObject({ ladder: true, engines: ['libllama'] });
});

describe('one build', () => {
  const FACTS = (root: string) => [
    engineFacts('libllama', { location: join(root, 'bin', 'python') }),
    engineFacts('llama-cpp-python', { location: root }),
    engineFacts('llama-server', { location: join(root, 'bin', 'llama-server') }),
    engineFacts('llama-cpp', { location: '/cache/environments/node-llama-cpp' }),
    engineFacts('absent', { location: null }),
  ];

  test('is what lies in the shared environment', async () => {
    const root = '/cache/environments/llama-cpp-python';
    const facts = await withLibraryIds(FACTS(root), environments(root));
    expect(facts.map(({ libraryId }) => libraryId)).toEqual([
      'llama.cpp 0c1e570, compiled here for llama-cpp-python 0.3.16',
      'llama.cpp 0c1e570, compiled here for llama-cpp-python 0.3.16',
      'llama.cpp 0c1e570, compiled here for llama-cpp-python 0.3.16',
      undefined,
      undefined,
    ]);
  });

  test('is unknown while the environment is not there', async () => {
    const facts = await withLibraryIds(FACTS('/cache/x'), environments(null));
    expect(facts.every(({ libraryId }) => libraryId === undefined)).toBe(true);
  });

  test.each([
    ['/a/b', '/a/b', true],
    ['/a/b', '/a/b/c/d', true],
    ['/a/b', '/a/bc', false],
    ['/a/b', '/a', false],
    ['/a/b', '/a/b/../c', false],
    ['/a/b', '/a/b/..c', true],
    ['/a/b', 'c', false],
  ])('%s holds %s: %s', (outer, path, held) => {
    expect(isInside(outer, path)).toBe(held);
  });

  test('gives llama-server from the same source, and no other engine', async () => {
    const root = join(folder, 'environment');
    expect(await rungPath(environments(root))('llama-server')).toBeNull();
    const server = serverIn(root, process.platform);
    await mkdir(join(root, 'bin'), { recursive: true });
    await writeFile(server, '');
    expect(await rungPath(environments(root))('llama-server')).toBe(server);
    expect(await rungPath(environments(root))('llama-cpp')).toBeNull();
    expect(await rungPath(environments(null))('llama-server')).toBeNull();
  });

  test.each([
    ['linux', 'llama-server'],
    ['darwin', 'llama-server'],
    ['win32', 'llama-server.exe'],
  ] as const)('on %s the server is %s', (platform, name) => {
    expect(serverIn('/r', platform)).toBe(join('/r', 'bin', name));
  });
});

describe('before it starts', () => {
  test('a preview says that the compiled build brings its own server', () => {
    const server = { id: 'llama-server', text: 'xllamacpp 1' };
    const absent = { id: 'libllama', text: 'would install llama-cpp-python 0.3 (about 130 MB)' };
    expect(serverAfterInstall([absent, server])).toContain('llama-server then comes from the same build');
    expect(serverAfterInstall([{ ...absent, text: 'libllama 1' }, server])).toBeNull();
    expect(serverAfterInstall([{ ...absent, id: 'mlx-lm' }, server])).toBeNull();
    expect(serverAfterInstall([absent])).toBeNull();
  });

  const linesOf = (libraryIds: readonly (string | null)[]): string[] => {
    const engines = libraryIds.map((libraryId, index) =>
      engineFacts(`engine-${index}`, libraryId === null ? {} : { libraryId }),
    );
    const made = manifestOf(engines);
    const manifest = { ...made, plan: { ...made.plan, ladder: true } };
    const rest = { engines: [], bannedTokens: [], bosToken: null, modelReason: null, vocabularySize: 1, warnings: [] };
    const workload = { promptTokens: () => [], canonical: () => [], promptText: () => '' } as never;
    const lines = describePlan({ manifest, workload, ...rest }).split('\n');
    const from = lines.findIndex((line) => line.startsWith('Ladder'));
    return lines
      .slice(
        from,
        lines.findIndex((line) => line.startsWith('Prompts')),
      )
      .map((line) => line.trim());
  };

  test('it says what stands on one build', () => {
    expect(linesOf(['compiled here', 'compiled here', null])).toEqual([
      'Ladder    engine-0 (1.0.0), engine-1 (1.0.0), engine-2 (1.0.0); bottom first',
      'engine-0, engine-1: one build (compiled here)',
      'engine-2: as shipped, build + layer together',
    ]);
  });

  test('and that nothing does', () => {
    expect(linesOf([null, null])).toEqual([
      'Ladder    engine-0 (1.0.0), engine-1 (1.0.0); bottom first',
      'no two engines are known to share one build: each cost is of build + layer together',
    ]);
  });
});

test('a whole simulated run: the known cost of a rung comes out, and all planned blocks are used', async () => {
  const { record } = await simulate({
    engines: [{ id: 'bottom' }, { id: 'layer', decodeMsPerToken: 8.4, startMs: 500 }, { id: 'same' }],
    noise: { process: 0.005, request: 0.003 },
    plan: { seed: 5, blocks: 12, iterations: 3, budgetMs: 900_000, ladder: true },
  });
  const costs = record.ladder?.rungs.find(({ engine }) => engine === 'layer')?.costs ?? [];
  const decode = costs.find(({ metric }) => metric === 'decode');
  expect(record.blocks.accepted).toBe(12);
  expect(record.ladder).toMatchObject({ base: 'bottom', prompts: { short: 'standard', long: 'standard' } });
  expect(decode).toMatchObject({ state: 'costs', blockCount: 12 });
  expect(decode?.extraLow).toBeLessThan(400);
  expect(decode?.extraHigh).toBeGreaterThan(400);
  const same = record.ladder?.rungs.find(({ engine }) => engine === 'same');
  expect(same?.costs.find(({ metric }) => metric === 'decode')?.state).toBe('none');
  expect(same?.tokens.state).toBe('identical');
});
