import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { TuneResult } from '../../src/app/tune/tune.ts';
import { skipped, useWorkspace } from './cli.ts';

const workspace = useWorkspace();
const ALPHA = fileURLToPath(new URL('../fixtures/engines/alpha.ts', import.meta.url));
const oneCore = availableParallelism() < 2;
if (oneCore) skipped(import.meta.url, 'one core has no number of threads to choose');

test.skipIf(oneCore)(
  'an engine that is quicker with one thread is tuned, and a tuned run uses it',
  async () => {
    const w = workspace();
    await w.behave('alpha', { prefillMsPerToken: 0.1, decodeMsPerToken: 0.5, oneThreadFactor: 0.5 });
    const shared = ['--model', w.model, '--engine', ALPHA, '--prompt', '64', '--yes', '--no-install', '--seed', '5'];
    const tuned = await w.runoff(['tune', ...shared, '--generate', '64', '--budget', '60s', '--out', w.out, '--json']);
    expect([tuned.code, tuned.stderr.includes('Record: ')]).toEqual([0, true]);
    const result = JSON.parse(tuned.stdout) as TuneResult;
    expect(result.knobs.map(({ name }) => name)).toEqual(['threads', 'batch', 'flash attention', 'mmap']);
    // On a machine that is busy with other tests a race may stay open; the wrong way round it must not go.
    for (const { name, chosen } of result.knobs) expect([null, name === 'threads' ? '1' : null]).toContain(chosen);
    expect(await w.orphans()).toEqual([]);
    expect((await readdir(w.out))[0]).toBe('1-threads');
    if (result.settings.threads === undefined) return;
    expect(existsSync(join(w.folder, 'cache', 'tuned'))).toBe(true);

    const run = join(w.folder, 'tuned-run');
    const measured = await w.runoff([
      'run',
      ...shared,
      '--generate',
      '64',
      '--blocks',
      '3',
      '--budget',
      '20s',
      '--out',
      run,
      '--tuned',
    ]);
    expect(measured.code).toBe(0);
    const record = await w.record(run);
    expect(record.engines[0]?.settings).toMatchObject({ threads: 1 });
    expect(record.certificate.settings.state).toBe('tuned');
    expect(measured.stdout).toContain('tuned');
  },
  180_000,
);

test('without a tuning a tuned run says how to make one, and measures the common settings', async () => {
  const w = workspace();
  const { code, stderr } = await w.runoff(w.run(['alpha'], '--tuned', '--blocks', '3'));
  expect(code).toBe(0);
  expect(stderr).toContain('alpha was not tuned for this model here');
  expect(stderr).toContain('runoff tune --engine alpha');
});
