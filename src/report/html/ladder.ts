/** The overhead ladder on the page: the words first, then what was measured, then what it costs. */
import type { LadderCell } from '../ladder-words.ts';
import type { LadderView } from '../ladder.ts';
import { details, html, list, type Markup, section, table } from './markup.ts';

export function ladder(view: LadderView | null): Markup | null {
  if (view === null) return null;
  return section(
    'Overhead ladder',
    html`<p>${view.lead}</p>\n`,
    list(view.rows.map(({ sentence }) => sentence)),
    table({
      caption: 'Measured, bottom rung first; small: 95% interval',
      head: ['Rung', 'Base’s build', ...view.heads.map(({ name }) => name), 'Greedy tokens'],
      wordColumns: [0, 1, view.heads.length + 2],
      rows: view.rows.map(({ engine, sameBuild, values, tokens }) => [engine, sameBuild, ...values.map(cell), tokens]),
    }),
    table({
      caption: 'Cost against the base; small: interval, simultaneous over the rungs',
      head: ['Rung', 'Base’s build', ...view.costHeads],
      wordColumns: [0, 1],
      rows: view.rows.map(({ engine, sameBuild, costs }) => [engine, sameBuild, ...costs.map(cell)]),
    }),
    list(view.notes),
    details(
      'Every metric on every prompt',
      table({
        caption: 'Cost against the base',
        head: ['Rung', 'What', 'Cost'],
        wordColumns: [0, 1],
        rows: view.all.map(({ engine, what, cell: cost }) => [engine, what, cell(cost)]),
      }),
    ),
  );
}

const cell = ({ value, interval }: LadderCell): Markup =>
  html`${value}${interval === null ? null : html`<small>${interval}</small>`}`;
