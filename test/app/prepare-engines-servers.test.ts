/** Several running servers in one run. */
import { afterEach, describe, expect, test } from 'vitest';
import { prepareEngines } from '../../src/app/prepare-engines.ts';
import type { EngineAsk } from '../../src/app/prepare-engines.ts';
import { startFakeOpenAi } from '../fixtures/openai/fake-openai.ts';
import type { RunningFake } from '../fixtures/openai/fake-openai.ts';

const running: RunningFake[] = [];

afterEach(async () => {
  for (const fake of running.splice(0)) await fake.stop();
});

async function address(models: readonly string[]): Promise<string> {
  const fake = await startFakeOpenAi({ kind: 'lm-studio', models });
  running.push(fake);
  return fake.base;
}

function prepare(engines: readonly string[]): ReturnType<typeof prepareEngines> {
  const ask = {
    engines,
    enginePaths: new Map(),
    environments: {} as EngineAsk['environments'],
    mayInstall: async () => false,
    signal: new AbortController().signal,
    ui: { line() {}, status() {}, done() {} },
  };
  return prepareEngines(ask);
}

describe('running servers', () => {
  test('two addresses are two engines', async () => {
    const [first, second] = [await address(['a']), await address(['b'])];
    const { found, facts } = await prepare([`openai=${first}`, `openai=${second}`]);
    expect(found.map(({ engine, found: { location } }) => [engine.id, location])).toEqual([
      ['openai', `${first}#a`],
      ['openai-2', `${second}#b`],
    ]);
    expect(facts.map(({ id, runningInstance }) => [id, runningInstance])).toEqual([
      ['openai', true],
      ['openai-2', true],
    ]);
  });

  test('two models of one server are two engines', async () => {
    const base = await address(['a', 'b']);
    const { facts } = await prepare([`openai=${base}#a`, `openai=${base}#b`]);
    expect(facts.map(({ id, location }) => [id, location])).toEqual([
      ['openai', `${base}#a`],
      ['openai-2', `${base}#b`],
    ]);
  });

  test('the same model of the same server is not', async () => {
    const base = await address(['a']);
    await expect(prepare([`openai=${base}`, `openai=${base}#a`])).rejects.toMatchObject({
      code: 'usage',
      message: `openai=${base}#a is given twice`,
    });
  });
});
