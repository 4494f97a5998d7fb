/** llama-bench's process between its turns, with a program that prints as it does. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { LlamaBenchInTurns } from '../../bench/peers/llama-bench-turns.ts';
import type { BenchTest } from '../../bench/peers/llama-bench-turns.ts';

const PROGRAM = fileURLToPath(new URL('../fixtures/llama-bench/llama-bench.mjs', import.meta.url));
const SETTINGS = {
  threads: 1,
  contextTokens: 768,
  batchTokens: 512,
  microBatchTokens: 256,
  kvType: 'f16',
  flashAttention: true,
  mmap: true,
  gpu: 'off',
} as const;

async function start(asked: BenchTest, fault = 'none'): Promise<LlamaBenchInTurns> {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-turns-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const program = join(folder, 'llama-bench');
  await writeFile(program, `#!/bin/sh\nexec '${process.execPath}' '${PROGRAM}' ${fault} "$@"\n`);
  await chmod(program, 0o755);
  const bench = await LlamaBenchInTurns.start(asked, { program, modelPath: '/m.gguf', settings: SETTINGS, turns: 3 });
  onTestFinished(() => bench.stop());
  return bench;
}

if (process.platform === 'win32') console.log('llama-bench-turns.test.ts: skipped: Windows stops no process');
describe.skipIf(process.platform === 'win32')('llama-bench in turns', () => {
  test('does one test a turn, the first not counted, and nothing between its turns', async () => {
    const bench = await start({ prompt: 128 });
    expect(await bench.turn()).toBe(2);
    // Left to itself it would print a test a second.
    await sleep(2_500);
    expect(await bench.turn()).toBe(3);
    expect(await bench.turn()).toBe(4);
  });

  test('an answer behind a context is asked for as such', async () => {
    const bench = await start({ generate: 32, depth: 128 });
    expect(await bench.turn()).toBe(2);
  });

  test('that measures something else than it was asked for is an error', async () => {
    await expect(start({ prompt: 128 }, 'threads')).rejects.toThrow(/measured .*threads 2, .* not .*threads 1, /);
  });

  test('that ends is an error with its last words', async () => {
    const bench = await start({ prompt: 128 }, 'die');
    await expect(bench.turn()).rejects.toThrow(/llama-bench ended.*\nfailed to create context/);
  });
});
