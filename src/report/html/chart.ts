/** One chart per metric as inline SVG: no script, no font, colours from the page's variables. */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import type { Metric } from '../../core/record.ts';
import { digits, scaleOf } from '../numbers.ts';
import { truncate } from '../text-table.ts';
import { type Cell, type EngineResult, MIX, type ReportView } from '../view.ts';
import { metricWords } from '../words.ts';
import { ENGINE_COLOR_COUNT } from './styles.ts';

/** Drawn for the narrowest phone, so that text keeps its size there; wider screens set charts side by side. */
const WIDTH = 340;
const ROW_HEIGHT = 44;
const PROMPT_HEIGHT = 26;
const AXIS_HEIGHT = 30;
const MARGIN_LEFT = 3;
const MARGIN_RIGHT = 10;
const ENGINE_NAME_LENGTH = 20;

interface Bar {
  readonly engine: string;
  readonly color: string;
  readonly label: string;
  /** Middle of the bar, px. */
  readonly y: number;
  /** Shares of the prompt's own scale, 0..1. */
  readonly value: number;
  readonly low: number | null;
  readonly high: number | null;
  readonly points: readonly number[];
  readonly isOffScale: boolean;
}

interface Panel {
  readonly prompt: string;
  readonly y: number;
  readonly axisY: number;
  readonly bars: readonly Bar[];
  readonly ticks: readonly { readonly at: number; readonly label: string }[];
}

/** @returns an svg element as text; null where nothing was measured. */
export function renderChart(view: ReportView, metric: Metric): string | null {
  const panels = layPanels(view, metric);
  const last = panels.at(-1);
  if (last === undefined) return null;
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const svg = Plot.plot({
    // linkedom's document is one in all that Plot uses; the DOM's own types are not loaded in a Node program.
    document: document as never,
    className: 'chart',
    width: WIDTH,
    height: last.axisY + AXIS_HEIGHT,
    margin: 0,
    marginLeft: MARGIN_LEFT,
    marginRight: MARGIN_RIGHT,
    style: { fontSize: '12px', background: 'none', overflow: 'hidden' },
    x: { domain: [0, 1], axis: null },
    y: { type: 'identity', axis: null },
    ariaLabel: describe(view, metric),
    marks: panels.flatMap(panelMarks),
  });
  svg.setAttribute('role', 'img');
  return svg.outerHTML;
}

/** The same in words: what a screen reader says instead of the picture. */
function describe(view: ReportView, metric: Metric): string {
  const { name, unit, better } = metricWords[metric];
  const lines = cellsByPrompt(view, metric).map(
    ({ prompt, cells }) =>
      `${prompt}: ${cells.map(({ engine, cell }) => `${engineLabel(engine)} ${valueLabel(cell)}`).join('; ')}.`,
  );
  return `${name}, ${unit}, ${better}. ${lines.join(' ')}`;
}

interface EngineCell {
  readonly engine: EngineResult;
  readonly index: number;
  readonly cell: Cell;
}

function cellsByPrompt(view: ReportView, metric: Metric): { prompt: string; cells: readonly EngineCell[] }[] {
  const prompts = new Map(view.engines.flatMap(({ rows }) => rows).map((row) => [row.prompt, row.promptLabel]));
  // The prompt that the verdict rests on comes first.
  const ordered = [...prompts].toSorted(([left], [right]) => Number(right === MIX) - Number(left === MIX));
  return ordered
    .map(([prompt, label]) => ({
      prompt: label,
      cells: view.engines.flatMap((engine, index) => {
        const cell = engine.rows.find((row) => row.prompt === prompt)?.cells[metric];
        return cell === undefined ? [] : [{ engine, index, cell }];
      }),
    }))
    .filter(({ cells }) => cells.length > 0);
}

function layPanels(view: ReportView, metric: Metric): Panel[] {
  let y = 0;
  return cellsByPrompt(view, metric).map(({ prompt, cells }) => {
    const panel = layPanel({ prompt, cells, y });
    y = panel.axisY + AXIS_HEIGHT;
    return panel;
  });
}

/** Every prompt has its own scale from zero: a prompt of 4,096 tokens would flatten one of 5 on a common scale. */
function layPanel({ prompt, cells, y }: { prompt: string; cells: readonly EngineCell[]; y: number }): Panel {
  // An unranked backend may be 50 times slower; on its scale nobody could see the others.
  const ranked = cells.filter(({ engine }) => engine.ranked);
  const scaled = (ranked.length > 0 ? ranked : cells).map(({ cell }) => cell);
  const max = Math.max(...scaled.flatMap(({ summary }) => [summary.estimate, summary.high ?? 0, ...summary.values]));
  const share = (value: number): number => Math.min(1, value / max);
  const bars = cells.map(({ engine, index, cell }, row): Bar => {
    const { estimate, low, high, values } = cell.summary;
    return {
      engine: engineLabel(engine),
      color: `var(--engine-${index % ENGINE_COLOR_COUNT})`,
      label: valueLabel(cell),
      y: y + PROMPT_HEIGHT + row * ROW_HEIGHT + 30,
      value: share(estimate),
      low: low === null ? null : share(low),
      high: high === null ? null : share(high),
      points: values.filter((value) => value <= max).map(share),
      isOffScale: estimate > max,
    };
  });
  const axisY = y + PROMPT_HEIGHT + cells.length * ROW_HEIGHT + 2;
  return { prompt, y, axisY, bars, ticks: ticks(max, scaled[0]?.summary.unit ?? 'ms') };
}

function engineLabel({ id, isVoid, ranked }: EngineResult): string {
  return truncate(id, ENGINE_NAME_LENGTH) + (isVoid ? ' (void)' : ranked ? '' : ' (unranked)');
}

function valueLabel(cell: Cell): string {
  const interval = cell.interval === null ? '' : ` (${cell.interval})`;
  return `${cell.value} ${cell.unit}${interval}${cell.shortened ? ' *' : ''}`;
}

/** Zero and two to four round numbers. */
function ticks(max: number, unit: Cell['summary']['unit']): Panel['ticks'] {
  const scale = scaleOf({ estimate: max, unit });
  const top = max / scale.divisor;
  const power = 10 ** Math.floor(Math.log10(top / 2));
  const step = [5, 2, 1].map((factor) => factor * power).find((candidate) => top / candidate >= 2) ?? power;
  const amount = Math.floor(top / step + 1e-9);
  return Array.from({ length: amount + 1 }, (_, index) => ({
    at: (index * step) / top,
    label: index === amount ? `${tickText(index * step)} ${scale.unit}` : tickText(index * step),
  }));
}

const tickText = (value: number): string =>
  value === 0 ? '0' : Number(digits(value).replaceAll(',', '')).toLocaleString('en-US');

/** Labels at the edges grow inwards, so that none is cut off. */
const anchorOf = (at: number): 'start' | 'middle' | 'end' => (at === 0 ? 'start' : at > 0.88 ? 'end' : 'middle');

function panelMarks({ prompt, y, axisY, bars, ticks: tickList }: Panel): Plot.Markish[] {
  const BAR_HALF = 7;
  const points = bars.flatMap(({ points: values, y: middle, color }) =>
    // Spread over three lines, so that equal blocks do not hide each other.
    values.map((value, index) => ({ value, color, y: middle + ((index % 3) - 1) * 4 })),
  );
  const intervals = bars.filter(({ low, high }) => low !== null && high !== null);
  const offScale = bars.filter((bar) => bar.isOffScale);
  return [
    Plot.text([prompt], {
      x: 0,
      y: y + 12,
      text: (text: string) => text,
      textAnchor: 'start',
      fontWeight: 'bold',
      fill: 'currentColor',
    }),
    Plot.ruleX(tickList, { x: 'at', y1: y + PROMPT_HEIGHT, y2: axisY + 4, stroke: 'var(--line)' }),
    ...(['start', 'middle', 'end'] as const).map((textAnchor) =>
      Plot.text(
        tickList.filter(({ at }) => anchorOf(at) === textAnchor),
        {
          x: 'at',
          y: axisY + 14,
          text: 'label',
          textAnchor,
          fill: 'var(--quiet)',
          fontSize: 11,
        },
      ),
    ),
    Plot.rect(bars, {
      x1: 0,
      x2: 'value',
      y1: (bar: Bar) => bar.y - BAR_HALF,
      y2: (bar: Bar) => bar.y + BAR_HALF,
      fill: 'color',
      fillOpacity: 0.25,
    }),
    Plot.dot(points, { x: 'value', y: 'y', fill: 'color', fillOpacity: 0.85, r: 2.2 }),
    Plot.link(intervals, { x1: 'low', x2: 'high', y1: 'y', y2: 'y', stroke: 'currentColor', strokeWidth: 1.5 }),
    Plot.ruleX(bars, {
      x: 'value',
      y1: (bar: Bar) => bar.y - BAR_HALF,
      y2: (bar: Bar) => bar.y + BAR_HALF,
      stroke: 'color',
      strokeWidth: 3,
    }),
    Plot.text(bars, { x: 0, y: (bar: Bar) => bar.y - 16, text: 'engine', textAnchor: 'start', fill: 'color' }),
    Plot.text(bars, { x: 1, y: (bar: Bar) => bar.y - 16, text: 'label', textAnchor: 'end', fill: 'currentColor' }),
    Plot.text(offScale, {
      x: 1,
      y: 'y',
      text: () => 'beyond this scale ▸',
      textAnchor: 'end',
      dx: -4,
      fill: 'currentColor',
      fontSize: 11,
    }),
  ];
}
