import { parseHTML } from 'linkedom';
import { describe, expect, test } from 'vitest';
import { recordSchema } from '../../src/core/record.ts';
import type { EngineFacts, RunRecord } from '../../src/core/record.ts';
import { factLines, shippingLine, shippingView, startToFirstToken } from '../../src/report/facts.ts';
import { renderHtml } from '../../src/report/html.ts';
import { renderMarkdown } from '../../src/report/markdown.ts';
import { renderTerminal } from '../../src/report/terminal.ts';
import { buildView } from '../../src/report/view.ts';
import { tie, voided, winner } from './fixtures/records.ts';

const fact = { source: 'https://example.org/made_up', date: '2026-11-25' };
const FACTS: NonNullable<EngineFacts['shipping']> = {
  installSteps: { ...fact, value: ['npm install it', 'import it'] },
  license: { ...fact, value: 'MIT' },
  platforms: { ...fact, value: ['linux-x64', 'macos-arm64'] },
  accelerators: { ...fact, value: ['cpu', 'metal'] },
  modelSizeLimit: { ...fact, value: null },
  apiSurfaces: { ...fact, value: ['in-process (JavaScript)'] },
  needs: { ...fact, value: ['node', 'service'] },
  takesHubId: { value: true, source: 'measured', date: '2026-11-25' },
};

function withFacts(record: RunRecord, id: string, shipping: EngineFacts['shipping'] = FACTS): RunRecord {
  return { ...record, engines: record.engines.map((engine) => (engine.id === id ? { ...engine, shipping } : engine)) };
}

describe('the section', () => {
  test('one column per engine: declared facts, then what the run measured', () => {
    const view = shippingView(buildView(withFacts(tie, 'llama-cpp')));
    expect(view?.rows.map(({ name, cells }) => [name, ...cells].join(' | '))).toMatchInlineSnapshot(`
      [
        "install | npm install it; import it | not declared",
        "licence | MIT | not declared",
        "platforms | linux-x64, macos-arm64 | not declared",
        "accelerators | cpu, metal | not declared",
        "model size | no limit but memory | not declared",
        "interfaces | in-process (JavaScript) | not declared",
        "users need | Node.js, a running service | not declared",
        "hub ids | downloads a model by its hub id | not declared",
        "load, measured | 412 ms | 412 ms",
        "start to first token, measured | 1.44 s | 1.44 s",
        "peak memory, measured | 283 MiB | 283 MiB",
      ]
    `);
    expect(view?.sources.map(({ engine, facts }) => [engine, facts.length])).toEqual([['llama-cpp', 8]]);
  });

  test('engines that did not run keep their facts', () => {
    const view = shippingView(buildView(withFacts(voided, 'llamafile')));
    const column = view?.engines.indexOf('llamafile') ?? -1;
    expect(view?.rows.map(({ cells }) => cells[column])).toEqual([
      'npm install it; import it',
      'MIT',
      'linux-x64, macos-arm64',
      'cpu, metal',
      'no limit but memory',
      'in-process (JavaScript)',
      'Node.js, a running service',
      'downloads a model by its hub id',
      'not measured',
      'not measured',
      'not measured',
    ]);
  });

  test('without facts there is no section in any format', () => {
    expect(shippingView(buildView(winner))).toBeNull();
    expect(shippingLine(winner)).toBeNull();
    expect(renderMarkdown(winner)).not.toContain('ship');
    expect(renderHtml(winner)).not.toContain('What it takes to ship');
    expect(renderTerminal(winner, { color: false, width: 100 })).not.toContain('Shipping');
  });

  test('a record from before there were facts is read', () => {
    const old = JSON.parse(JSON.stringify(tie)) as RunRecord;
    for (const engine of [...old.engines, ...old.manifest.engines]) Reflect.deleteProperty(engine, 'shipping');
    expect(recordSchema.parse(old)).toEqual(tie);
  });
});

describe('start to first token', () => {
  test('load and first token are added within each block, then the median', () => {
    const values = { load: [100, 300, 200], ttft: [10, 10, 50] };
    const record = {
      ...tie,
      summaries: tie.summaries.map((summary) =>
        summary.metric === 'load' || summary.metric === 'ttft'
          ? { ...summary, values: values[summary.metric] }
          : summary,
      ),
    };
    // Blocks: 110, 310, 250. The sum of the medians would be 210.
    expect(startToFirstToken(record, 'llama-cpp', 'standard')).toBe(250);
  });

  test('nothing where blocks lack one of the two', () => {
    const record = { ...tie, summaries: tie.summaries.filter(({ metric }) => metric !== 'load') };
    expect(startToFirstToken(record, 'llama-cpp', 'standard')).toBeNull();
    const fewer = tie.summaries.map((summary) => (summary.metric === 'load' ? { ...summary, values: [1] } : summary));
    expect(startToFirstToken({ ...tie, summaries: fewer }, 'llama-cpp', 'standard')).toBeNull();
  });

  test('`short` is taken where the run has it, and the note names it', () => {
    expect(shippingView(buildView(withFacts(winner, 'llama-cpp')))?.note).toContain('prompt “short”');
    expect(shippingView(buildView(withFacts(tie, 'llama-cpp')))?.note).toContain('prompt “standard”');
    expect(shippingView(buildView(withFacts(tie, 'llama-cpp')))?.note).toContain('warm page cache');
  });
});

describe('formats', () => {
  test('markdown', () => {
    const text = renderMarkdown(withFacts(tie, 'llama-cpp'));
    const start = text.indexOf('### What it takes to ship');
    expect(text.slice(start, text.indexOf('### Equal work'))).toMatchInlineSnapshot(`
      "### What it takes to ship

      | Fact | llama-cpp | llama-server |
      | :-- | :-- | :-- |
      | install | npm install it; import it | not declared |
      | licence | MIT | not declared |
      | platforms | linux-x64, macos-arm64 | not declared |
      | accelerators | cpu, metal | not declared |
      | model size | no limit but memory | not declared |
      | interfaces | in-process (JavaScript) | not declared |
      | users need | Node.js, a running service | not declared |
      | hub ids | downloads a model by its hub id | not declared |
      | load, measured | 412 ms | 412 ms |
      | start to first token, measured | 1.44 s | 1.44 s |
      | peak memory, measured | 283 MiB | 283 MiB |

      Declared facts come from the sources below; the measured ones are of this run. Start to first token: load plus the first token of the prompt “standard”, median over blocks, warm page cache; the first start after a reboot takes longer.

      <details><summary>Sources</summary>

      - llama-cpp, install: <https://example.org/made_up>, 2026-11-25
      - llama-cpp, licence: <https://example.org/made_up>, 2026-11-25
      - llama-cpp, platforms: <https://example.org/made_up>, 2026-11-25
      - llama-cpp, accelerators: <https://example.org/made_up>, 2026-11-25
      - llama-cpp, model size: <https://example.org/made_up>, 2026-11-25
      - llama-cpp, interfaces: <https://example.org/made_up>, 2026-11-25
      - llama-cpp, users need: <https://example.org/made_up>, 2026-11-25
      - llama-cpp, hub ids: measured, 2026-11-25

      </details>

      "
    `);
  });

  test('one line on a terminal', () => {
    const line = shippingLine(
      withFacts(withFacts(tie, 'llama-cpp'), 'llama-server', { ...FACTS, needs: { ...fact, value: [] } }),
    );
    expect(line).toMatchInlineSnapshot(
      `"Shipping: llama-cpp MIT, needs Node.js, a running service; llama-server MIT, needs nothing. All facts with sources: runoff engines --facts"`,
    );
    expect(renderTerminal(withFacts(tie, 'llama-cpp'), { color: false, width: 80 })).toContain(
      'Shipping: llama-cpp MIT',
    );
  });

  test('html: every fact with source and date, as text: the page links nowhere', () => {
    const { document } = parseHTML(renderHtml(withFacts(tie, 'llama-cpp')));
    const section = document.querySelector('section[aria-labelledby=what-it-takes-to-ship]');
    const text = (section?.textContent ?? '').replaceAll(/\s+/g, ' ');
    for (const line of factLines(FACTS)) expect(text).toContain(`${line.name}: ${line.source}, ${line.date}`);
    expect(text).toContain('Node.js, a running service');
    expect([...document.querySelectorAll('[href], [src], script')]).toEqual([]);
  });

  test('facts of a record are text: neither markup nor a link that shows another address', () => {
    const source = 'https://example.org/)[x](https://evil.example)<script>';
    const license = { value: '<img src=x onerror=alert(1)>', source, date: '2026-11-25' };
    const record = withFacts(tie, 'llama-cpp', { ...FACTS, license });
    expect(renderHtml(record)).not.toContain('<img');
    expect(renderHtml(record)).not.toContain('<script');
    const markdown = renderMarkdown(record);
    expect(markdown).not.toMatch(/(?<!\\)<(img|script)/);
    expect(markdown).not.toMatch(/(?<!\\)\]\(/);
  });
});
