import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { buildFromVersion, expectedDevice } from '../../src/app/doctor-engines.ts';
import { isLlamafilePath, lookAtModel, ownHazards, shapeOf } from '../../src/app/doctor-model.ts';
import { partNames } from '../../src/models/gguf/parts.ts';
import { closing, describeDiagnosis } from '../../src/app/doctor-text.ts';
import type { Diagnosis } from '../../src/core/doctor/finding.ts';
import type { GgufValue } from '../../src/models/gguf/metadata.ts';
import { writeModel } from '../models/fixture.ts';

const FIXTURES = fileURLToPath(new URL('../models/fixtures/', import.meta.url));

describe('a model', () => {
  test('its sizes, from a real header', async () => {
    const look = await lookAtModel(`${FIXTURES}tiny-qwen3.gguf`, [{ path: '/', type: 'ext4', options: [] }]);
    if (look.state !== 'readable') throw new TypeError(look.message);
    const { shape, tokenizer, fileSystem, hazards } = look;
    expect({ ...shape, weightBytes: 0 }).toMatchInlineSnapshot(`
      {
        "architecture": "qwen3",
        "embedding": 64,
        "feedForward": 64,
        "keyLength": 16,
        "kvHeads": [
          2,
        ],
        "kvIsUpperBound": false,
        "layers": 1,
        "valueLength": 16,
        "vocabulary": 40,
        "weightBytes": 0,
      }
    `);
    expect(shape.weightBytes).toBeLessThan(look.fileBytes);
    expect(shape.weightBytes).toBeGreaterThan(look.fileBytes / 2);
    expect([fileSystem, hazards]).toEqual(['ext4', null]);
    expect(tokenizer).toMatchInlineSnapshot(`
      {
        "isKnownHere": true,
        "kind": "gpt2",
        "preTokenizer": "smollm",
      }
    `);
  });

  test('a file that is no model is a finding', async () => {
    const look = await lookAtModel(fileURLToPath(import.meta.url), []);
    expect(look).toMatchObject({ state: 'unreadable', missingBytes: null });
    expect(look.state === 'unreadable' && look.message).toContain('not with "GGUF"');
  });

  const shape = (entries: Record<string, GgufValue>): ReturnType<typeof shapeOf> =>
    shapeOf({
      tensors: [],
      metadata: new Map([['general.architecture', { type: 'string', value: 'x' }], ...Object.entries(entries)]),
    });
  const u32 = (value: number): GgufValue => ({ type: 'u32', value });

  test('without grouped heads, every head keeps its keys and values', () => {
    const found = shape({ 'x.block_count': u32(2), 'x.embedding_length': u32(512), 'x.attention.head_count': u32(8) });
    expect(found).toMatchObject({ kvHeads: [8, 8], keyLength: 64, valueLength: 64, kvIsUpperBound: false });
  });

  test('heads by layer, lengths of their own, a window', () => {
    const found = shape({
      'x.block_count': u32(3),
      'x.attention.head_count': u32(8),
      'x.attention.head_count_kv': { type: 'array', itemType: 'i32', items: [0, 2, 4] },
      'x.attention.key_length': u32(192),
      'x.attention.value_length': u32(128),
      'x.attention.sliding_window': u32(1_024),
      'x.feed_forward_length': { type: 'array', itemType: 'i32', items: [100, 300, 200] },
    });
    expect(found).toMatchObject({
      kvHeads: [0, 2, 4],
      keyLength: 192,
      valueLength: 128,
      feedForward: 300,
      kvIsUpperBound: true,
    });
  });

  test('a header that tells nothing, and one that lies', () => {
    expect(shape({})).toMatchObject({ kvHeads: null, layers: 0 });
    expect(shape({ 'x.block_count': u32(2 ** 31), 'x.attention.head_count': u32(1) }).kvHeads).toHaveLength(10_000);
  });

  describe('in several files', () => {
    const count: GgufValue = { type: 'u16', value: 2 };

    test('names of the parts', () => {
      expect(partNames('m-00001-of-00003.gguf', 3)).toEqual([
        'm-00001-of-00003.gguf',
        'm-00002-of-00003.gguf',
        'm-00003-of-00003.gguf',
      ]);
      expect(partNames('m-00002-of-00003.gguf', 3)).toBeNull();
      expect(partNames('m-00001-of-00002.gguf', 3)).toBeNull();
      expect(partNames('m.gguf', 3)).toBeNull();
      expect(partNames('m-00001-of-99999.gguf', 99_999)).toBeNull();
    });

    test('all of them count; a missing one is told', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'runoff-parts-'));
      const path = join(folder, 'm-00001-of-00002.gguf');
      await writeModel(path, { metadata: { 'split.count': count } });
      expect(await lookAtModel(path, [])).toMatchObject({
        state: 'unreadable',
        hint: 'Download all parts into the same folder.',
      });
      await writeFile(join(folder, 'm-00002-of-00002.gguf'), new Uint8Array(5_000));
      const look = await lookAtModel(path, []);
      expect(look.state === 'readable' && look.shape.weightBytes).toBe((await stat(path)).size + 5_000);
      await rm(folder, { recursive: true });
    });
  });

  test('llamafiles by their name', () => {
    expect(['a.llamafile', 'a.LLAMAFILE.exe', 'a.gguf', 'llamafile'].map(isLlamafilePath)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  test('hazards of other systems, and those that the machine is asked about, are left out', () => {
    const hazard = { what: 'w', remedy: 'r' };
    const hazards = [
      { id: 'no-model', os: 'all', ...hazard },
      { id: 'windows-exe', os: 'windows', ...hazard },
      { id: 'loader', os: 'linux', ...hazard },
      { id: 'default-mode', os: 'all', ...hazard },
    ] as const;
    expect(ownHazards(hazards, 'linux')).toEqual([
      { ...hazard, fatal: true },
      { ...hazard, fatal: false },
    ]);
    expect(ownHazards(hazards, 'win32')).toHaveLength(3);
  });
});

describe('an engine', () => {
  const managed = { managed: true, platform: 'linux', arch: 'x64' };

  test.each([
    ['/c/environments/node-llama-cpp', managed, 'cpu'],
    ['/c/environments/node-llama-cpp-cuda', managed, 'cuda'],
    ['C:\\c\\environments\\node-llama-cpp-vulkan\\x', { ...managed, platform: 'win32' }, 'vulkan'],
    ['/c/environments/xllamacpp/bin/python', { ...managed, platform: 'darwin', arch: 'arm64' }, 'metal'],
    ['/c/environments/xllamacpp/bin/python', { ...managed, platform: 'darwin', arch: 'x64' }, 'cpu'],
    ['/opt/llama-server', { ...managed, managed: false }, 'unknown'],
  ] as const)('%s', (location, where, expected) => {
    expect(expectedDevice({ device: 'unknown', location }, where)).toBe(expected);
  });

  test('what the adapter knows wins', () => {
    expect(expectedDevice({ device: 'cpu', location: '/c/environments/mlx-lm-cuda' }, managed)).toBe('cpu');
  });

  test.each([
    ['llama-server 6384 (fb15d64)', 6_384],
    ['xllamacpp 2026.10.11549', 11_549],
    ['xllamacpp 0.2.1', null],
    ['llamafile v0.9.3', null],
    ['llama-cpp-python 0.3.16', null],
  ])('the llama.cpp of "%s"', (version, expected) => expect(buildFromVersion(version)).toBe(expected));
});

describe('the text', () => {
  const DIAGNOSIS: Diagnosis = {
    schemaVersion: 1,
    machine: 'linux x64, 8 cores, 16.0 GB of memory',
    model: '/models/m.gguf',
    engines: ['llama-cpp', 'llama-server'],
    findings: [
      {
        id: 'model-file',
        severity: 'problem',
        what: '/models/m.gguf is cut: its header promises 91,726,912 bytes, the file has 40,000,000 bytes.',
        why: 'The download broke off.',
        remedy: 'curl --location --continue-at - --output /models/m.gguf URL',
      },
      {
        id: 'power',
        severity: 'warning',
        what: 'The machine runs on its\u001B[2J battery.',
        why: 'It is slowed down.',
        remedy: 'Connect the power supply.',
      },
      {
        id: 'thermal',
        severity: 'unknown',
        what: 'thermal throttling: there are no counters',
        why: null,
        remedy: null,
      },
      { id: 'node', severity: 'ok', what: 'Node.js 24.21.0', why: null, remedy: null },
      { id: 'swap', severity: 'ok', what: 'no swapping', why: null, remedy: null },
    ],
  };

  test('on 80 columns, without colour and without escape sequences of others', () => {
    const text = describeDiagnosis(DIAGNOSIS, { color: false, width: 80 });
    expect(text).toMatchInlineSnapshot(`
      "Machine  linux x64, 8 cores, 16.0 GB of memory
      Model    /models/m.gguf
      Engines  llama-cpp, llama-server

      PROBLEM  /models/m.gguf is cut: its header promises 91,726,912 bytes, the file
               has 40,000,000 bytes.
               Why: The download broke off.
               Do:  curl --location --continue-at - --output /models/m.gguf URL

      WARNING  The machine runs on its [2J battery.
               Why: It is slowed down.
               Do:  Connect the power supply.

      Could not be told:
      - thermal throttling: there are no counters

      Checked and fine: Node.js 24.21.0; no swapping.

      1 problem and 1 warning: a run would fail or mislead. Solve it first.
      "
    `);
    expect(text.split('\n').filter((line) => line.length > 80)).toEqual([]);
    expect(text).not.toContain('\u001B');
  });

  test('colour where it is asked for', () => {
    expect(describeDiagnosis(DIAGNOSIS, { color: true, width: 80 })).toContain('\u001B[31m\u001B[1mPROBLEM');
  });

  test('the closing sentence counts', () => {
    const of = (...severities: Diagnosis['findings'][number]['severity'][]): string =>
      closing(severities.map((severity) => ({ severity })));
    expect(of('ok', 'unknown')).toBe('Nothing stands in the way of a run.');
    expect(of('warning')).toContain('No problem, 1 warning: a run works, but read it');
    expect(of('problem', 'problem', 'warning')).toContain(
      '2 problems and 1 warning: a run would fail or mislead. Solve them first.',
    );
  });
});
