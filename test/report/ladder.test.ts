import { parseHTML } from 'linkedom';
import { beforeAll, describe, expect, test } from 'vitest';
import { deriveRecord } from '../../src/core/derive/derive-record.ts';
import type { LadderCost } from '../../src/core/ladder-schema.ts';
import type { RunEvent, RunRecord, Sample } from '../../src/core/record.ts';
import { renderCsv } from '../../src/report/csv.ts';
import { renderHtml } from '../../src/report/html.ts';
import { renderJson } from '../../src/report/json.ts';
import { layLadder } from '../../src/report/ladder-terminal.ts';
import { ladderView } from '../../src/report/ladder.ts';
import { renderMarkdown } from '../../src/report/markdown.ts';
import { renderTerminal } from '../../src/report/terminal.ts';
import { engineFacts } from '../core/fixtures.ts';
import { BASE, BINDING, END, ladderEvents, ladderManifest, SERVER, SHIPPED } from '../core/ladder-fixture.ts';
import { winner } from './fixtures/records.ts';

const ABSENT = engineFacts('llamafile', {
  state: 'unavailable',
  reason: 'llamafile is not on PATH',
  nextStep: 'Name it with --engine-path.',
  build: null,
});
const EVENTS = ladderEvents({
  speeds: {
    libllama: {},
    binding: { tpotMs: 10.5 },
    server: { ttftMs: 412, loadMs: 750, memoryBytes: 2.1e8, firstTokens: [1, 2, 3, 4] },
    shipped: { tpotMs: 9, firstTokens: [1, 2, 7, 4] },
  },
});
const record = deriveRecord(ladderManifest([BASE, BINDING, SERVER, SHIPPED, ABSENT]), EVENTS);
const gate: RunEvent = {
  type: 'gate',
  engine: 'server',
  gate: 'prompt-cache',
  outcome: 'failed',
  detail: '412 of 512 tokens were cached',
  remedy: 'Switch the cache off.',
};

function view(of: RunRecord): NonNullable<ReturnType<typeof ladderView>> {
  const shown = ladderView({ record: of });
  if (shown === null) throw new TypeError('the record shows no ladder');
  return shown;
}

function sentence(of: RunRecord, engine: string): string | undefined {
  return view(of).rows.find((row) => row.engine === engine)?.sentence;
}

/** The same record with one cost of one rung replaced. */
function withCost(engine: string, metric: LadderCost['metric'], changes: Partial<LadderCost>): RunRecord {
  const { ladder } = record;
  if (ladder === null) throw new TypeError('the record has no ladder');
  const rungs = ladder.rungs.map((rung) =>
    rung.engine !== engine
      ? rung
      : { ...rung, costs: rung.costs.map((cost) => (cost.metric === metric ? { ...cost, ...changes } : cost)) },
  );
  return { ...record, ladder: { ...ladder, rungs } };
}

describe('in words', () => {
  test('a rung on one build: what it costs, and where nothing is measurable', () => {
    expect(sentence(record, 'server')).toMatchInlineSnapshot(
      `"server (on libllama's build): 0.316 ms (0.243 to 0.389) more at the first token, +3.2%; 24.0 µs (20.2 to 27.9) more per prompt token, +3.1%; 248 ms (236 to 260) more to load, +50%; 9.54 MiB (9.54 to 9.54) more memory, +5.0%; nothing measurable per generated token (within ±1.2%); the first 4 greedy tokens identical in 24 requests."`,
    );
  });

  test('a rung as shipped says build + layer together, and that its tokens differ', () => {
    expect(sentence(record, 'shipped')).toMatchInlineSnapshot(
      `"shipped (as shipped, build + layer together): 1.01 ms (0.901 to 1.12) less per generated token, -10%; nothing measurable at the first token (within ±0.8%), per prompt token (within ±0.7%), to load (within ±0.7%) and in memory (within ±0.1%); greedy tokens differ in 24 of 24 requests, first at token 3, as is usual between builds."`,
    );
  });

  test('the base and a missing rung', () => {
    expect(sentence(record, 'libllama')).toBe('libllama: the base.');
    expect(sentence(record, 'llamafile')).toBe(
      'llamafile: not measured: llamafile is not on PATH. Name it with --engine-path.',
    );
  });

  test('a void rung has its reason and no number', () => {
    const voided = deriveRecord(ladderManifest([BASE, SERVER]), [
      ...ladderEvents({ speeds: { libllama: {}, server: { tpotMs: 12 } } }).slice(0, -1),
      gate,
      END,
    ]);
    expect(sentence(voided, 'server')).toMatchInlineSnapshot(
      `"server (on libllama's build): VOID: server failed the prompt-cache gate: 412 of 512 tokens were cached (remedy: Switch the cache off)."`,
    );
    expect(view(voided).rows[1]?.costs.map(({ value }) => value)).toEqual(['VOID', 'VOID', 'VOID', 'VOID', 'VOID']);
  });

  test('a noisy run claims nothing', () => {
    const noisy = deriveRecord(
      ladderManifest([BASE, SERVER]),
      ladderEvents({ speeds: { libllama: {}, server: { tpotMs: 12 } }, reject: 7 }),
    );
    expect(sentence(noisy, 'server')).toMatchInlineSnapshot(
      `"server (on libllama's build): NOISY: 7 of 19 blocks were disturbed: busy."`,
    );
    expect(view(noisy).lead).toMatch(/^NOISY: nothing is claimed\./);
    expect(view(noisy).rows[1]?.costs.map(({ value }) => value)).toEqual(Array.from({ length: 5 }, () => 'NOISY'));
  });

  test('few blocks are PRELIMINARY in the sentence and in every cell', () => {
    const few = deriveRecord(
      ladderManifest([BASE, SERVER]),
      ladderEvents({ speeds: { libllama: {}, server: { tpotMs: 12 } }, blocks: 4 }),
    );
    expect(sentence(few, 'server')).toContain("(on libllama's build): PRELIMINARY: ");
    expect(view(few).rows[1]?.costs.every(({ value }) => value.startsWith('PRELIMINARY '))).toBe(true);
  });

  test.each([
    [
      'a saving is turned around',
      { state: 'saves', ratio: 0.9, extra: -1_000, extraLow: -1_200, extraHigh: -800 },
      '1.00 ms (0.800 to 1.20) less per generated token, -10%',
    ],
    [
      'from a doubling on a factor',
      { state: 'costs', ratio: 3, extra: 20, extraLow: 15, extraHigh: 25 },
      '20.0 µs (15.0 to 25.0) more per generated token, 3.00x',
    ],
    [
      'what may hide in nothing is rounded up',
      { state: 'none', low: 0.9871, high: 1.002 },
      'per generated token (within ±1.3%)',
    ],
    [
      'unresolved shows how wide',
      { state: 'unresolved', low: 0.9, high: 1.25 },
      'unresolved per generated token (-10% to +25%)',
    ],
    [
      'unresolved without an interval',
      { state: 'unresolved', low: null, high: null, ratio: 1.2 },
      'unresolved per generated token (about +20%)',
    ],
    [
      'not compared says why',
      { state: 'not-compared', reasons: ['other work'] },
      'not compared per generated token: other work',
    ],
  ] satisfies [string, Partial<LadderCost>, string][])('%s', (_, changes, expected) => {
    expect(sentence(withCost('binding', 'decode', changes), 'binding')).toContain(expected);
  });
});

describe('in every format', () => {
  test('terminal', () => {
    const text = renderTerminal(record, { color: false, width: 100 });
    expect(text.split('\n\n').find((part) => part.startsWith('Overhead ladder'))).toMatchInlineSnapshot(`
      "Overhead ladder: what each layer costs against libllama
      rung      base's        first            decode              prefill    load     peak
                build         token          ms/token                tok/s           memory
                              short             short             standard
      libllama  base        9.85 ms  9.86 (9.45-10.3)  1,300 (1,250-1,350)  493 ms  191 MiB
      binding   yes         9.85 ms  10.4 (9.96-10.8)  1,300 (1,250-1,350)  493 ms  191 MiB
      server    yes         10.2 ms  9.83 (9.46-10.2)  1,260 (1,210-1,310)  740 ms  200 MiB
      shipped   as shipped  9.86 ms  8.86 (8.52-9.21)  1,300 (1,250-1,350)  493 ms  191 MiB
      - libllama: the base.
      - binding (on libllama's build): 491 µs (439 to 542) more per generated token, +5.0%; nothing
        measurable at the first token (within ±0.9%), per prompt token (within ±0.7%), to load (within
        ±0.8%) and in memory (within ±0.1%); the first 4 greedy tokens identical in 24 requests.
      - server (on libllama's build): 0.316 ms (0.243 to 0.389) more at the first token, +3.2%; 24.0 µs
        (20.2 to 27.9) more per prompt token, +3.1%; 248 ms (236 to 260) more to load, +50%; 9.54 MiB
        (9.54 to 9.54) more memory, +5.0%; nothing measurable per generated token (within ±1.2%); the
        first 4 greedy tokens identical in 24 requests.
      - shipped (as shipped, build + layer together): 1.01 ms (0.901 to 1.12) less per generated token,
        -10%; nothing measurable at the first token (within ±0.8%), per prompt token (within ±0.7%), to
        load (within ±0.7%) and in memory (within ±0.1%); greedy tokens differ in 24 of 24 requests, first
        at token 3, as is usual between builds.
      - llamafile: not measured: llamafile is not on PATH. Name it with --engine-path.
      Cost: the rung minus libllama, paired block by block, first and generated tokens on the prompt
        "short", prompt tokens on "standard", 2 threads each; intervals hold together over a column with
        95%.
      Per prompt token: the time to the first token, shared out over the prompt.
      In-process engines are timed inside their own process, a server by its client: its times include the
        connection.
      Load and memory are of the whole process, the language runtime included.
      Builds: libllama: 1.0.0, b6700; binding: 1.0.0, b6700; server: 1.0.0, b6700; shipped: 9, b1."
    `);
  });

  test('terminal: the table fits into narrow windows, intervals and then names give way', () => {
    for (const width of [100, 80, 60]) {
      const { head, rows } = layLadder(view(record), width);
      expect(Math.max(...[...head, ...rows].map((line) => line.length))).toBeLessThanOrEqual(width);
      expect(head.join(' ').includes('load')).toBe(width > 60);
    }
    expect(layLadder(view(record), 60).rows[0]).toContain('libllama');
    const named = {
      ...view(record),
      rows: view(record).rows.map((row) => ({ ...row, engine: `a-rather-long-name-of-${row.engine}` })),
    };
    expect(Math.max(...layLadder(named, 60).rows.map((line) => line.length))).toBeLessThanOrEqual(60);
  });

  test('markdown', () => {
    const text = renderMarkdown(record);
    const start = text.indexOf('### Overhead ladder');
    expect(text.slice(start, text.indexOf('### Results'))).toMatchInlineSnapshot(`
      "### Overhead ladder: what each layer costs against libllama

      Cost: the rung minus libllama, paired block by block, first and generated tokens on the prompt "short", prompt tokens on "standard", 2 threads each; intervals hold together over a column with 95%.

      - libllama: the base.
      - binding (on libllama's build): 491 µs (439 to 542) more per generated token, +5.0%; nothing measurable at the first token (within ±0.9%), per prompt token (within ±0.7%), to load (within ±0.8%) and in memory (within ±0.1%); the first 4 greedy tokens identical in 24 requests.
      - server (on libllama's build): 0.316 ms (0.243 to 0.389) more at the first token, +3.2%; 24.0 µs (20.2 to 27.9) more per prompt token, +3.1%; 248 ms (236 to 260) more to load, +50%; 9.54 MiB (9.54 to 9.54) more memory, +5.0%; nothing measurable per generated token (within ±1.2%); the first 4 greedy tokens identical in 24 requests.
      - shipped (as shipped, build + layer together): 1.01 ms (0.901 to 1.12) less per generated token, -10%; nothing measurable at the first token (within ±0.8%), per prompt token (within ±0.7%), to load (within ±0.7%) and in memory (within ±0.1%); greedy tokens differ in 24 of 24 requests, first at token 3, as is usual between builds.
      - llamafile: not measured: llamafile is not on PATH. Name it with --engine-path.

      | Rung | Base's build | First token | Decode, ms/token | Prefill, tok/s | Load | Peak memory | Greedy tokens |
      | :-- | :-- | --: | --: | --: | --: | --: | --: |
      | libllama | base | 9.85 ms (9.46-10.3) | 9.86 (9.45-10.3) | 1,300 (1,250-1,350) | 493 ms (473-514) | 191 MiB (191-191) | base |
      | binding | yes | 9.85 ms (9.47-10.2) | 10.4 (9.96-10.8) | 1,300 (1,250-1,350) | 493 ms (474-512) | 191 MiB (191-191) | identical (24) |
      | server | yes | 10.2 ms (9.77-10.6) | 9.83 (9.46-10.2) | 1,260 (1,210-1,310) | 740 ms (711-770) | 200 MiB (200-200) | identical (24) |
      | shipped | as shipped | 9.86 ms (9.47-10.3) | 8.86 (8.52-9.21) | 1,300 (1,250-1,350) | 493 ms (475-512) | 191 MiB (191-191) | differ at token 3 (24 of 24) |
      | llamafile | not measured | – | – | – | – | – | – |

      | Cost of | Base's build | First token | Generated token | Prompt token | Load | Peak memory |
      | :-- | :-- | --: | --: | --: | --: | --: |
      | libllama | base | – | – | – | – | – |
      | binding | yes | none measurable (within ±0.9%) | +491 µs, +5.0% (439 to 542) | none measurable (within ±0.7%) | none measurable (within ±0.8%) | none measurable (within ±0.1%) |
      | server | yes | +0.316 ms, +3.2% (0.243 to 0.389) | none measurable (within ±1.2%) | +24.0 µs, +3.1% (20.2 to 27.9) | +248 ms, +50% (236 to 260) | +9.54 MiB, +5.0% (9.54 to 9.54) |
      | shipped | as shipped | none measurable (within ±0.8%) | -1.01 ms, -10% (-1.12 to -0.901) | none measurable (within ±0.7%) | none measurable (within ±0.7%) | none measurable (within ±0.1%) |
      | llamafile | not measured | – | – | – | – | – |

      - Per prompt token: the time to the first token, shared out over the prompt.
      - In-process engines are timed inside their own process, a server by its client: its times include the connection.
      - Load and memory are of the whole process, the language runtime included.
      - Builds: libllama: 1.0.0, b6700; binding: 1.0.0, b6700; server: 1.0.0, b6700; shipped: 9, b1.

      "
    `);
  });

  describe('html', () => {
    let tables: string[][];
    let page: string;

    beforeAll(() => {
      page = renderHtml(record);
      const { document } = parseHTML(page);
      const section = document.querySelector('section[aria-labelledby=overhead-ladder]');
      tables = [...(section?.querySelectorAll('table') ?? [])].map((table) =>
        [...table.querySelectorAll('tbody tr')].map((row) =>
          [...row.querySelectorAll('th, td')].map(({ textContent }) => textContent.trim()).join(' | '),
        ),
      );
    });

    test('has what was measured, what it costs, and all of it', () => {
      expect(tables).toHaveLength(3);
      expect(tables[0]).toHaveLength(5);
      expect(tables[0]?.[3]).toContain('shipped | as shipped');
      expect(tables[1]?.[1]).toMatch(/^binding \| yes \| .*µs/);
      expect(tables[2]).toHaveLength(3 * 9);
    });

    test('stands before the results', () => {
      expect(page.indexOf('Overhead ladder')).toBeLessThan(page.indexOf('>Results<'));
    });

    test('escapes what a record brings', () => {
      const attack = '<img src=x onerror=alert(1)>';
      const { ladder } = record;
      if (ladder === null) throw new TypeError('the record has no ladder');
      const rungs = ladder.rungs.map((rung) => ({ ...rung, engine: attack, missing: attack }));
      const poisoned = { ...record, ladder: { ...ladder, base: attack, rungs, notes: [attack] } };
      expect(renderHtml(poisoned)).not.toContain('<img src=x');
      expect(renderMarkdown(poisoned)).not.toMatch(/(?<!\\)<img/);
    });
  });

  test('json holds the ladder; the csv stays one row per sample, with the columns that it had', () => {
    expect((JSON.parse(renderJson(record)) as RunRecord).ladder).toEqual(record.ladder);
    const samples = EVENTS.filter((event): event is Sample => event.type === 'sample');
    expect(renderCsv(record, samples)).toBe(renderCsv({ ...record, ladder: null }, samples));
  });

  test('a run that is no ladder shows none', () => {
    expect(ladderView({ record: winner })).toBeNull();
    const texts = [renderTerminal(winner, { color: false, width: 100 }), renderMarkdown(winner), renderHtml(winner)];
    expect(texts.filter((text) => text.includes('Overhead ladder'))).toEqual([]);
  });
});
