import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { installFakeServer } from '../fixtures/llama-server/fake-server.ts';
import { END_MS_MAX, eventually, skipped, useWorkspace } from './cli.ts';

const workspace = useWorkspace();
/** The first process of an engine is its check, the second its first cell. */
const FIRST_CELL = 2;

describe('an engine that goes wrong while it is measured', () => {
  test('killed from outside: its block goes on without it, and so does the run', async () => {
    const w = workspace();
    // Slow enough to be caught.
    await w.behave('beta', { decodeMsPerToken: 4 });
    const run = w.start(w.run(['alpha', 'beta']));
    await w.recorded('"type":"load","engine":"beta"');
    const worker = () => w.processes('worker.mjs beta').filter(({ command }) => !command.includes('keeper'));
    await eventually('the worker', () => worker().length > 0, 5_000);
    for (const { pid } of worker()) process.kill(pid, 'SIGKILL');
    const { code, stderr } = await run.finished;
    expect(code).toBe(0);
    expect(stderr).toMatch(/! block \d+: the engine died by SIGKILL/);
    const { warnings, state } = await w.record();
    expect(state).toBe('complete');
    expect(warnings.map(({ code: warning, engine }) => `${warning} ${engine}`)).toContain('cell-failed beta');
    expect(await w.orphans()).toEqual([]);
    expect(w.temporaryFiles()).toEqual([]);
  });

  test('prints garbage on the reply channel: that is an error of the engine, with its last words', async () => {
    const w = workspace();
    await w.behave('beta', { fault: 'garbage', faultFromLaunch: FIRST_CELL });
    const { code, stderr } = await w.runoff(w.run(['alpha', 'beta']));
    expect(code).toBe(0);
    expect(stderr).toMatch(/the engine sent 1001 lines \(\d+ bytes\) that are no replies, last:\nLoading shard 996/);
    // The second failure in a row ends its part.
    expect(stderr).toContain('beta is left out from here: failed 2 times in a row');
    expect((await w.record()).state).toBe('complete');
    expect(await w.orphans()).toEqual([]);
    expect(w.temporaryFiles()).toEqual([]);
  });

  test('hangs: it is given up at the deadline, not later', async () => {
    const w = workspace();
    await w.behave('beta', { fault: 'hang', faultFromLaunch: FIRST_CELL, ignoreSigterm: true });
    const { code, durationMs } = await w.runoff(w.run(['alpha', 'beta'], '--budget', '10s'));
    expect(code).toBe(0);
    const record = await w.record();
    expect(record.state).toBe('complete');
    expect(record.elapsedMs).toBeLessThanOrEqual(10_000 + END_MS_MAX);
    expect(durationMs).toBeLessThan(25_000);
    expect(await w.orphans()).toEqual([]);
    expect(w.temporaryFiles()).toEqual([]);
  });
});

describe('an engine that goes wrong in its check', () => {
  test.each([
    ['hang', /could not be checked and is left out: the engine did not answer generate within \d+ ms/],
    ['hang-loading', /could not be checked and is left out: the engine did not answer load within \d+ ms/],
    [
      'exit-loading',
      /could not be checked and is left out: the engine died with exit code 9 during load; its last lines:\nbeta: cannot allocate 64 GB/,
    ],
    [
      'refuse',
      /could not be checked and is left out: the engine refused generate: out of memory in the attention kernel/,
    ],
  ] as const)('%s: left out with the reason, and the other is measured', async (fault, reason) => {
    const w = workspace();
    await w.behave('beta', { fault });
    const { code, stderr } = await w.runoff(w.run(['beta', 'alpha'], '--budget', '12s'));
    expect(code).toBe(0);
    expect(stderr).toMatch(reason);
    const record = await w.record();
    expect(record.notMeasured.map(({ engine }) => engine)).toContain('beta');
    expect(
      (await w.events()).some(
        (event) => event.type === 'cell-end' && event.engine === 'alpha' && event.state === 'complete',
      ),
    ).toBe(true);
    expect(await w.orphans()).toEqual([]);
    expect(w.temporaryFiles()).toEqual([]);
  });

  test('a port that somebody else answers: nobody else is measured', async () => {
    const w = workspace();
    const binary = await installFakeServer(w.folder, { alias: 'gpt-oss-20b' });
    const { code, stderr } = await w.runoff(
      w.run(['llama-server', 'alpha'], '--engine-path', `llama-server=${binary}`),
    );
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /! llama-server could not be checked and is left out: port \d+ is answered by another server \(model gpt-oss-20b\)\n {4}Stop the other server/,
    );
    expect((await w.events()).filter((event) => event.type === 'sample' && event.engine === 'llama-server')).toEqual(
      [],
    );
    expect(await w.orphans()).toEqual([]);
    expect(w.temporaryFiles()).toEqual([]);
  });

  test('a server that does not know the model: its own words are in the message', async () => {
    const w = workspace();
    const binary = await installFakeServer(w.folder, { fault: 'exit-at-start' });
    const { stderr } = await w.runoff(w.run(['llama-server', 'alpha'], '--engine-path', `llama-server=${binary}`));
    expect(stderr).toContain("unknown model architecture: 'qwen9'");
    expect(stderr).toContain('an old engine with a new model says "unknown model architecture"');
  });

  test('a program that cannot be started any more: its error, and no folder left behind', async () => {
    const w = workspace();
    const binary = await installFakeServer(w.folder);
    // Detection finds it; by the time of the check its interpreter is gone.
    await w.behave('alpha', { detectMs: 1_500 });
    const run = w.start(w.run(['llama-server', 'alpha'], '--engine-path', `llama-server=${binary}`));
    await eventually('the detection', () => existsSync(`${binary}.seen`), 10_000);
    await writeFile(binary, '#!/nonexistent/interpreter\n');
    const { code, stderr } = await run.finished;
    expect(code).toBe(0);
    expect(stderr).toMatch(/llama-server could not be checked and is left out: cannot start \S+: spawn \S+ ENOENT/);
    expect(w.temporaryFiles()).toEqual([]);
  });

  test('nothing can be measured: the run says so', async () => {
    const w = workspace();
    await w.behave('alpha', { fault: 'exit-loading' });
    const { stdout } = await w.runoff(w.run(['alpha']));
    expect((await w.record()).verdict.state).toBe('nothing-measured');
    expect(stdout).toContain('cannot allocate 64 GB');
  });
});

describe('a disk that fills', () => {
  function smallDisk(folder: string, bytes: string): string | null {
    try {
      mkdirSync(folder);
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder], { stdio: 'pipe' });
      return null;
    } catch (error) {
      return `no small file system can be mounted: ${(error as Error).message.split('\n')[1] ?? ''}`;
    }
  }

  test('the run stops and says so; what was written is a valid run that goes on elsewhere', async ({ skip }) => {
    const w = workspace();
    const disk = join(w.folder, 'disk');
    const reason = smallDisk(disk, '20k');
    if (reason !== null) {
      skipped('faults', reason);
      skip(reason);
    }
    try {
      const out = join(disk, 'run');
      const { code, stderr } = await w.runoff([...w.run(['alpha', 'beta']), '--out', out]);
      expect(code).toBe(1);
      expect(w.normalise(stderr.slice(stderr.lastIndexOf('\nrunoff: ')))).toMatchInlineSnapshot(`
        "runoff: cannot write WORK/disk/run/samples.jsonl (0 MB free there): ENOSPC: no space left on device, write
          Free some disk space (runoff cache shows what runoff keeps) and go on with --resume, or start again what has none."
      `);
      expect(await w.orphans()).toEqual([]);
      expect(w.temporaryFiles()).toEqual([]);
      const events = await w.events(out);
      expect(events.length).toBeGreaterThan(5);
      const report = await w.runoff(['report', out, '--format', 'json']);
      expect([report.code, (JSON.parse(report.stdout) as { state: string }).state]).toEqual([0, 'interrupted']);

      execFileSync('mount', ['-o', 'remount,size=8m', disk]);
      expect((await w.runoff(['run', '--resume', out, '--no-install', '--yes'])).code).toBe(0);
      expect((await w.record(out)).state).toBe('complete');
    } finally {
      execFileSync('umount', ['-l', disk]);
    }
  });
});
