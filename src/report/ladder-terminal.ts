/** The overhead ladder on a terminal: a table that fits, the costs as sentences. */
import type { LadderCell } from './ladder-words.ts';
import type { LadderHead, LadderView } from './ladder.ts';
import { type Column, layTable, truncate, widthOf, wrap } from './text-table.ts';

const ITEM = { first: '- ', rest: '  ' };
const NAME_WIDTH_MIN = 8;

/** One paragraph of lines a part: heading, table, sentences, notes. Colours are the caller's. */
export interface LadderLines {
  readonly title: readonly string[];
  readonly head: readonly string[];
  readonly rows: readonly string[];
  readonly sentences: readonly string[];
  readonly notes: readonly string[];
}

export function layLadder(view: LadderView, width: number): LadderLines {
  const { lines, headerLineCount } = fittingTable(view, width);
  return {
    title: wrap(view.title, width),
    head: lines.slice(0, headerLineCount),
    rows: lines.slice(headerLineCount),
    sentences: view.rows.flatMap(({ sentence }) => wrap(sentence, width, ITEM)),
    notes: [view.lead, ...view.notes].flatMap((note) => wrap(note, width, { rest: '  ' })),
  };
}

interface Layout {
  /** Kinds of columns that show their intervals. */
  readonly intervals: readonly LadderHead['kind'][];
  readonly withProcess: boolean;
}

const LAYOUTS: readonly Layout[] = [
  { intervals: ['latency', 'rate', 'process'], withProcess: true },
  { intervals: ['rate'], withProcess: true },
  { intervals: [], withProcess: true },
];
const NARROWEST: Layout = { intervals: [], withProcess: false };

/** As much as fits: intervals give way first, then load and memory (the results table has them), then names. */
function fittingTable(view: LadderView, width: number): ReturnType<typeof layTable> {
  const widest = ({ lines }: ReturnType<typeof layTable>): number => Math.max(...lines.map(widthOf));
  const fitting = LAYOUTS.map((layout) => lay(view, layout)).find((table) => widest(table) <= width);
  if (fitting !== undefined) return fitting;
  const excess = widest(lay(view, NARROWEST)) - width;
  const shown = view.rows.filter(({ isMeasured }) => isMeasured);
  const longest = Math.max(...shown.map(({ engine }) => widthOf(engine)));
  return lay(view, NARROWEST, Math.max(NAME_WIDTH_MIN, longest - excess));
}

/** Rungs that were not measured have a sentence, not a row. */
function lay(view: LadderView, { intervals, withProcess }: Layout, nameWidth = Infinity): ReturnType<typeof layTable> {
  const shown = view.heads
    .map((head, index) => ({ ...head, index }))
    .filter(({ kind }) => withProcess || kind !== 'process');
  const columns: Column[] = [
    { header: ['rung'], align: 'left' },
    { header: ["base's", 'build'], align: 'left' },
    ...shown.map(({ name, prompt }): Column => ({
      header: [...name.toLowerCase().split(/,? /), ...(prompt === null ? [] : [prompt])],
      align: 'right',
    })),
  ];
  const rows = view.rows
    .filter(({ isMeasured }) => isMeasured)
    .map(({ engine, sameBuild, values }) => [
      truncate(engine, nameWidth),
      sameBuild,
      ...shown.map(({ index, kind }) => text(values[index], intervals.includes(kind))),
    ]);
  return layTable(columns, rows);
}

function text(cell: LadderCell | undefined, withInterval: boolean): string {
  if (cell === undefined) return '';
  return cell.interval === null || !withInterval ? cell.value : `${cell.value} (${cell.interval})`;
}
