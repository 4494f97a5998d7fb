import { describe, expect, test } from 'vitest';
import { lookAtEngines, prepareEngines } from '../../src/app/prepare-engines.ts';
import type { EngineAsk } from '../../src/app/prepare-engines.ts';
import { installQuestion } from '../../src/cli/ask.ts';
import type { Environments } from '../../src/platform/environments/environments.ts';

const WHAT = 'llama-cpp-python 0.3.36 (compiled here, about 10 minutes)';

interface Seen {
  readonly questions: string[];
  readonly installed: string[];
}

function environments(seen: Seen, compileMinutes: number | null): Environments {
  const absent = { state: 'absent' as const, what: WHAT, downloadBytes: 130_000_000 };
  const ready = {
    state: 'ready' as const,
    root: '/cache/e',
    runtime: '/cache/e/bin/python',
    packages: { 'llama-cpp-python': '0.3.36' },
  };
  return {
    inspect: async (id) => {
      if (seen.installed.includes(id)) return ready;
      return compileMinutes === null ? absent : { ...absent, compileMinutes };
    },
    ensure: async (id) => {
      seen.installed.push(id);
      return ready;
    },
    remove: async () => {},
    list: async () => [],
  };
}

async function prepare(
  flags: { yes: boolean; install: boolean; compile?: boolean },
  compileMinutes: number | null = 10,
) {
  const seen: Seen = { questions: [], installed: [] };
  const decide = installQuestion(flags);
  const lines: string[] = [];
  const ask: EngineAsk = {
    engines: ['llama-cpp-python'],
    enginePaths: new Map(),
    environments: environments(seen, compileMinutes),
    mayInstall: async (question, minutes) => {
      seen.questions.push(question);
      return decide(question, minutes);
    },
    signal: new AbortController().signal,
    ui: { line: (text) => void lines.push(text), status() {}, done() {} },
  };
  const { found, facts } = await prepareEngines(ask);
  return { found, fact: facts[0], lines, ...seen };
}

describe('an engine that is compiled', () => {
  test('is asked for with the minutes, and installed', async () => {
    const { found, questions, installed } = await prepare({ yes: true, install: true });
    expect(questions).toEqual([`Install ${WHAT} for llama-cpp-python (about 130 MB, kept in the cache)?`]);
    expect(installed).toEqual(['llama-cpp-python']);
    expect(found).toHaveLength(1);
  });

  test('is left out by --no-compile, with the next step', async () => {
    const { found, fact, lines, installed } = await prepare({ yes: true, install: true, compile: false });
    expect(found).toEqual([]);
    expect(installed).toEqual([]);
    expect(fact).toMatchObject({
      state: 'unavailable',
      reason: `${WHAT} is not installed`,
      nextStep: 'Run without --no-install and --no-compile.',
    });
    expect(lines).toEqual([
      `llama-cpp-python: not available: ${WHAT} is not installed. Next: run without --no-install and --no-compile.`,
    ]);
  });

  test('is left out by --no-install, too', async () => {
    expect((await prepare({ yes: true, install: false })).installed).toEqual([]);
  });

  test('a preview says so and installs nothing', async () => {
    const seen: Seen = { questions: [], installed: [] };
    const places = { enginePaths: new Map(), environments: environments(seen, 10) };
    expect(await lookAtEngines({ ...places, engines: ['llama-cpp-python'] })).toMatchObject([
      { id: 'llama-cpp-python', text: `would install ${WHAT} (about 130 MB)`, isInstallable: true, found: null },
    ]);
    expect(seen.installed).toEqual([]);
  });
});

test('--no-compile leaves in what comes ready-made', async () => {
  expect((await prepare({ yes: true, install: true, compile: false }, null)).installed).toEqual(['llama-cpp-python']);
  expect(await installQuestion({ yes: true, install: true, compile: false })('Install a wheel?')).toBe(true);
  expect(await installQuestion({ yes: true, install: true, compile: false })('Install it?', 0)).toBe(false);
});
