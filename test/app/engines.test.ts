import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { installEngines, overviewEngines, removeEngines, sharing } from '../../src/app/engines.ts';
import type { InstallAsk } from '../../src/app/engines.ts';
import { prepareEngines } from '../../src/app/prepare-engines.ts';
import type { Ui } from '../../src/app/ui.ts';
import { AppError } from '../../src/core/errors.ts';
import type { Environments, ReadyEnvironment } from '../../src/platform/environments/environments.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runoff-engines-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Inspection = Awaited<ReturnType<Environments['inspect']>>;
const READY: ReadyEnvironment = {
  state: 'ready',
  root: '/cache/environments/node-llama-cpp',
  runtime: '/usr/bin/node',
  packages: { 'node-llama-cpp': '3.21.1' },
};
const ABSENT: Inspection = { state: 'absent', what: 'llama.cpp in Node.js', downloadBytes: 60e6 };

/** Environments of one state, which becomes ready when it is made; `calls` tells what was done to them. */
function fakeEnvironments(
  first: Inspection,
  bytes = 150e6,
  failure?: Error,
): Environments & { readonly calls: string[] } {
  const calls: string[] = [];
  let state = first;
  return {
    calls,
    inspect: async () => state,
    ensure: async (id) => {
      calls.push(`ensure ${id}`);
      if (failure !== undefined) throw failure;
      state = READY;
      return READY;
    },
    remove: async (id) => void calls.push(`remove ${id}`),
    list: async () => [
      { id: 'node-llama-cpp', title: 'llama.cpp in Node.js', state: state.state, root: READY.root, bytes },
    ],
  };
}

function quietUi(): Ui & { readonly lines: string[] } {
  const lines: string[] = [];
  return { lines, line: (text) => void lines.push(text), status() {}, done() {} };
}

function installAsk(
  environments: Environments,
  ui: Ui,
  answer = true,
  specs = ['llama-cpp'],
): InstallAsk & { questions: string[] } {
  const questions: string[] = [];
  return {
    specs,
    enginePaths: new Map(),
    environments,
    questions,
    mayInstall: async (question) => {
      questions.push(question);
      return answer;
    },
    signal: new AbortController().signal,
    ui,
  };
}

describe('installing', () => {
  test('asks with name and size, installs, and says what is there', async () => {
    const [environments, ui] = [fakeEnvironments(ABSENT), quietUi()];
    const ask = installAsk(environments, ui);
    await installEngines(ask);
    expect(ask.questions).toEqual(['Install llama.cpp in Node.js for llama-cpp (about 60 MB, kept in the cache)?']);
    expect(environments.calls).toEqual(['ensure node-llama-cpp']);
    expect(ui.lines.at(-1)).toBe('✓ llama-cpp: node-llama-cpp 3.21.1');
  });

  test('what is there already is left alone', async () => {
    const [environments, ui] = [fakeEnvironments(READY), quietUi()];
    const ask = installAsk(environments, ui);
    await installEngines(ask);
    expect([environments.calls, ask.questions]).toEqual([[], []]);
    expect(ui.lines).toEqual([
      'llama-cpp: there already, not from runoff (/cache/environments/node-llama-cpp): node-llama-cpp 3.21.1',
    ]);
  });

  test('no is no, and no failure', async () => {
    const [environments, ui] = [fakeEnvironments(ABSENT), quietUi()];
    await installEngines(installAsk(environments, ui, false));
    expect(environments.calls).toEqual([]);
    expect(ui.lines).toEqual(['llama-cpp: left as it is']);
  });

  test('an unknown id is told before anything is installed', async () => {
    const [environments, ui] = [fakeEnvironments(ABSENT), quietUi()];
    const ask = installAsk(environments, ui, true, ['llama-cpp', 'llamacpp']);
    await expect(installEngines(ask)).rejects.toMatchObject({ code: 'usage' });
    expect(environments.calls).toEqual([]);
  });

  test('what cannot be installed fails with its reason', async () => {
    const impossible = { state: 'impossible', reason: 'MLX has no Windows build', nextStep: 'Use a Mac.' } as const;
    const ui = quietUi();
    const ask = installAsk(fakeEnvironments(impossible), ui, true, ['mlx-lm']);
    await expect(installEngines(ask)).rejects.toMatchObject({
      code: 'engine-unavailable',
      message: 'not installed: mlx-lm',
    });
    expect(ui.lines).toEqual(['mlx-lm: cannot be installed: MLX has no Windows build. Next: Use a Mac.']);
  });

  test('a failed installation fails, with the reason and the next step', async () => {
    const failure = new AppError('environment-failed', 'the disk is full', { hint: 'Free some space.' });
    const ui = quietUi();
    await expect(installEngines(installAsk(fakeEnvironments(ABSENT, 0, failure), ui))).rejects.toMatchObject({
      code: 'engine-unavailable',
    });
    expect(ui.lines.at(-1)).toBe('llama-cpp: not available: the disk is full. Next: Free some space.');
  });
});

describe('what a run keeps', () => {
  test.each([
    ['available', READY],
    ['missing', ABSENT],
  ])('the shipping facts of an engine that is %s', async (_, state) => {
    const ask = installAsk(fakeEnvironments(state), quietUi(), false);
    const { facts } = await prepareEngines({ ...ask, engines: ask.specs });
    expect(facts[0]?.shipping?.license).toMatchObject({ value: 'MIT', date: '2026-11-25' });
  });
});

describe('removing', () => {
  const remove = async (ids: string[], environments: Environments, answer = true) => {
    const [ui, questions] = [quietUi(), [] as string[]];
    const mayRemove = async (question: string): Promise<boolean> => {
      questions.push(question);
      return answer;
    };
    await removeEngines({ ids, environments, mayRemove, ui });
    return { lines: ui.lines, questions };
  };

  /** An adapter in a file of its own. */
  const adapterFile = async (id: string, environment: string | null): Promise<string> => {
    const path = join(folder, `${id}.mjs`);
    await writeFile(path, `export const engine = ${JSON.stringify({ id, title: id, environment })};\n`);
    return path;
  };

  test('says what was freed', async () => {
    const environments = fakeEnvironments(READY);
    const { lines, questions } = await remove(['llama-cpp'], environments);
    expect(environments.calls).toEqual(['remove node-llama-cpp']);
    expect(questions[0]).toContain('Remove llama.cpp in Node.js (150 MB)?');
    expect(lines[0]).toContain('removed llama.cpp in Node.js, 150 MB freed');
  });

  test('names the engines that live in the same environment, before and after', async () => {
    const twin = await adapterFile('twin', 'node-llama-cpp');
    const { lines, questions } = await remove([twin], fakeEnvironments(READY));
    expect(questions[0]).toMatch(/Without it .*\bllama-cpp\b.* cannot run either\.$/);
    expect(lines[0]).toMatch(/^twin, .*llama-cpp.*: removed/);
  });

  test('two engines of one environment are asked about once', async () => {
    const twin = await adapterFile('other-twin', 'node-llama-cpp');
    const environments = fakeEnvironments(READY);
    const { questions } = await remove(['llama-cpp', twin], environments);
    expect(questions).toHaveLength(1);
    expect(environments.calls).toEqual(['remove node-llama-cpp']);
  });

  test('no is no', async () => {
    const environments = fakeEnvironments(READY);
    expect((await remove(['llama-cpp'], environments, false)).lines).toEqual(['llama-cpp: left as it is']);
    expect(environments.calls).toEqual([]);
  });

  test('nothing there is said, not asked', async () => {
    const environments = fakeEnvironments(ABSENT, 0);
    const { lines, questions } = await remove(['llama-cpp'], environments);
    expect([questions, environments.calls]).toEqual([[], []]);
    expect(lines).toEqual(['llama-cpp: nothing to remove: llama.cpp in Node.js is not installed']);
  });

  test('an engine that runoff does not manage is refused before anything is removed', async () => {
    const environments = fakeEnvironments(READY);
    const own = await adapterFile('own', null);
    await expect(remove(['llama-cpp', own], environments)).rejects.toMatchObject({
      code: 'usage',
      message: 'own is not managed by runoff: there is nothing that it installed',
    });
    expect(environments.calls).toEqual([]);
  });

  test('sharing is by environment; engines without one share nothing', () => {
    const all = [
      { id: 'a', environment: 'x' },
      { id: 'b', environment: 'x' },
      { id: 'c', environment: null },
      { id: 'd', environment: null },
    ];
    expect(all.map((engine) => sharing(engine, all))).toEqual([['b'], ['a'], [], []]);
  });
});

test('engines that can be installed are listed as such, and nothing is installed', async () => {
  const environments = fakeEnvironments(ABSENT);
  const overviews = await overviewEngines(['llama-cpp', 'mlx-lm'], { enginePaths: new Map(), environments });
  expect(overviews.map(({ id, detection }) => [id, detection.state])).toEqual([
    ['llama-cpp', 'installable'],
    ['mlx-lm', 'installable'],
  ]);
  expect(environments.calls).toEqual([]);
});
