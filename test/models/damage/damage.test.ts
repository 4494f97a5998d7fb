/** 2,000 damaged files for every reader: a typed error or what the file really says, soon, in little memory. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { READERS } from './readers.ts';
import { survive } from './survive.ts';

const FILES = 2_000;
const ONE_FILE_MS_MAX = 1_000;
const TIMEOUT_MS = 60_000;
const MEMORY_BYTES_MAX = 200 * 2 ** 20;

describe(`${FILES} damaged files`, () => {
  it.each(Object.entries(READERS))('%s', { timeout: TIMEOUT_MS }, async (name, { prepare, reasonsMin, codes }) => {
    const folder = await mkdtemp(join(tmpdir(), 'runoff-damage-'));
    const reader = await prepare(folder);
    try {
      const outcomes = await survive(name, reader, { count: FILES, codes });
      // Otherwise the damage never reaches the checks, or never passes them.
      expect(outcomes.read).toBeGreaterThan(FILES / 50);
      expect(outcomes.refused).toBeGreaterThan(FILES / 4);
      expect(outcomes.reasons.size).toBeGreaterThanOrEqual(reasonsMin);
      expect(outcomes.slowestMs).toBeLessThan(ONE_FILE_MS_MAX);
    } finally {
      await reader.close?.();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

it('a process that reads damaged files of every kind grows by less than 200 MB', { timeout: TIMEOUT_MS }, () => {
  const program = fileURLToPath(new URL('peak-memory.ts', import.meta.url));
  const { stdout, stderr } = spawnSync(process.execPath, [program], { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(Number(stdout)).toBeGreaterThan(10 * 2 ** 20);
  expect(Number(stdout)).toBeLessThan(MEMORY_BYTES_MAX);
});
