/** A disturbed machine, for real: busy loops beside a run of fixture engines, which only sleep. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { afterEach, expect, test } from 'vitest';
import { useWorkspace } from './cli.ts';

const workspace = useWorkspace();
const loops: ChildProcess[] = [];

afterEach(() => {
  for (const loop of loops.splice(0)) loop.kill('SIGKILL');
});

test('busy loops on every core: blocks are rejected, run again, and the run is NOISY with what to close', async () => {
  const w = workspace();
  for (let core = 0; core < availableParallelism(); core += 1) {
    loops.push(spawn(process.execPath, ['-e', 'process.title = "busyloop"; for (;;);'], { stdio: 'ignore' }));
  }
  await w.behave('alpha', { decodeMsPerToken: 6 });
  await w.behave('beta', { decodeMsPerToken: 6 });
  const { code } = await w.runoff(w.run(['alpha', 'beta'], '--blocks', '4', '--budget', '60s'));
  const record = await w.record();
  expect(record.verdict.state).toBe('noisy');
  expect(record.verdict.winner).toBeNull();
  expect(record.blocks.rejected).toBe(3);
  expect(record.verdict.headline).toMatch(/other programs used \d+% of the CPU/);
  expect(record.verdict.headline).toMatch(process.platform === 'linux' ? /Close .*busyloop/ : /Close /);
  const rejected = (await w.events()).filter((event) => event.type === 'block-end');
  expect(rejected.every(({ state }) => state === 'rejected')).toBe(true);
  expect(code).toBe(0);
});
