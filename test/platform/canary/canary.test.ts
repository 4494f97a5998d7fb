import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, describe, expect, test } from 'vitest';
import { keepBest, readBest } from '../../../src/platform/canary/best-reading.ts';
import { openCanary } from '../../../src/platform/canary/canary.ts';
import { canaryBufferBytes } from '../../../src/platform/canary/machine-watch.ts';
import { busiest, readProgramTimes } from '../../../src/platform/doctor/busiest.ts';

const MIB = 2 ** 20;
/** Many: other tests may keep a core busy in the quiet half already, and a host may give back what it took. */
const LOOPS_PER_CORE = 4;

describe('the canary on this machine', () => {
  test('reads and computes on two threads for about as long as asked, at rates that a computer has', async () => {
    const canary = await openCanary({ threads: 2, bufferBytes: 16 * MIB });
    try {
      await canary.run(50);
      const { readBytesPerS, flopsPerS, readMs, multiplyAddMs } = await canary.run(50);
      // From a Raspberry Pi to a large server; a kernel that was optimised away would be far beyond.
      expect(readBytesPerS).toBeGreaterThan(1e8);
      expect(readBytesPerS).toBeLessThan(1e13);
      expect(flopsPerS).toBeGreaterThan(1e8);
      expect(flopsPerS).toBeLessThan(1e13);
      // A busy machine stretches it, and only a wrong amount of work shortens it.
      expect(readMs).toBeGreaterThan(5);
      expect(multiplyAddMs).toBeGreaterThan(5);
    } finally {
      await canary.close();
    }
  });

  test('threads share the buffer in equal parts of whole pages', async () => {
    const canary = await openCanary({ threads: 3, bufferBytes: MIB });
    await canary.close();
    expect([canary.threads, canary.bufferBytes]).toEqual([3, 18 * 65_536]);
  });

  test('a busy loop on every core shows: less is left of the machine', async () => {
    const threads = availableParallelism();
    const canary = await openCanary({ threads, bufferBytes: 16 * MIB });
    const loops: Worker[] = [];
    try {
      const median = async (): Promise<number> => {
        const rates: number[] = [];
        for (let count = 0; count < 5; count += 1) rates.push((await canary.run(60)).flopsPerS);
        return rates.toSorted((left, right) => left - right)[2] ?? 0;
      };
      await canary.run(60);
      const quiet = await median();
      for (let loop = 0; loop < LOOPS_PER_CORE * threads; loop += 1)
        loops.push(new Worker('for (;;);', { eval: true }));
      await Promise.all(loops.map((loop) => once(loop, 'online')));
      const busy = await median();
      expect(busy).toBeLessThan(0.85 * quiet);
    } finally {
      await Promise.all(loops.map((loop) => loop.terminate()));
      await canary.close();
    }
  });
});

test('the buffer is four caches, at least 64 MiB, at most 1 GiB and a sixteenth of the memory', () => {
  const memory = 64 * 1_024 * MIB;
  expect(canaryBufferBytes(32 * MIB, memory)).toBe(128 * MIB);
  expect(canaryBufferBytes(4 * MIB, memory)).toBe(64 * MIB);
  expect(canaryBufferBytes(512 * MIB, memory)).toBe(1_024 * MIB);
  expect(canaryBufferBytes(null, memory)).toBe(256 * MIB);
  expect(canaryBufferBytes(96 * MIB, 2_048 * MIB)).toBe(128 * MIB);
});

describe('the best reading of a machine', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'runoff-canary-'));
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('the faster of each kind is kept, by machine', async () => {
    const path = join(folder, 'canary.json');
    expect(await readBest(path, 'cpu')).toBeNull();
    await keepBest(path, 'cpu', { readBytesPerS: 10, flopsPerS: 5 });
    await keepBest(path, 'cpu', { readBytesPerS: 8, flopsPerS: 7 });
    await keepBest(path, 'other', { readBytesPerS: 1, flopsPerS: 1 });
    expect(await readBest(path, 'cpu')).toEqual({ readBytesPerS: 10, flopsPerS: 7 });
  });

  test('a damaged file counts as none and is made again', async () => {
    const path = join(folder, 'damaged.json');
    await writeFile(path, '{"cpu": {"readBytesPerS": -1');
    expect(await readBest(path, 'cpu')).toBeNull();
    await keepBest(path, 'cpu', { readBytesPerS: 1, flopsPerS: 2 });
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({ cpu: { readBytesPerS: 1, flopsPerS: 2 } });
  });
});

test.skipIf(process.platform !== 'linux')('a look at all programs costs little', async () => {
  const before = process.cpuUsage();
  const [first, second] = [await readProgramTimes(), await readProgramTimes()];
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1_000).toBeLessThan(500);
  expect(busiest(first ?? [], second ?? [], { ownPid: process.pid, elapsedMs: 1_000 })).toBeInstanceOf(Array);
});

test.skipIf(process.platform !== 'linux')('a program of Node is named after its file', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1_000); console.log(1)']);
  try {
    await once(child.stdout, 'data');
    const found = (await readProgramTimes())?.find(({ pid }) => pid === child.pid);
    expect(found?.name).toBe(basename(process.execPath));
  } finally {
    child.kill('SIGKILL');
  }
});
