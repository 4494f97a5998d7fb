/** What it takes to ship the engines of a run, with where each fact stands. Addresses are text: the page links nowhere. */
import type { ShippingView } from '../facts.ts';
import { details, html, list, type Markup, section, table } from './markup.ts';

export function shipping(view: ShippingView | null): Markup | null {
  if (view === null) return null;
  const wordColumns = [...Array(view.engines.length + 1).keys()];
  return section(
    'What it takes to ship',
    table({
      caption: 'Declared by each adapter, and measured in this run',
      head: ['Fact', ...view.engines],
      wordColumns,
      rows: view.rows.map(({ name, cells }) => [name, ...cells]),
    }),
    html`<p class="quiet">${view.note}</p>\n`,
    details(
      'Sources of the declared facts',
      view.sources.map(
        ({ engine, facts }) =>
          html`<p><strong>${engine}</strong></p>${list(facts.map(({ name, source, date }) => `${name}: ${source}, ${date}`))}`,
      ),
    ),
  );
}
