import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { differing, readTuned, writeTuned } from '../../../src/app/tune/tuned-store.ts';
import type { Tuned, TunedKey } from '../../../src/app/tune/tuned-store.ts';

const MACHINE = { os: 'Linux', cpu: 'CPU', physicalCores: 2, logicalCores: 2 };
const KEY: TunedKey = { engine: 'llama-cpp', version: '1.0', modelSha256: 'a'.repeat(64), machine: MACHINE };
const TUNED: Tuned = {
  schemaVersion: 1,
  engine: 'llama-cpp',
  version: '1.0',
  model: { name: 'model', sha256: 'a'.repeat(64) },
  machine: MACHINE,
  settings: { threads: 1 },
  gain: 1.2,
  gainLow: 1.1,
  gainHigh: 1.3,
  date: '2026-11-25',
};

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runoff-tuned-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('what was kept is read again for the same machine, build and model only', async () => {
  await writeTuned(folder, KEY, TUNED);
  expect(await readTuned(folder, KEY)).toEqual(TUNED);
  expect(await readTuned(folder, { ...KEY, version: '1.1' })).toBeNull();
  expect(await readTuned(folder, { ...KEY, modelSha256: 'b'.repeat(64) })).toBeNull();
  expect(await readTuned(folder, { ...KEY, machine: { ...MACHINE, logicalCores: 4 } })).toBeNull();
});

test('a damaged file counts as not tuned', async () => {
  await writeTuned(folder, KEY, TUNED);
  const [name = ''] = await readdir(join(folder, 'tuned'));
  await writeFile(join(folder, 'tuned', name), '{"schemaVersion":1,"settings":{"threads":-3}}');
  expect(await readTuned(folder, KEY)).toBeNull();
});

test('only what differs is kept', () => {
  const base = {
    threads: 2,
    contextTokens: 768,
    batchTokens: 512,
    microBatchTokens: 512,
    kvType: 'f16',
    flashAttention: true,
    mmap: true,
    gpu: 'off',
  } as const;
  expect(differing(base, { ...base, threads: 1, mmap: false })).toEqual({ threads: 1, mmap: false });
  expect(differing(base, base)).toEqual({});
});
