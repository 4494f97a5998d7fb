/** The report on a terminal: verdict first, then the numbers, then everything that limits them. */
import pc from 'picocolors';
import type { RunRecord } from '../core/record.ts';
import { shippingLine } from './facts.ts';
import { layLadder } from './ladder-terminal.ts';
import { ladderView } from './ladder.ts';
import { machineView, ROOFLINE_HEAD } from './machine.ts';
import type { Tone } from './words.ts';
import { type Column, layTable, truncate, widthOf, wrap } from './text-table.ts';
import {
  buildView,
  type Cell,
  type EngineResult,
  MIX,
  type PairView,
  type ReportView,
  type ResultRow,
  TABLE_INTERVAL,
} from './view.ts';

export interface TerminalOptions {
  readonly color: boolean;
  readonly width: number;
}

/** Longer lines of prose are hard to read, however wide the window. */
const WIDTH_MAX = 100;
/** Below this the table cannot be kept aligned; it is then wider than the window. */
const WIDTH_MIN = 60;

const ITEM = { first: '- ', rest: '  ' };
const INSIDE = { first: '  ', rest: '  ' };
const HANGING = { rest: '  ' };

type Colors = ReturnType<typeof pc.createColors>;

interface Page {
  readonly view: ReportView;
  readonly colors: Colors;
  readonly width: number;
}

export function renderTerminal(record: RunRecord, options: TerminalOptions): string {
  const page: Page = {
    view: buildView(record),
    colors: pc.createColors(options.color),
    width: Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, options.width)),
  };
  const parts = [
    verdict(page),
    ladder(page),
    results(page),
    pairs(page),
    machine(page),
    certificate(page),
    gates(page),
    warnings(page),
    notMeasured(page),
    method(page),
  ];
  return `${parts
    .filter((part) => part.length > 0)
    .map((part) => part.join('\n'))
    .join('\n\n')}\n`;
}

function verdict({ view, colors, width }: Page): string[] {
  const { headline, why } = view.record.verdict;
  const flags = view.flags.map((flag) => `${flag}: `).join('');
  const paint = toneColor(colors, view.status.tone);
  return [
    ...wrap(flags + headline, width).map((line) => paint(colors.bold(line))),
    ...(why === null ? [] : wrap(`Why: ${why}`, width)),
    ...view.notices.flatMap((notice) => wrap(notice, width)).map((line) => colors.yellow(line)),
    ...wrap(view.subtitle, width).map((line) => colors.dim(line)),
  ];
}

function ladder({ view, colors, width }: Page): string[] {
  const shown = ladderView(view);
  if (shown === null) return [];
  const { title, head, rows, sentences, notes } = layLadder(shown, width);
  return [
    ...title.map((line) => colors.bold(line)),
    ...head.map((line) => colors.dim(line)),
    ...rows,
    ...sentences,
    ...notes.map((line) => colors.dim(line)),
  ];
}

function toneColor(colors: Colors, tone: Tone): (text: string) => string {
  return { good: colors.green, neutral: (text: string) => text, caution: colors.yellow, bad: colors.red }[tone];
}

interface TableColumn extends Column {
  readonly cell: (row: ResultRow, engine: EngineResult, isFirst: boolean) => string;
}

const cellText = (cell: Cell | null | undefined): string =>
  cell === null || cell === undefined ? '–' : `${cell.value} ${cell.unit}${cell.shortened ? '*' : ''}`;
const rateText = (cell: Cell | undefined): string =>
  cell === undefined ? '–' : `${cell.value}${cell.shortened ? '*' : ''}`;

const promptColumns: readonly TableColumn[] = [
  { header: ['prompt'], align: 'left', cell: (row) => (row.prompt === MIX ? 'all' : row.promptLabel) },
  { header: ['prefill', 'tok/s'], align: 'right', cell: (row) => rateText(row.cells.prefill) },
  { header: ['decode', 'tok/s'], align: 'right', cell: (row) => rateText(row.cells.decode) },
  { header: ['first', 'token'], align: 'right', cell: (row) => cellText(row.cells.ttft) },
];
const requestColumn: TableColumn = {
  header: ['request', 'time'],
  align: 'right',
  cell: (row) => cellText(row.cells.request),
};
const intervalColumn: TableColumn = {
  header: TABLE_INTERVAL.split(' '),
  align: 'left',
  cell: (row) => (row.measured ? (row.cells.request?.interval ?? '–') : 'not measured'),
};
const engineColumns: readonly TableColumn[] = [
  { header: ['load'], align: 'right', cell: (_, engine, isFirst) => (isFirst ? cellText(engine.load) : '') },
  {
    header: ['memory', 'peak'],
    align: 'right',
    cell: (_, engine, isFirst) => (isFirst ? cellText(engine.memory) : ''),
  },
];
const groupColumn: TableColumn = {
  header: ['group'],
  align: 'left',
  cell: (_, engine, isFirst) => (isFirst ? engine.group : ''),
};

function results(page: Page): string[] {
  const { view, colors, width } = page;
  if (view.engines.length === 0) return [];
  const wide = [...promptColumns, requestColumn, intervalColumn, ...engineColumns, groupColumn];
  const narrow = [...promptColumns, requestColumn, intervalColumn, groupColumn];
  const narrowest = [...promptColumns, requestColumn, groupColumn];
  const layouts = [wide, narrow, narrowest].map((columns) => table(view, columns));
  const fitting = layouts.find((layout) => fits(layout.lines, width)) ?? table(view, narrowest, width);
  const { lines, headerLineCount } = fitting;
  return [
    ...lines.map((line, index) => (index < headerLineCount ? colors.dim(line) : line)),
    ...(fitting === layouts[0] ? [] : view.engines.map(engineLine)),
    ...[...view.footnotes, ...view.groupNotes]
      .flatMap((note) => wrap(note, width, HANGING))
      .map((line) => colors.dim(line)),
  ];
}

const fits = (lines: readonly string[], width: number): boolean => lines.every((line) => widthOf(line) <= width);
const engineLine = (engine: EngineResult): string =>
  `${engine.id}: load ${cellText(engine.load)}, peak memory ${cellText(engine.memory)}`;

/** With a width, engine names give way until the table fits, down to a few letters. */
function table(view: ReportView, columns: readonly TableColumn[], width = Infinity): ReturnType<typeof layTable> {
  const NAME_MIN = 8;
  const lay = (nameWidth: number): ReturnType<typeof layTable> => {
    const name: TableColumn = {
      header: ['engine'],
      align: 'left',
      cell: (_, engine) => truncate(engine.id, nameWidth),
    };
    const all = [name, ...columns];
    const rows = view.engines.flatMap((engine) =>
      engine.rows.map((row, index) => all.map((column) => column.cell(row, engine, index === 0))),
    );
    return layTable(all, rows);
  };
  const full = lay(Infinity);
  const excess = Math.max(...full.lines.map(widthOf)) - width;
  if (excess <= 0) return full;
  const longest = Math.max(...view.engines.map(({ id }) => widthOf(id)));
  return lay(Math.max(NAME_MIN, longest - excess));
}

function pairs(page: Page): string[] {
  const { view, colors, width } = page;
  if (view.primaryPairs.length === 0 && view.detectable === null) return [];
  return [
    ...(view.primaryPairs.length === 0 ? [] : [heading(page, `Request time, ${view.primaryLabel}, pair by pair`)]),
    ...view.primaryPairs.flatMap((pair) => pairLines(pair, page)),
    ...(view.detectable === null ? [] : wrap(view.detectable, width, HANGING).map((line) => colors.dim(line))),
  ];
}

function pairLines(pair: PairView, { colors, width }: Page): string[] {
  const paint = toneColor(colors, pair.tone);
  return [
    ...wrap(pair.sentence, width, ITEM).map((line) => paint(line)),
    ...pair.reasons.flatMap((reason) => wrap(reason, width, INSIDE)),
  ];
}

function machine(page: Page): string[] {
  const { colors, width } = page;
  const shown = machineView(page.view.record);
  if (shown === null) return [];
  const columns = ROOFLINE_HEAD.map((title, index): Column => ({
    header: [title],
    align: index < 2 ? 'left' : 'right',
  }));
  const limits = shown.rows.length === 0 ? [] : layTable(columns, shown.rows).lines;
  return [
    heading(page, 'The machine'),
    ...shown.lines.flatMap((line) => wrap(line, width, HANGING)),
    ...limits.map((line, index) => (index === 0 ? colors.dim(line) : line)),
    ...(shown.caption === '' ? [] : wrap(`${shown.caption}.`, width, HANGING).map((line) => colors.dim(line))),
    ...shown.notes.flatMap((note) => wrap(note, width, ITEM)),
  ];
}

function certificate(page: Page): string[] {
  const { view, colors, width } = page;
  const nameWidth = Math.max(...view.certificate.map(({ name }) => name.length));
  return [
    heading(page, 'Equal work'),
    ...view.certificate.flatMap(({ name, state, tone, detail }) => {
      const indent = { first: name.padEnd(nameWidth + 2), rest: ' '.repeat(nameWidth + 2) };
      const [first = '', ...rest] = wrap(`${state}: ${detail}`, width, indent);
      return [first.replace(state, () => toneColor(colors, tone)(state)), ...rest];
    }),
  ];
}

function gates(page: Page): string[] {
  const { view, colors, width } = page;
  const unknown = view.gatesUnknown.map(({ engine, gate }) => `${engine} ${gate}`).join(', ');
  return [
    heading(page, `Validity gates: ${view.gateCounts}`),
    ...view.gatesFailed.flatMap(({ engine, gate, detail, remedy }) => [
      ...wrap(`FAILED ${engine} ${gate}: ${detail}`, width, HANGING).map((line) => colors.red(line)),
      ...(remedy === null ? [] : wrap(`Remedy: ${remedy}`, width, INSIDE)),
    ]),
    ...(unknown === '' ? [] : wrap(`Unknown: ${unknown}`, width, HANGING)),
  ];
}

function warnings(page: Page): string[] {
  const { view, colors, width } = page;
  const { warnings: entries } = view.record;
  if (entries.length === 0) return [];
  return [
    heading(page, 'Warnings'),
    ...entries.flatMap(({ engine, message, hint }) => [
      ...wrap(`${engine === null ? '' : `${engine}: `}${message}`, width, ITEM).map((line) => colors.yellow(line)),
      ...(hint === null ? [] : wrap(hint, width, INSIDE)),
    ]),
  ];
}

function notMeasured(page: Page): string[] {
  const { view, width } = page;
  if (view.notMeasured.length === 0) return [];
  return [
    heading(page, 'Not measured'),
    ...view.notMeasured.flatMap(({ engine, what, reason, nextStep }) => [
      ...wrap(`${engine}, ${what}: ${reason}`, width, ITEM),
      ...(nextStep === null ? [] : wrap(`Next: ${nextStep}`, width, INSIDE)),
    ]),
  ];
}

function method(page: Page): string[] {
  const { view, width } = page;
  return [
    ...wrap(view.blocks, width, HANGING),
    ...shipping(page),
    ...view.record.verdict.caveats.flatMap((caveat) => wrap(`Note: ${caveat}`, width, HANGING)),
  ];
}

function shipping({ view, width }: Page): string[] {
  const text = shippingLine(view.record);
  return text === null ? [] : wrap(text, width, HANGING);
}

const heading = ({ colors }: Page, text: string): string => colors.bold(text);
