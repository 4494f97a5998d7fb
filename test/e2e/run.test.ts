import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { recordSchema } from '../../src/core/record.ts';
import { installFakeServer } from '../fixtures/llama-server/fake-server.ts';
import { writeSplitModel } from '../models/split-model.ts';
import { useWorkspace } from './cli.ts';

const workspace = useWorkspace();

describe('a whole run', () => {
  test('three engines to a verdict, with every report', async () => {
    const w = workspace();
    const { code, stdout, stderr } = await w.runoff(w.run(['alpha', 'beta', 'gamma'], '--blocks', '4'));
    expect(code).toBe(0);
    expect(w.files()).toEqual([
      'manifest.json',
      'record.json',
      'report.csv',
      'report.html',
      'report.md',
      'samples.jsonl',
    ]);
    expect(stderr).toMatch(/✓ alpha checked: prefill ~\d+ tok\/s, decode ~\d+ tok\/s/);
    expect(await w.orphans()).toEqual([]);
    expect(w.temporaryFiles()).toEqual([]);

    const record = await w.record();
    expect(record.state).toBe('complete');
    expect(record.gates.filter(({ outcome }) => outcome !== 'passed')).toEqual([]);
    expect(record.gates).toHaveLength(24);
    expect(record.certificate.weights.state).toBe('same-file');
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain(record.verdict.headline.replaceAll(/\s+/g, ' '));

    // alpha and beta are the same; gamma is 20% slower. On a machine that is busy with other things there is no verdict.
    expect(['inconclusive', 'tie', 'noisy', 'load-dependent', 'winner']).toContain(record.verdict.state);
    for (const comparison of record.comparisons.filter(({ verdict }) => verdict === 'FASTER')) {
      expect([comparison.a, comparison.b]).toContain('gamma');
      expect(comparison.faster === 'a' ? comparison.a : comparison.b).not.toBe('gamma');
    }

    const html = await readFile(join(w.out, 'report.html'), 'utf8');
    expect(html).toContain('<!doctype html>');
    expect(html).not.toMatch(/(src|href)="https?:/);
    for (const format of ['terminal', 'markdown', 'csv', 'json', 'html']) {
      const again = await w.runoff(['report', w.out, '--format', format]);
      expect([format, again.code, again.stderr]).toEqual([format, 0, '']);
      expect(again.stdout.length).toBeGreaterThan(200);
    }
  });

  test('a model in several files: the engines get the first, and all count', async () => {
    const w = workspace();
    const path = await writeSplitModel(w.model, join(w.folder, 'tiny'));
    const { code } = await w.runoff(w.run(['alpha'], '--model', path));
    expect(code).toBe(0);
    const [facts] = (await w.record()).manifest.models;
    expect(facts).toMatchObject({ path, name: 'tiny' });
    expect(facts?.fileBytes).toBeGreaterThan((await stat(path)).size);
  });

  test('--json prints the record on stdout and nothing else', async () => {
    const w = workspace();
    const { code, stdout } = await w.runoff(w.run(['alpha'], '--json'));
    expect(code).toBe(0);
    const record = recordSchema.parse(JSON.parse(stdout));
    expect(record).toEqual(await w.record());
  });

  test('a llama-server binary that is given is measured over HTTP, with its own timings', async () => {
    const w = workspace();
    const binary = await installFakeServer(w.folder, { decodeMsPerToken: 0.7 });
    const { code } = await w.runoff(w.run(['llama-server'], '--engine-path', `llama-server=${binary}`, '--gpu', 'off'));
    expect(code).toBe(0);
    const record = await w.record();
    expect(record.gates.filter(({ outcome }) => outcome !== 'passed')).toEqual([]);
    expect(record.engines[0]?.build?.version).toBe('llama-server 6900 (a1b2c3d4)');
    expect(record.engines[0]?.command?.slice(1, 3)).toEqual(['--model', w.model]);
    const measured = (await w.events()).filter((event) => event.type === 'sample' && event.kind === 'measured');
    expect(measured.length).toBeGreaterThan(0);
    for (const event of measured)
      expect(event).toMatchObject({
        promptTokens: 64,
        generatedTokens: 64,
        cachedTokens: 0,
        engineDecodeIntervalCount: 63,
      });
    expect(await w.orphans()).toEqual([]);
    expect(w.temporaryFiles()).toEqual([]);
  });

  test('a plan file in the folder is used, and the command line goes before it', async () => {
    const w = workspace();
    await writeFile(
      join(w.folder, 'runoff.config.json'),
      JSON.stringify({ generate: 70, prompts: [48], blocks: 5, threads: 1 }),
    );
    const args = w
      .run(['alpha'])
      .filter(
        (argument, index, all) =>
          !['--prompt', '--generate'].includes(argument) && !['--prompt', '--generate'].includes(all[index - 1] ?? ''),
      );
    const { code, stderr } = await w.runoff([...args, '--dry-run']);
    expect(code).toBe(0);
    expect(stderr).toContain('Prompts   48 tokens; 70 tokens generated after each');
    expect(stderr).toContain('up to 3 blocks');
  });
});

test('--dry-run prints the plan and measures nothing', async () => {
  const w = workspace();
  const { code, stdout, stderr } = await w.runoff(w.run(['alpha', 'beta'], '--dry-run'));
  expect([code, stdout, w.files()]).toEqual([0, '', []]);
  expect(w.normalise(stderr)).toMatchInlineSnapshot(`
    "runoff 0.1.0: which engine should you ship for this model, on this machine?

    Model     MODEL
    Engines   alpha: alpha 1.0.0
              beta: beta 1.0.0
    Prompts   64 tokens; 64 tokens generated after each
    Time      at most 40 s of measuring, up to 3 blocks; installing comes before it

    Nothing was installed or measured. Without --dry-run the run starts."
  `);
});

test('an engine that does less work voids the comparison: exit code 3, and the reason', async () => {
  const w = workspace();
  await w.behave('beta', { fault: 'early-end' });
  const { code, stdout, stderr } = await w.runoff(w.run(['alpha', 'beta']));
  expect(stderr).toContain('✗ beta: early-end: 4 of 16 tokens generated');
  const record = await w.record();
  // A machine so busy that no block was accepted says so instead.
  if (record.verdict.state === 'noisy') return;
  expect([code, record.verdict.state]).toEqual([3, 'void']);
  expect(stdout).toContain('beta failed the early-end gate');
});

// Fails until planSchema.engines (src/core/record.ts) takes paths: an ID has at most 100 characters, and makePlan then throws a ZodError.
test('an adapter file deep in folders is an engine like any other', async () => {
  const w = workspace();
  const folder = join(w.folder, ...Array.from({ length: 8 }, (_, index) => `folder-number-${index}`));
  await mkdir(folder, { recursive: true });
  const alpha = w.run(['alpha']).at(-1) ?? '';
  await writeFile(join(folder, 'alpha.ts'), `export { engine } from '${alpha}';\n`);
  const { code } = await w.runoff(w.run([join(folder, 'alpha.ts')]));
  expect(code).toBe(0);
});
