import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  coldStartMs,
  coldStartPrompt,
  keepColdStart,
  measureColdStart,
  readColdStarts,
} from '../../src/app/cold-start.ts';
import type { ColdStart, ColdStartAsk } from '../../src/app/cold-start.ts';
import type { Machinery } from '../../src/app/machinery.ts';
import type { Generation, GenerateRequest } from '../../src/core/engine.ts';
import type { Machine } from '../../src/core/record.ts';
import { SETTINGS } from '../core/fixtures.ts';
import { fixtureEngine } from '../fixtures/engines/fixture-engine.ts';

const PROMPT = { promptTokens: [1, 2, 3, 4, 5, 6, 7, 8], promptText: 'The house', bannedTokens: [0] };

function answer(eventMs: readonly number[]): Generation {
  return {
    tokens: eventMs.map(() => 5),
    eventMs,
    eventTokenCounts: eventMs.map(() => 1),
    promptTokenCount: 8,
    cachedTokenCount: 0,
    truncated: null,
    engineTimings: null,
    firstTokenLogprobs: [],
  };
}

/** Every start takes the next of these load times; the first token comes 10 ms after the request. */
function machineryOf(loadsMs: readonly number[], eventMs: readonly number[] = [10, 25]) {
  const events: string[] = [];
  const requests: GenerateRequest[] = [];
  let start = 0;
  const machinery: Pick<Machinery, 'start' | 'warmPageCache'> = {
    warmPageCache: async (path) => void events.push(`warm ${path}`),
    start: async (prepared) => {
      const loadMs = loadsMs[start++] ?? Number.NaN;
      events.push('start');
      return {
        session: {
          info: {
            settings: {},
            build: prepared.found.build,
            device: 'cpu',
            vocabularySize: null,
            modelName: null,
            engineLoadMs: null,
            numericMode: 'none',
          },
          generate: async (request) => {
            events.push('generate');
            requests.push(request);
            return answer(eventMs);
          },
        },
        pid: 1,
        loadMs,
        command: [],
        stop: async () => void events.push('stop'),
      };
    },
  };
  return { machinery: machinery as Machinery, events, requests };
}

async function askOf(changes: Partial<ColdStartAsk> = {}): Promise<ColdStartAsk> {
  const engine = fixtureEngine('alpha');
  const found = await engine.detect({
    enginePath: null,
    findOnPath: () => null,
    inspectProgram: () => Promise.reject(new TypeError('no program is read')),
    environments: { inspect: async () => ({ state: 'absent', what: '', downloadBytes: 0 }) },
  });
  if (found.state !== 'available') throw new TypeError('the fixture engine is always there');
  return {
    prepared: { engine, found, modelPath: '/models/m.gguf', modelSha256: null },
    settings: SETTINGS,
    prompt: PROMPT,
    signal: new AbortController().signal,
    ui: { line() {}, status() {}, done() {} },
    ...changes,
  };
}

describe('measuring', () => {
  test('four fresh processes on a warm page cache; the first does not count', async () => {
    const { machinery, events } = machineryOf([9_000, 300, 310, 290]);
    const result = await measureColdStart(machinery, await askOf());
    expect(events).toEqual([
      'warm /models/m.gguf',
      ...Array.from({ length: 4 }, () => ['start', 'generate', 'stop']).flat(),
    ]);
    expect(result).toEqual({ startsMs: [310, 320, 300], device: 'cpu' });
    expect(coldStartMs(result)).toBe(310);
  });

  test('an engine that takes token ids gets no text', async () => {
    const { machinery, requests } = machineryOf([1, 1, 1, 1]);
    await measureColdStart(machinery, await askOf());
    expect(requests[0]?.promptTokens).toEqual(PROMPT.promptTokens);
    expect(requests[0]).not.toHaveProperty('promptText');
  });

  test('a process that answers nothing is stopped, and that is an error', async () => {
    const { machinery, events } = machineryOf([1], []);
    await expect(measureColdStart(machinery, await askOf())).rejects.toMatchObject({ code: 'engine-protocol' });
    expect(events.at(-1)).toBe('stop');
  });

  test('Ctrl-C ends it before the next start', async () => {
    const { machinery, events } = machineryOf([1]);
    const controller = new AbortController();
    controller.abort();
    const ask = await askOf({ signal: controller.signal });
    await expect(measureColdStart(machinery, ask)).rejects.toMatchObject({ code: 'interrupted' });
    expect(events).not.toContain('start');
  });
});

describe('the prompt', () => {
  /** One token per word. */
  const tokenizer = {
    encode: (text: string) => text.split(' ').map((_, index) => 100 + index),
    decode: (ids: readonly number[]) => ids.map((id) => `w${id}`).join(' '),
  };

  test('eight tokens, with a BOS where the model wants one', () => {
    const without = coldStartPrompt(tokenizer, { addBos: false, bosTokenId: 1, endTokenIds: [2] });
    expect(without).toEqual({
      promptTokens: [100, 101, 102, 103, 104, 105, 106, 107],
      promptText: 'w100 w101 w102 w103 w104 w105 w106 w107',
      bannedTokens: [2],
    });
    const withBos = coldStartPrompt(tokenizer, { addBos: true, bosTokenId: 1, endTokenIds: [2] });
    expect(withBos.promptTokens).toEqual([1, 100, 101, 102, 103, 104, 105, 106]);
    expect(withBos.promptText).not.toContain('w1 ');
  });

  test('a tokenizer that makes fewer is refused', () => {
    const one = { encode: () => [7], decode: () => '' };
    expect(() => coldStartPrompt(one, { addBos: false, bosTokenId: null, endTokenIds: [] })).toThrow('makes 1 tokens');
  });
});

describe('what is kept', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'runoff-cold-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const machine = { os: 'Debian 12', cpu: 'CPU', physicalCores: 2 } as Machine;
  const entry: ColdStart = {
    schemaVersion: 1,
    engine: 'llama-cpp',
    version: 'node-llama-cpp 3.21.1',
    device: 'cpu',
    model: { name: 'm', sha256: 'a'.repeat(64) },
    machine: { os: machine.os, cpu: machine.cpu, physicalCores: machine.physicalCores },
    threads: 2,
    promptTokens: 8,
    date: '2026-11-25',
    startsMs: [300, 310, 320],
  };

  test('one file per machine, version and model; measured again it is replaced', async () => {
    await keepColdStart(folder, entry);
    await keepColdStart(folder, { ...entry, startsMs: [1, 2, 3] });
    await keepColdStart(folder, { ...entry, version: 'node-llama-cpp 4.0.0' });
    await keepColdStart(folder, { ...entry, machine: { ...entry.machine, cpu: 'another' } });
    expect(await readdir(folder)).toHaveLength(3);
    const read = await readColdStarts(folder, machine);
    // Not the other machine's.
    expect(read.map(({ machine: { cpu } }) => cpu)).toEqual(['CPU', 'CPU']);
    expect(Object.fromEntries(read.map(({ version, startsMs }) => [version, startsMs]))).toEqual({
      'node-llama-cpp 3.21.1': [1, 2, 3],
      'node-llama-cpp 4.0.0': [300, 310, 320],
    });
  });

  test('files that cannot be read are passed over', async () => {
    const before = await readColdStarts(folder, machine);
    await writeFile(join(folder, 'torn.json'), '{"schemaVersion":1,');
    await writeFile(join(folder, 'future.json'), JSON.stringify({ ...entry, schemaVersion: 2 }));
    await writeFile(join(folder, 'negative.json'), JSON.stringify({ ...entry, startsMs: [-1] }));
    await writeFile(join(folder, 'empty.json'), JSON.stringify({ ...entry, startsMs: [] }));
    await writeFile(join(folder, 'large.json'), JSON.stringify({ ...entry, more: 'x'.repeat(100_000) }));
    expect(await readColdStarts(folder, machine)).toEqual(before);
  });

  test('no folder is nothing measured', async () => {
    expect(await readColdStarts(join(folder, 'none'), machine)).toEqual([]);
  });
});
