import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import type { LaunchPlan, WorkerRequest } from '../../../src/core/engine.ts';
import { liveKeeperPids, startProcess, stopAll } from '../../../src/platform/process/start-process.ts';
import type { StartedProcess } from '../../../src/platform/process/start-process.ts';

const WORKER = fileURLToPath(new URL('../fixtures/worker.mjs', import.meta.url));
const PARENT = fileURLToPath(new URL('../fixtures/parent.mjs', import.meta.url));

function startWorker(channel: LaunchPlan['channel'] = 'fd3', ...args: string[]): Promise<StartedProcess> {
  return startProcess({
    command: process.execPath,
    args: [WORKER, channel, ...args],
    env: { PLANNED: 'yes' },
    channel,
  });
}

/** The fixture's methods are its own; the port knows two. */
function ask(worker: StartedProcess, method: string, timeoutMs = 10_000): Promise<unknown> {
  return worker.request({ method, params: { value: 1 } } as unknown as WorkerRequest, timeoutMs);
}

async function isGoneWithin(pid: number, ms: number): Promise<boolean> {
  for (const deadline = performance.now() + ms; performance.now() < deadline;) {
    if (!(await isAlive(pid))) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}

/** A zombie that nobody reaps (containers without an init process) is gone, too. */
async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return !/\) Z /.test(stat);
}

afterEach(() => stopAll(0));

describe.skipIf(process.platform === 'win32')('startProcess', () => {
  test.each(['fd3', 'stdout'] as const)('speaks the worker protocol over %s', async (channel) => {
    const worker = await startWorker(channel);
    expect(await ask(worker, 'echo')).toEqual({ value: 1 });
    expect(await ask(worker, 'echo')).toEqual({ value: 1 });
    expect(worker.pid).not.toBe(worker.keeperPid);
    expect(liveKeeperPids()).toEqual([worker.keeperPid]);
    expect(await worker.stop(2_000)).toMatchObject({ forced: false });
    expect(liveKeeperPids()).toEqual([]);
  });

  test('passes the plan’s environment and the minimum, nothing that changes engines', async () => {
    process.env['OMP_NUM_THREADS'] = '1';
    const worker = await startWorker();
    const environment = (await ask(worker, 'environment')) as Record<string, string>;
    expect(environment).toMatchObject({ PLANNED: 'yes', PATH: process.env['PATH'] });
    expect(environment).not.toHaveProperty('OMP_NUM_THREADS');
    delete process.env['OMP_NUM_THREADS'];
  });

  test('a refusal is an error of the request; the worker lives on', async () => {
    const worker = await startWorker();
    await expect(ask(worker, 'refuse')).rejects.toMatchObject({
      code: 'engine-request-failed',
      message: 'the engine refused refuse: the file is no GGUF',
      context: { workerCode: 'model-invalid' },
    });
    expect(await ask(worker, 'echo')).toEqual({ value: 1 });
  });

  test('death during a request says how and shows its last words', async () => {
    const worker = await startWorker();
    await expect(ask(worker, 'die')).rejects.toMatchObject({
      code: 'engine-died',
      message: 'the engine died with exit code 7 during die; its last lines:\nloading\nmodel is corrupt: bad magic',
    });
    expect(await worker.exited).toEqual({ code: 7, signal: null });
    await expect(ask(worker, 'echo')).rejects.toMatchObject({ code: 'engine-died' });
    expect(await worker.stop(0)).toEqual({ code: 7, signal: null, forced: false });
  });

  test('silence is a timeout, and the worker is killed', async () => {
    const worker = await startWorker();
    await expect(ask(worker, 'hang', 200)).rejects.toMatchObject({
      code: 'engine-timeout',
      message: 'the engine did not answer hang within 200 ms',
    });
    await worker.exited;
    expect(await isGoneWithin(worker.pid, 2_000)).toBe(true);
  });

  test('a flood on stdout does not touch the reply channel and is kept as a tail', async () => {
    const worker = await startWorker();
    expect(await ask(worker, 'floodStdout')).toBe('flooded');
    await worker.stop(1_000);
    expect(worker.stdoutTail()).toHaveLength(64 * 1024);
  });

  test.each(['fd3', 'stdout'] as const)('a few lines of noise on %s are tolerated', async (channel) => {
    expect(await ask(await startWorker(channel), 'noise')).toBe('after noise');
  });

  test('garbage beyond the limit ends the worker', async () => {
    const worker = await startWorker();
    await expect(ask(worker, 'garbage')).rejects.toMatchObject({
      code: 'engine-protocol',
      message: expect.stringContaining('1001 lines'),
    });
    await worker.exited;
  });

  test('a line that never ends is not kept in memory', async () => {
    const worker = await startWorker();
    await expect(ask(worker, 'longLine')).rejects.toMatchObject({
      code: 'engine-protocol',
      message: 'the engine sent a line of more than 67108864 bytes',
    });
    await worker.exited;
  });

  test('an answer to another request answers nothing', async () => {
    await expect(ask(await startWorker(), 'wrongId', 300)).rejects.toMatchObject({
      code: 'engine-timeout',
      message: expect.stringContaining('"result":"not yours"'),
    });
  });

  test('stop kills what ignores SIGTERM and says so', async () => {
    const worker = await startWorker();
    await ask(worker, 'ignoreTerm');
    expect(await worker.stop(200)).toEqual({ code: null, signal: 'SIGKILL', forced: true });
  });

  test('a second stop may be more impatient', async () => {
    const worker = await startWorker();
    await ask(worker, 'ignoreTerm');
    const startedMs = performance.now();
    const first = worker.stop(20_000);
    await worker.stop(100);
    expect(await first).toMatchObject({ forced: true });
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });

  test('a grandchild dies with the engine, whether that was stopped or died', async () => {
    for (const end of ['stop', 'die']) {
      const worker = await startWorker('fd3', 'grandchild');
      const grandchildPid = Number(await ask(worker, 'grandchild'));
      if (end === 'stop') await worker.stop(100);
      else await ask(worker, 'die').catch(() => {});
      expect(await isGoneWithin(grandchildPid, 3_000)).toBe(true);
    }
  });

  test('a killed keeper takes the engine with it', async () => {
    const worker = await startWorker();
    await ask(worker, 'ignoreTerm');
    process.kill(worker.keeperPid, 'SIGKILL');
    await worker.exited;
    expect(await isGoneWithin(worker.pid, 2_000)).toBe(true);
    await expect(ask(worker, 'echo')).rejects.toMatchObject({ code: 'engine-died' });
  });

  test('Ctrl-C in the terminal is not the keeper’s business', async () => {
    const worker = await startWorker();
    process.kill(worker.keeperPid, 'SIGINT');
    expect(await ask(worker, 'echo')).toEqual({ value: 1 });
  });

  test('nothing outlives a parent that was killed with -9', async () => {
    const parent = spawn(process.execPath, [PARENT], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const pids = JSON.parse(line.toString()) as Record<string, number>;
    parent.kill('SIGKILL');
    for (const pid of Object.values(pids)) expect(await isGoneWithin(pid, 5_000)).toBe(true);
  });

  test('a command that does not exist is a launch failure', async () => {
    const start = startProcess({ command: '/nowhere/llama-server', args: [], env: {}, channel: 'http' });
    await expect(start).rejects.toMatchObject({
      code: 'engine-launch-failed',
      message: 'cannot start /nowhere/llama-server: spawn /nowhere/llama-server ENOENT',
    });
  });

  test('a working folder that does not exist is a launch failure', async () => {
    const start = startProcess({ command: process.execPath, args: [], env: {}, channel: 'http', cwd: '/nowhere' });
    await expect(start).rejects.toMatchObject({ code: 'engine-launch-failed' });
  });

  test('stderr goes to the log, too', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'runoff-test-'));
    const stderrLogPath = join(folder, 'stderr.log');
    const worker = await startProcess({
      command: process.execPath,
      args: [WORKER],
      env: {},
      channel: 'fd3',
      stderrLogPath,
    });
    await ask(worker, 'die').catch(() => {});
    await expect.poll(() => readFile(stderrLogPath, 'utf8')).toBe('loading\nmodel is corrupt: bad magic\n');
    await rm(folder, { recursive: true });
  });
});
