/** The machine on the page: how quiet it was, and what it allows. */
import type { MachineView } from '../machine.ts';
import { ROOFLINE_HEAD } from '../machine.ts';
import { list, type Markup, section, table } from './markup.ts';

export function machine(view: MachineView | null): Markup | null {
  if (view === null) return null;
  return section(
    'The machine',
    list(view.lines),
    view.rows.length === 0
      ? null
      : table({ caption: view.caption, head: ROOFLINE_HEAD, wordColumns: [0, 1], rows: view.rows }),
    view.notes.length === 0 ? null : list(view.notes),
  );
}
