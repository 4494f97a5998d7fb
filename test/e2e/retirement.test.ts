import { expect, test } from 'vitest';
import { useWorkspace } from './cli.ts';
import type { Workspace } from './cli.ts';

const workspace = useWorkspace();
const BLOCKS = ['--blocks', '8', '--budget', '80s'] as const;

/** beta is 5% slower than alpha, just at the margin, so that the first look leaves them open; gamma is three times slower. */
async function behave(w: Workspace): Promise<void> {
  await w.behave('alpha', { noise: 0.01 });
  await w.behave('beta', { prefillMsPerToken: 0.105, decodeMsPerToken: 0.525, noise: 0.01 });
  // The fixture gamma is 1.2 times slower by itself.
  await w.behave('gamma', { prefillMsPerToken: 0.25, decodeMsPerToken: 1.25, noise: 0.01 });
}

async function cellsOf(w: Workspace, engine: string): Promise<number> {
  const blocks = (await w.events()).flatMap((event) =>
    event.type === 'cell-end' && event.engine === engine && event.state === 'complete' ? [event.block] : [],
  );
  return new Set(blocks).size;
}

test('an engine three times slower is retired at an early look, stays away on resume, and is told in every report', async () => {
  const w = workspace();
  await behave(w);
  const run = w.start(w.run(['alpha', 'beta', 'gamma'], ...BLOCKS));
  const isRetired = await run.printed('gamma is retired').then(
    () => true,
    () => false,
  );
  run.process.kill('SIGTERM');
  const { code, stderr } = await run.finished;
  if (!isRetired) {
    // Only a machine that is busy with other things never comes to the first look.
    const accepted = (await w.events()).filter((event) => event.type === 'block-end' && event.state === 'accepted');
    expect(new Set(accepted.map((event) => event.type === 'block-end' && event.block)).size).toBeLessThan(6);
    return;
  }
  expect(code).toBe(130);
  expect(stderr).toMatch(
    / {2}– gamma is retired after block [46]: at least 2\.\dx slower than alpha; \d+ s of the \d+ s left/,
  );

  const resumed = await w.runoff(['run', '--resume', w.out, '--no-install', '--yes']);
  expect(resumed.code).toBe(0);
  const record = await w.record();
  expect(record.retired).toMatchObject([{ engine: 'gamma', than: 'alpha' }]);
  const blocks = record.retired?.[0]?.blocks ?? 0;
  expect([4, 6]).toContain(blocks);
  expect(record.verdict.topGroup).not.toContain('gamma');
  const events = await w.events();
  const looks = events.filter((event) => event.type === 'look' && event.retired.length > 0);
  expect(looks).toHaveLength(1);
  const after = events.slice(events.findIndex((event) => event === looks[0]));
  expect(after.filter((event) => event.type === 'cell-start' && event.engine === 'gamma')).toEqual([]);
  const told = `gamma, all blocks from ${blocks + 1} on: retired after block ${blocks}: at least 2.`;
  expect(resumed.stdout.replaceAll(/\s+/g, ' ')).toContain(told);
  const again = await w.runoff(['report', w.out, '--format', 'markdown']);
  expect(again.stdout.replaceAll(/\s+/g, ' ')).toContain(told);
  expect(await w.orphans()).toEqual([]);
  if (record.verdict.state === 'noisy') return;
  expect([record.state, await cellsOf(w, 'beta')]).toEqual(['complete', 8]);
});
