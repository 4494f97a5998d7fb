import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { END_MS_MAX, noPty, skipped, useWorkspace } from './cli.ts';

const workspace = useWorkspace();
const CTRL_C = '\u0003';

if (noPty !== null) skipped('interrupt', noPty);

describe.skipIf(noPty !== null)('Ctrl-C on a terminal', () => {
  test('while it prepares: nothing is left behind', async () => {
    const w = workspace();
    await w.behave('beta', { detectMs: 2_000 });
    const { output, exitCode, msAfterKeys } = w.onTerminal(w.run(['alpha', 'beta']), [
      ['which engine should you ship', CTRL_C],
    ]);
    expect(exitCode).toBe(130);
    expect(msAfterKeys).toBeLessThan(END_MS_MAX);
    expect(output).toContain('Stopping: the engine is being ended');
    expect(output).toContain('runoff: stopped before anything was measured');
    expect(w.files()).toEqual([]);
    expect(await w.orphans()).toEqual([]);
  });

  test('at the question: nothing is measured', async () => {
    const w = workspace();
    const args = w.run(['alpha']).filter((argument) => argument !== '--yes');
    const { output, exitCode, msAfterKeys } = w.onTerminal(args, [['[Y/n]', CTRL_C]]);
    expect(output).toContain('Measure for up to 40 s now? [Y/n]');
    expect(exitCode).toBe(130);
    expect(msAfterKeys).toBeLessThan(END_MS_MAX);
    expect(output).toContain('runoff: nothing was measured');
    expect(w.files()).toEqual([]);
  });

  test.each([
    ['"n"', 'n\r'],
    ['Ctrl-D', '\u0004'],
  ])('%s at the question: nothing is measured', async (_, keys) => {
    const w = workspace();
    const args = w.run(['alpha']).filter((argument) => argument !== '--yes');
    const { output, exitCode } = w.onTerminal(args, [['[Y/n]', keys]]);
    expect(exitCode).toBe(130);
    expect(output).toContain('runoff: nothing was measured');
    expect(w.files()).toEqual([]);
  });

  test('while an engine is checked, one that ignores SIGTERM', async () => {
    const w = workspace();
    await w.behave('alpha', { decodeMsPerToken: 100, ignoreSigterm: true });
    const { output, exitCode, msAfterKeys } = w.onTerminal(w.run(['alpha', 'beta']), [['Checking alpha', CTRL_C]]);
    expect(exitCode).toBe(130);
    expect(msAfterKeys).toBeLessThan(END_MS_MAX);
    expect(output).toContain(`Go on with: runoff run --resume ${w.out}`);
    expect((await w.record()).state).toBe('interrupted');
    expect(await w.orphans()).toEqual([]);
  });

  test('while it measures: the record is valid, and --resume finishes it', async () => {
    const w = workspace();
    await w.behave('alpha', { decodeMsPerToken: 3 });
    const { output, exitCode, msAfterKeys } = w.onTerminal(w.run(['alpha', 'beta']), [['Block 1 of 3', CTRL_C]]);
    expect(exitCode).toBe(130);
    expect(msAfterKeys).toBeLessThan(END_MS_MAX);
    expect(output).toContain('Interrupted. Go on with');
    expect((await w.record()).state).toBe('interrupted');
    expect(await w.orphans()).toEqual([]);
    expect(w.temporaryFiles()).toEqual([]);

    const resumed = await w.runoff(['run', '--resume', w.out, '--no-install', '--yes']);
    expect(resumed.code).toBe(0);
    expect((await w.record()).state).toBe('complete');
    const sessions = (await w.events()).flatMap((event) => (event.type === 'session' ? [event.resumed] : []));
    expect(sessions).toEqual([false, true]);
  });

  test('twice: it ends at once, and the events are valid', async () => {
    const w = workspace();
    await w.behave('alpha', { decodeMsPerToken: 20, ignoreSigterm: true });
    const { exitCode, msAfterKeys } = w.onTerminal(w.run(['alpha', 'beta']), [
      ['Checking alpha', CTRL_C],
      ['Stopping', CTRL_C],
    ]);
    expect(exitCode).toBe(130);
    expect(msAfterKeys).toBeLessThan(END_MS_MAX);
    expect((await w.events()).length).toBeGreaterThan(0);
    expect(await w.orphans()).toEqual([]);
  });
});

describe('without a terminal', () => {
  test.each(['SIGTERM', 'SIGHUP'] as const)('%s ends it as Ctrl-C does', async (signal) => {
    const w = workspace();
    await w.behave('alpha', { decodeMsPerToken: 3 });
    const run = w.start(w.run(['alpha', 'beta']));
    await run.printed('Block 1 of 3');
    run.process.kill(signal);
    const { code, stderr } = await run.finished;
    expect(code).toBe(130);
    expect(stderr).toContain('Interrupted. Go on with');
    expect((await w.record()).state).toBe('interrupted');
    expect(await w.orphans()).toEqual([]);
  });

  test('kill -9 of runoff: no process is left, the record is valid, and --resume finishes it', async () => {
    const w = workspace();
    await w.behave('alpha', { decodeMsPerToken: 3, ignoreSigterm: true });
    const run = w.start(w.run(['alpha', 'beta']));
    await run.printed('Block 1 of 3');
    expect(w.processes('worker.mjs').length).toBeGreaterThan(0);
    run.process.kill('SIGKILL');
    await run.finished;
    expect(await w.orphans()).toEqual([]);

    const report = await w.runoff(['report', w.out, '--format', 'json']);
    expect([report.code, (JSON.parse(report.stdout) as { state: string }).state]).toEqual([0, 'interrupted']);
    expect(existsSync(join(w.out, 'run.lock'))).toBe(true);
    await w.behave('alpha', { decodeMsPerToken: 3 });
    const resumed = await w.runoff(['run', '--resume', w.out, '--no-install', '--yes']);
    expect(resumed.code).toBe(0);
    expect((await w.record()).state).toBe('complete');
    expect(w.files()).toEqual([
      'manifest.json',
      'record.json',
      'report.csv',
      'report.html',
      'report.md',
      'samples.jsonl',
    ]);
  });

  test('two runs in one folder: the second is refused', async () => {
    const w = workspace();
    await w.behave('alpha', { decodeMsPerToken: 3 });
    const run = w.start(w.run(['alpha', 'beta']));
    await run.printed('Block 1 of 3');
    const second = await w.runoff(['run', '--resume', w.out, '--no-install', '--yes']);
    expect(second.code).toBe(2);
    expect(second.stderr).toMatch(/another runoff \(process \d+\) is working in/);
    run.process.kill('SIGTERM');
    expect((await run.finished).code).toBe(130);
  });
});
