import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { SelftestResult } from '../../src/app/selftest/selftest.ts';
import { useWorkspace } from './cli.ts';
import type { Finished, Workspace } from './cli.ts';

const workspace = useWorkspace();
const ALPHA = fileURLToPath(new URL('../fixtures/engines/alpha.ts', import.meta.url));

function selftest(w: Workspace, ...more: string[]): Promise<Finished> {
  const args = ['--model', w.model, '--engine', ALPHA, '--out', w.out, '--budget', '30s', '--seed', '3', '--yes'];
  return w.runoff(['selftest', ...args, '--no-install', ...more]);
}

function outcomes({ items }: SelftestResult): Record<string, string> {
  return Object.fromEntries(items.map(({ id, outcome }) => [id, outcome]));
}

test('cheats are caught, slower copies are never faster, and the statement says what can be told apart', async () => {
  const w = workspace();
  await w.behave('alpha', { prefillMsPerToken: 0.2, decodeMsPerToken: 1 });
  const { code, stdout, stderr } = await selftest(w);
  expect([code, stderr.includes('Error')]).toEqual([0, false]);
  const result = JSON.parse(await readFile(join(w.out, 'selftest.json'), 'utf8')) as SelftestResult;
  // On a machine that is busy with other tests the comparison may stay open; it must not fail.
  expect(outcomes(result)).toMatchObject({
    honest: 'passed',
    truncation: 'passed',
    cache: 'passed',
    'early-stop': 'passed',
    same: expect.stringMatching(/passed|undecided/),
    'slower-5': expect.stringMatching(/passed|undecided/),
    'slower-10': expect.stringMatching(/passed|undecided/),
    'slower-30': expect.stringMatching(/passed|undecided/),
  });
  expect(stdout).toMatch(/^PASSED/);
  expect(stdout).toContain('✓ a hidden prompt cache is caught');
  expect(await w.orphans()).toEqual([]);
  expect(w.temporaryFiles()).toEqual([]);
}, 120_000);

test('an engine that truncates by itself is no honest one: the selftest fails and says so', async () => {
  const w = workspace();
  await w.behave('alpha', { fault: 'truncate' });
  const { code, stdout } = await selftest(w, '--budget', '10s');
  expect(code).toBe(5);
  expect(stdout).toContain('NOT PASSED');
  expect(stdout).toContain('✗ the engine as it is passes every gate');
}, 120_000);

test('an engine that cannot be slowed down is refused before anything is measured', async () => {
  const w = workspace();
  const { code, stderr } = await w.runoff([
    'selftest',
    '--engine',
    'libllama',
    '--model',
    w.model,
    '--no-install',
    '--yes',
    '--out',
    w.out,
  ]);
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/libllama/);
  expect(w.files()).toEqual([]);
});
