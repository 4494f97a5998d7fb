/** The real engines on the real model, through the real command line. Skipped with the reason where they are not set up. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { recordSchema } from '../../src/core/record.ts';
import { createEnvironments } from '../../src/platform/environments/environments.ts';
import { cacheFolder } from '../../src/platform/folders.ts';

const run = promisify(execFile);
const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname;
const RUN_TIMEOUT_MS = 240_000;

const environments = createEnvironments({ cacheFolder: cacheFolder(), onProgress() {} });

async function isReady(id: string): Promise<boolean> {
  return (await environments.inspect(id)).state === 'ready';
}

const ready = {
  'node-llama-cpp': await isReady('node-llama-cpp'),
  xllamacpp: await isReady('xllamacpp'),
  'mlx-lm': await isReady('mlx-lm'),
};
const missing = Object.entries(ready).flatMap(([id, isThere]) => (isThere ? [] : [id]));
if (missing.length > 0)
  console.log(`test/real/run: skipped, not set up here: ${missing.join(', ')} (runoff setup installs them)`);

describe.skipIf(missing.length > 0)('a run on the real model', () => {
  const folders: string[] = [];
  afterAll(async () => {
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  });

  async function measure(
    args: readonly string[],
  ): Promise<{ record: ReturnType<typeof recordSchema.parse>; stdout: string }> {
    const parent = await mkdtemp(join(tmpdir(), 'runoff-real-'));
    folders.push(parent);
    const out = join(parent, 'run');
    const { stdout } = await run(
      process.execPath,
      [MAIN, 'run', '--yes', '--no-install', '--gpu', 'off', '--seed', '7', '--out', out, ...args],
      {
        maxBuffer: 16 << 20,
      },
    );
    return { record: recordSchema.parse(JSON.parse(await readFile(join(out, 'record.json'), 'utf8'))), stdout };
  }

  test(
    'llama-cpp and llama-server do equal work on one file',
    async () => {
      const { record } = await measure([
        '--engine',
        'llama-cpp',
        'llama-server',
        '--prompt',
        '128',
        '--generate',
        '64',
        '--budget',
        '75s',
        '--blocks',
        '3',
      ]);
      const failed = record.gates.filter((gate) => gate.outcome === 'failed');
      expect(failed).toEqual([]);
      expect(record.certificate.weights.state).toBe('same-file');
      expect(record.certificate.tokens.state).toBe('equal');
      expect(record.certificate.output.state).toBe('equal-count');
      // Different builds round differently, but the same weights and ids give mostly the same first token.
      expect(record.certificate.agreement[0]?.firstTokenShare ?? 1).toBeGreaterThanOrEqual(0.5);
    },
    RUN_TIMEOUT_MS,
  );

  test(
    'mlx-lm gets bit-identical weights and answers the same first tokens as llama.cpp',
    async () => {
      const { record } = await measure([
        '--engine',
        'llama-server',
        'mlx-lm',
        '--prompt',
        'short',
        '--generate',
        '32',
        '--budget',
        '170s',
        '--blocks',
        '1',
      ]);
      const fingerprints = new Set(record.manifest.models.map(({ fingerprint }) => fingerprint));
      expect(record.manifest.models.map(({ format }) => format)).toEqual(['gguf', 'mlx']);
      expect(fingerprints.size).toBe(1);
      expect(record.gates.filter((gate) => gate.outcome === 'failed')).toEqual([]);
      expect(record.engines.find(({ id }) => id === 'mlx-lm')?.numericMode).toContain('float32');
    },
    RUN_TIMEOUT_MS,
  );
});
