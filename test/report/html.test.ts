import { parseHTML } from 'linkedom';
import { describe, expect, test } from 'vitest';
import type { RunRecord } from '../../src/core/record.ts';
import { renderHtml } from '../../src/report/html.ts';
import { renderChart } from '../../src/report/html/chart.ts';
import { buildView } from '../../src/report/view.ts';
import { noisy, tie, voided, winner } from './fixtures/records.ts';

interface Queryable {
  readonly textContent: string;
  getAttribute(name: string): string | null;
  querySelectorAll(selector: string): Iterable<Queryable>;
}

const parse = (text: string): Queryable => parseHTML(text).document;
const all = (page: Queryable, selector: string): Queryable[] => [...page.querySelectorAll(selector)];
const texts = (page: Queryable, selector: string): string[] =>
  all(page, selector).map(({ textContent }) => textContent.replaceAll(/\s+/g, ' ').trim());

/** Every string of the record becomes an attack, so that a place which forgets to escape is found wherever it is. */
function poison(record: RunRecord): RunRecord {
  const attack = '<img src=http://evil.example/x onerror=alert(1)>"\'&amp;</style></title><script>';
  const { manifest } = record;
  return {
    ...record,
    verdict: { ...record.verdict, headline: attack, why: attack, caveats: [attack] },
    engines: record.engines.map((engine) => ({
      ...engine,
      title: attack,
      location: attack,
      numericMode: attack,
      command: [attack],
    })),
    warnings: [{ code: 'x', engine: attack, message: attack, hint: attack }],
    notMeasured: [{ engine: attack, prompt: attack, reason: attack, estimateMs: null }],
    gates: [{ type: 'gate', engine: attack, gate: 'truncation', outcome: 'failed', detail: attack, remedy: attack }],
    comparisons: record.comparisons.map((comparison) => ({
      ...comparison,
      a: attack,
      prompt: attack,
      reasons: [attack],
    })),
    manifest: {
      ...manifest,
      runId: attack,
      machine: { ...manifest.machine, cpu: attack },
      models: manifest.models.map((model) => ({ ...model, name: attack })),
    },
  };
}

describe('html report', () => {
  test.each([
    ['winner', winner],
    ['tie', tie],
    ['noisy', noisy],
    ['voided', voided],
  ])('%s is one well-formed page', (_, record) => {
    const page = parse(renderHtml(record));
    expect(texts(page, 'h1')).toEqual([record.verdict.headline]);
    expect(texts(page, 'title')).toEqual([record.verdict.headline]);
    const ids = all(page, '[id]').map((element) => element.getAttribute('id'));
    expect(new Set(ids).size).toBe(ids.length);
    for (const table of all(page, 'table')) expect(all(table, 'caption')).toHaveLength(1);
  });

  test('it loads nothing and runs nothing', () => {
    const text = renderHtml(winner);
    const page = parse(text);
    expect(all(page, 'script, link, img, iframe, object, embed, [src], [href]')).toEqual([]);
    expect(text).not.toMatch(/https?:|url\(|@import/);
    expect(all(page, 'meta[http-equiv="Content-Security-Policy"]').map((meta) => meta.getAttribute('content'))).toEqual(
      ["default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"],
    );
  });

  test('what a record says is text, everywhere', () => {
    const text = renderHtml(poison(voided));
    const page = parse(text);
    expect(all(page, 'img, script, [onerror]')).toEqual([]);
    expect(all(page, 'title, style')).toHaveLength(2 + all(page, 'svg style').length);
    expect(text).not.toContain('<img');
    expect(text).not.toContain('<script');
  });

  test('an engine id inside a chart is text', () => {
    const id = '</text></svg><script>';
    const record = {
      ...tie,
      engines: tie.engines.map((engine) => (engine.id === 'llama-cpp' ? { ...engine, id } : engine)),
      summaries: tie.summaries.map((summary) =>
        summary.engine === 'llama-cpp' ? { ...summary, engine: id } : summary,
      ),
    };
    expect(renderHtml(record)).not.toContain('<script');
    expect(all(parse(renderHtml(record)), 'figure > svg')).toHaveLength(3);
  });

  test('one chart per metric, each with its unit, its direction and the numbers in words', () => {
    const page = parse(renderHtml(tie));
    expect(texts(page, 'figure h3')).toEqual(['Request time', 'Prefill rate', 'Decode rate']);
    expect(texts(page, 'figcaption')).toMatchInlineSnapshot(`
      [
        "time from prompt to last token, lower is better",
        "tokens per second, higher is better",
        "tokens per second, higher is better",
      ]
    `);
    expect(all(page, 'figure > svg').map((svg) => [svg.getAttribute('role'), svg.getAttribute('aria-label')]))
      .toMatchInlineSnapshot(`
      [
        [
          "img",
          "Request time, time from prompt to last token, lower is better. standard: llama-cpp 1.74 s (1.73-1.76); llama-server 1.75 s (1.74-1.77).",
        ],
        [
          "img",
          "Prefill rate, tokens per second, higher is better. standard: llama-cpp 498 tok/s (494-502); llama-server 495 tok/s (491-499).",
        ],
        [
          "img",
          "Decode rate, tokens per second, higher is better. standard: llama-cpp 88.0 tok/s (87.3-88.7); llama-server 87.6 tok/s (86.9-88.3).",
        ],
      ]
    `);
  });

  test('a metric that nobody has gets no chart', () => {
    const record = { ...tie, summaries: tie.summaries.filter(({ metric }) => metric !== 'prefill') };
    expect(texts(parse(renderHtml(record)), 'figure h3')).toEqual(['Request time', 'Decode rate']);
  });

  test('a failed gate stands at the top with its remedy', () => {
    expect(texts(parse(renderHtml(voided)), 'header .notice.bad')).toMatchInlineSnapshot(`
      [
        "Validity gate failed: llama-server, prompt-cache. 510 of 512 prompt tokens came from the cache Remedy: Start it with --cache-ram 0, or let runoff start it.",
      ]
    `);
  });

  test('settings that differ from those asked for are marked', () => {
    const record = {
      ...tie,
      engines: tie.engines.map((engine) => ({ ...engine, settings: { threads: engine.id === 'llama-cpp' ? 4 : 8 } })),
    };
    const cells = texts(parse(renderHtml(record)), 'section[aria-labelledby=settings] tbody tr > *');
    expect(cells.slice(0, 4)).toEqual(['threads', '4', '4', '8 differs']);
    expect(cells.slice(4, 8)).toEqual(['context tokens', '2048', 'not reported', 'not reported']);
  });

  test('nothing of the record is left out: warnings, gates, missing engines, commands', () => {
    const [text = ''] = texts(parse(renderHtml(voided)), 'main');
    for (const gate of voided.gates) expect(text).toContain(gate.detail);
    for (const { reason } of voided.notMeasured) expect(text).toContain(reason);
    expect(text).toContain('runoff setup --engine llamafile');
    expect(text).toContain("/opt/mlx-lm/bin --model '/models/my model.gguf'");
    expect(texts(parse(renderHtml(noisy)), 'main')[0]).toContain('Close them, or run on an idle machine.');
  });

  test('the chart of a metric', async () => {
    const svg = renderChart(buildView(tie), 'decode') ?? '';
    const rounded = svg
      .replaceAll(/-?\d+\.\d+/g, (number) => String(Number(Number(number).toFixed(1))))
      .replaceAll('><', '>\n<');
    await expect(`${rounded}\n`).toMatchFileSnapshot('./fixtures/decode-chart.svg');
  });
});
