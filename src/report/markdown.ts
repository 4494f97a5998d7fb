/** The report for an issue or a README: GitHub-flavoured markdown, everything from the record escaped. */
import type { RunRecord, Sample } from '../core/record.ts';
import { shippingView } from './facts.ts';
import type { ShippingView } from './facts.ts';
import type { ReportOptions } from './formats.ts';
import type { LadderCell } from './ladder-words.ts';
import { ladderView } from './ladder.ts';
import { machineView, ROOFLINE_HEAD } from './machine.ts';
import type { MachineView } from './machine.ts';
import type { LadderView } from './ladder.ts';
import { LATENCY_CAPTION, LATENCY_HEAD, latencyRows } from './latency.ts';
import type { LatencyRow } from './latency.ts';
import { buildView, type Cell, type EngineResult, type ReportView, type ResultRow, TABLE_INTERVAL } from './view.ts';

export function renderMarkdown(
  record: RunRecord,
  samples: readonly Sample[] = [],
  { acceptedBlocks }: Pick<ReportOptions, 'acceptedBlocks'> = {},
): string {
  const view = buildView(record);
  const sections = [
    verdict(view),
    ladder(ladderView(view)),
    results(view),
    pairs(view),
    latency(latencyRows(view.record, samples, acceptedBlocks)),
    machineSection(machineView(view.record)),
    shipping(shippingView(view)),
    certificate(view),
    gates(view),
    warnings(view),
    notMeasured(view),
    method(view),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

/** Characters that start markup anywhere in a line; `-`, `+` and `1.` only do so at its start, where we never put them. */
const MARKUP = /[\\`*_{}[\]<>|#~&$]/g;

export function escapeMarkdown(text: string): string {
  return text.replace(MARKUP, (character) => `\\${character}`);
}

const md = escapeMarkdown;
const list = (lines: readonly string[]): string => lines.map((line) => `- ${line}`).join('\n');
const section = (title: string, ...paragraphs: readonly string[]): string =>
  [`### ${title}`, ...paragraphs.filter((paragraph) => paragraph !== '')].join('\n\n');

function verdict(view: ReportView): string {
  const { headline, why } = view.record.verdict;
  const flags = view.flags.map((flag) => `${flag}: `).join('');
  return [
    `## ${md(flags + headline)}`,
    why === null ? '' : `Why: ${md(why)}`,
    ...view.notices.map((notice) => `**${md(notice)}**`),
    md(view.subtitle),
  ]
    .filter((paragraph) => paragraph !== '')
    .join('\n\n');
}

const cellText = (cell: Cell | null | undefined): string =>
  cell === null || cell === undefined ? '–' : `${cell.value} ${cell.unit}${cell.shortened ? '\\*' : ''}`;
const rateText = (cell: Cell | undefined): string =>
  cell === undefined ? '–' : `${cell.value}${cell.shortened ? '\\*' : ''}`;

function requestText(row: ResultRow): string {
  if (!row.measured) return 'not measured';
  const interval = row.cells.request?.interval ?? null;
  return cellText(row.cells.request) + (interval === null ? '' : ` (${interval})`);
}

const HEADER = [
  'Engine',
  'Prompt',
  'Prefill tok/s',
  'Decode tok/s',
  'First token',
  `Request time (${TABLE_INTERVAL})`,
  'Load',
  'Peak memory',
  'Group',
];

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

function results(view: ReportView): string {
  if (view.engines.length === 0) return '';
  const rows = view.engines.flatMap((engine) => engine.rows.map((row, index) => tableRow(engine, row, index === 0)));
  const alignment = HEADER.map((_, index) => (index < 2 || index === HEADER.length - 1 ? ':--' : '--:'));
  return section(
    'Results',
    [line(HEADER), line(alignment), ...rows.map(line)].join('\n'),
    [...view.footnotes, ...view.groupNotes].map(md).join('<br>\n'),
  );
}

function tableRow(engine: EngineResult, row: ResultRow, isFirst: boolean): string[] {
  return [
    md(engine.id),
    md(row.promptLabel),
    rateText(row.cells.prefill),
    rateText(row.cells.decode),
    cellText(row.cells.ttft),
    requestText(row),
    isFirst ? cellText(engine.load) : '',
    isFirst ? cellText(engine.memory) : '',
    isFirst ? md(engine.group) : '',
  ];
}

function ladder(view: LadderView | null): string {
  if (view === null) return '';
  const cell = ({ value, interval }: LadderCell): string => md(interval === null ? value : `${value} (${interval})`);
  const build = (head: readonly string[], words: number, rows: readonly (readonly string[])[]): string =>
    [line(head.map(md)), line(head.map((_, index) => (index < words ? ':--' : '--:'))), ...rows.map(line)].join('\n');
  const values = view.rows.map((row) => [md(row.engine), row.sameBuild, ...row.values.map(cell), md(row.tokens)]);
  const costs = view.rows.map((row) => [md(row.engine), row.sameBuild, ...row.costs.map(cell)]);
  return section(
    md(view.title),
    md(view.lead),
    list(view.rows.map(({ sentence }) => md(sentence))),
    build(['Rung', "Base's build", ...view.heads.map(({ name }) => name), 'Greedy tokens'], 2, values),
    build(['Cost of', "Base's build", ...view.costHeads], 2, costs),
    list(view.notes.map(md)),
  );
}

function latency(rows: readonly LatencyRow[]): string {
  if (rows.length === 0) return '';
  const head = ['Engine', 'Prompt', ...LATENCY_HEAD];
  const body = rows.map(({ engine, prompt, cells }) => line([md(engine), md(prompt), ...cells]));
  const alignment = head.map((_, index) => (index < 2 ? ':--' : '--:'));
  return section('Latency, two views', LATENCY_CAPTION, [line(head), line(alignment), ...body].join('\n'));
}

function machineSection(view: MachineView | null): string {
  if (view === null) return '';
  const alignment = ROOFLINE_HEAD.map((_, index) => (index < 2 ? ':--' : '--:'));
  const rows = view.rows.map((cells) => line(cells.map(md)));
  return section(
    'The machine',
    list(view.lines.map(md)),
    rows.length === 0 ? '' : [line(ROOFLINE_HEAD), line(alignment), ...rows].join('\n'),
    view.caption === '' ? '' : md(`${view.caption}.`),
    list(view.notes.map(md)),
  );
}

function shipping(view: ShippingView | null): string {
  if (view === null) return '';
  const head = ['Fact', ...view.engines.map(md)];
  const rows = view.rows.map(({ name, cells }) => line([md(name), ...cells.map(md)]));
  const sources = view.sources.flatMap(({ engine, facts }) =>
    facts.map(({ name, source, date }) => `${md(`${engine}, ${name}`)}: ${address(source)}, ${date}`),
  );
  return section(
    'What it takes to ship',
    [line(head), line(head.map(() => ':--')), ...rows].join('\n'),
    md(view.note),
    `<details><summary>Sources</summary>\n\n${list(sources)}\n\n</details>`,
  );
}

/** An address of plain characters only becomes a link; anything else stays text. */
function address(source: string): string {
  return /^https:\/\/[\w./%#?=+@:-]+$/.test(source) ? `<${source}>` : md(source);
}

function pairs(view: ReportView): string {
  if (view.primaryPairs.length === 0 && view.detectable === null) return '';
  const lines = view.primaryPairs.map(({ sentence, reasons }) => md([sentence, ...reasons].join('. ')));
  return section(
    `Request time, ${md(view.primaryLabel)}, pair by pair`,
    list(lines),
    view.detectable === null ? '' : md(view.detectable),
  );
}

function certificate(view: ReportView): string {
  return section(
    'Equal work',
    list(view.certificate.map(({ name, state, detail }) => `${name}: **${md(state)}**: ${md(detail)}`)),
  );
}

function gates(view: ReportView): string {
  const failed = view.gatesFailed.map(
    ({ engine, gate, detail, remedy }) =>
      `**FAILED** ${md(engine)} ${gate}: ${md(detail)}${remedy === null ? '' : ` Remedy: ${md(remedy)}`}`,
  );
  const unknown = view.gatesUnknown.map(({ engine, gate, detail }) => `unknown: ${md(engine)} ${gate}: ${md(detail)}`);
  return section(`Validity gates: ${view.gateCounts}`, list([...failed, ...unknown]));
}

function warnings(view: ReportView): string {
  const { warnings: entries } = view.record;
  if (entries.length === 0) return '';
  return section(
    'Warnings',
    list(
      entries.map(({ engine, message, hint }) =>
        md([`${engine === null ? '' : `${engine}: `}${message}`, hint].filter((part) => part !== null).join(' ')),
      ),
    ),
  );
}

function notMeasured(view: ReportView): string {
  if (view.notMeasured.length === 0) return '';
  return section(
    'Not measured',
    list(
      view.notMeasured.map(({ engine, what, reason, nextStep }) =>
        md(`${engine}, ${what}: ${reason}${nextStep === null ? '' : ` Next: ${nextStep}`}`),
      ),
    ),
  );
}

function method(view: ReportView): string {
  const { record } = view;
  const { machine, runoffVersion } = record.manifest;
  return section(
    'Method and limits',
    list([
      md(view.blocks),
      ...record.verdict.caveats.map(md),
      md(`Measured by runoff ${runoffVersion} on ${machine.cpu}, ${machine.os}.`),
    ]),
  );
}
