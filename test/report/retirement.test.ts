import { describe, expect, test } from 'vitest';
import { deriveRecord } from '../../src/core/derive/derive-record.ts';
import type { RunEvent, RunRecord, Sample } from '../../src/core/record.ts';
import { renderReport, reportFormats } from '../../src/report/formats.ts';
import type { ReportFormat } from '../../src/report/formats.ts';
import { blockEvents, engineFacts, manifestOf } from '../core/fixtures.ts';

const MS = { alpha: 1_000, beta: 1_050, gamma: 3_000 };
const RULE = { ratio: 2, alpha: 0.001 };

function block(number: number, ids: readonly (keyof typeof MS)[]): RunEvent[] {
  const cells = ids.map((engine, index) => ({ engine, totalMs: [MS[engine] + ((number * 7 + index * 3) % 5)] }));
  return blockEvents(number, cells);
}

const EVENTS: RunEvent[] = [
  { type: 'session', at: '2026-11-25', resumed: false },
  { type: 'plan', blocks: 8, looks: [6, 8], remainingMs: 300_000, estimateMs: 200_000, retirement: RULE },
  ...[0, 1, 2, 3, 4, 5].flatMap((number) => block(number, ['alpha', 'beta', 'gamma'])),
  {
    type: 'look',
    blocks: 6,
    resolved: false,
    retired: [{ engine: 'gamma', than: 'alpha', ratio: 3, low: 2.9, restMs: 6_000 }],
    restMs: 10_000,
  },
  ...[6, 7].flatMap((number) => block(number, ['alpha', 'beta'])),
  { type: 'end', state: 'complete', reason: '8 of 8 blocks', elapsedMs: 100_000 },
];

const record = deriveRecord(manifestOf(Object.keys(MS).map((id) => engineFacts(id))), EVENTS);
const samples = EVENTS.filter((event): event is Sample => event.type === 'sample');

async function render(format: ReportFormat, shown: RunRecord = record): Promise<string> {
  const text = await renderReport(format, shown, samples, { color: false, width: 100 });
  return text.replaceAll(/\s+/g, ' ');
}

describe('a retired engine', () => {
  test.each(['terminal', 'markdown', 'html'] as const)(
    '%s: what is missing is not measured, with the reason',
    async (format) => {
      const text = await render(format);
      expect(text).toMatch(
        /gamma(<\/strong>)?, all blocks from 7 on: retired after block 6: at least 2\.9x slower than alpha \(est\. 6\.00 s\)/,
      );
      expect(text).toContain(
        'gamma was retired after block 6: at least 2.9x slower than alpha; its figures are of the blocks before',
      );
      expect(text).toContain('Its other blocks are not measured: neither losses nor ties.');
    },
  );

  test.each(['terminal', 'markdown', 'html'] as const)(
    '%s: the certificate says that not all are in all blocks',
    async (format) => {
      expect(await render(format)).toMatch(
        /blocks\W+(<span class="badge neutral">|\**)not all in all.{0,25}gamma: 6 of 8 blocks \(retired after block 6/,
      );
    },
  );

  test('json: the decision with its evidence', async () => {
    const parsed = JSON.parse(await render('json')) as RunRecord;
    expect(parsed.retired).toMatchObject([{ engine: 'gamma', blocks: 6, than: 'alpha', restMs: 6_000 }]);
  });

  test('csv: the column is filled for its rows only', async () => {
    const [head, ...lines] = (await renderReport('csv', record, samples, { color: false, width: 100 }))
      .trim()
      .split('\r\n');
    const column = (head ?? '').split(',').indexOf('retired_after_blocks');
    const engine = (head ?? '').split(',').indexOf('engine');
    const told = new Set(lines.map((line) => `${line.split(',')[engine]} ${line.split(',')[column]}`));
    expect([...told].sort()).toEqual(['alpha ', 'beta ', 'gamma 6']);
  });
});

test.each(reportFormats)('%s: a run where nobody was retired does not speak of it', async (format) => {
  const { retired: _, ...plain } = record;
  const { retired: __, ...certificate } = record.certificate;
  const text = await render(format, { ...plain, certificate, verdict: { ...plain.verdict, caveats: [] } });
  expect(text.replace('retired_after_blocks', '')).not.toContain('retired');
});
