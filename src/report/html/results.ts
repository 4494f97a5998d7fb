/** The upper half of the page: verdict, charts, table, pairs, and what went wrong. */
import type { Metric } from '../../core/record.ts';
import { type Cell, type EngineResult, type PairView, type ReportView, TABLE_INTERVAL } from '../view.ts';
import { metricWords, type Tone } from '../words.ts';
import { renderChart } from './chart.ts';
import { details, html, list, type Markup, section, table, trusted } from './markup.ts';

const CHART_METRICS: readonly Metric[] = ['request', 'prefill', 'decode'];

export const badge = (text: string, tone: Tone): Markup => html`<span class="badge ${tone}">${text}</span>`;

export function verdict(view: ReportView): Markup {
  const { headline, why, caveats, preliminary } = view.record.verdict;
  return html`<header>
<p class="quiet">runoff: which local LLM engine to ship, measured on one machine</p>
<div class="verdict ${view.status.tone}">
<p>${badge(view.status.word, view.status.tone)}${preliminary ? badge('PRELIMINARY', 'caution') : null}</p>
<h1>${headline}</h1>
${why === null ? null : html`<p><strong>Why:</strong> ${why}</p>`}
</div>
${view.notices.map((notice) => html`<p class="notice caution">${notice}</p>`)}
${failedGates(view)}
<p class="quiet">${view.subtitle}</p>
${caveats.length === 0 ? null : html`<h3>Limits of this statement</h3>${list(caveats)}`}
</header>\n`;
}

/** A failed gate stands beside the verdict: whoever reads only the top must see it. */
function failedGates(view: ReportView): Markup[] {
  return view.gatesFailed.map(
    ({ engine, gate, detail, remedy }) => html`<p class="notice bad"><strong>Validity gate failed:
${engine}, ${gate}.</strong> ${detail}${remedy === null ? null : html` <strong>Remedy:</strong> ${remedy}`}</p>`,
  );
}

export function charts(view: ReportView): Markup {
  const figures = CHART_METRICS.map((metric) => ({ metric, svg: renderChart(view, metric) })).filter(
    ({ svg }) => svg !== null,
  );
  if (figures.length === 0) return html``;
  return section(
    'At a glance',
    html`<p class="quiet">Bar and thick line: geometric mean. Thin line: ${TABLE_INTERVAL}. Dots: one per accepted block. Every prompt has its
own scale, which starts at zero.</p><div class="charts">${figures.map(({ metric, svg }) => figure(metric, svg ?? ''))}</div>`,
  );
}

function figure(metric: Metric, svg: string): Markup {
  const { name, unit, better } = metricWords[metric];
  return html`<figure><h3>${name}</h3><figcaption>${unit}, <strong>${better}</strong></figcaption>${trusted(svg)}</figure>\n`;
}

/** Request time comes first: the verdict rests on it, and a phone shows three columns. */
const HEAD = [
  'Engine',
  'Prompt',
  'Request time',
  'First token',
  'Prefill, tok/s',
  'Decode, tok/s',
  'Load',
  'Peak memory',
  'Group',
];

export function results(view: ReportView): Markup {
  if (view.engines.length === 0) return html``;
  return section(
    'Results',
    table({
      caption: `Geometric means over blocks; small: ${TABLE_INTERVAL}`,
      head: HEAD,
      wordColumns: [0, 1, 8],
      rows: view.engines.flatMap(engineRows),
    }),
    view.footnotes.map((note) => html`<p class="quiet">${note}</p>`),
    view.groupNotes.map((note) => html`<p>${note}</p>`),
  );
}

function engineRows(engine: EngineResult): Markup[][] {
  return engine.rows.map(({ promptLabel, cells, measured }, index) => [
    html`${engine.id}`,
    html`${promptLabel}`,
    measured ? cellMarkup(cells.request) : html`not measured`,
    cellMarkup(cells.ttft),
    cellMarkup(cells.prefill, false),
    cellMarkup(cells.decode, false),
    index === 0 ? cellMarkup(engine.load) : html``,
    index === 0 ? cellMarkup(engine.memory) : html``,
    index === 0 ? html`${engine.group}` : html``,
  ]);
}

function cellMarkup(cell: Cell | null | undefined, withUnit = true): Markup {
  if (cell === null || cell === undefined) return html`–`;
  const interval = cell.interval === null ? null : html`<small>${cell.interval}</small>`;
  return html`${cell.value}${withUnit ? ` ${cell.unit}` : null}${cell.shortened ? '*' : null}${interval}`;
}

export function pairs(view: ReportView): Markup {
  if (view.primaryPairs.length === 0 && view.detectable === null) return html``;
  return section(
    'Pair by pair',
    view.primaryPairs.length === 0
      ? null
      : html`<p>Request time, ${view.primaryLabel}. The verdict
rests on these comparisons.</p>`,
    list(
      view.primaryPairs.map((pair) => html`${badge(shortVerdict(pair), pair.tone)} ${pair.sentence}${reasons(pair)}`),
    ),
    view.detectable === null ? null : html`<p>${view.detectable}</p>`,
    otherPairs(view),
  );
}

const shortVerdict = ({ comparison }: PairView): string =>
  comparison.verdict === 'SLIGHTLY_FASTER'
    ? 'FASTER, SIZE UNRESOLVED'
    : comparison.verdict.replaceAll('_', comparison.verdict === 'LOAD_DEPENDENT' ? '-' : ' ');

const reasons = (pair: PairView): Markup | null =>
  pair.reasons.length === 0 ? null : html`<br><span class="quiet">${pair.reasons.join(' ')}</span>`;

function otherPairs(view: ReportView): Markup | null {
  if (view.otherPairs.length === 0) return null;
  return details(
    'All other comparisons (descriptive: no verdict rests on them)',
    table({
      caption: 'Ratio above 1: the first engine is faster',
      head: ['Metric', 'Prompt', 'Engines', 'Ratio', 'Verdict'],
      rows: view.otherPairs.map((pair) => [
        metricWords[pair.metric].name,
        pair.promptLabel,
        `${pair.pair.first} against ${pair.pair.second}`,
        pair.ratioText,
        html`${pair.verdictText}${reasons(pair)}`,
      ]),
    }),
  );
}

export function warnings(view: ReportView): Markup {
  const { warnings: entries } = view.record;
  if (entries.length === 0) return html``;
  return section(
    'Warnings',
    list(
      entries.map(
        ({ engine, message, hint }) =>
          html`${engine === null ? null : html`<strong>${engine}:</strong> `}${message}${hint === null ? null : html`<br>${hint}`}`,
      ),
    ),
  );
}

export function notMeasured(view: ReportView): Markup {
  if (view.notMeasured.length === 0) return html``;
  return section(
    'Not measured',
    html`<p>Missing is not slow: nothing is said about these.</p>`,
    list(
      view.notMeasured.map(
        ({ engine, what, reason, nextStep }) =>
          html`<strong>${engine}</strong>, ${what}: ${reason}${nextStep === null ? null : html`<br>Next: ${nextStep}`}`,
      ),
    ),
  );
}
