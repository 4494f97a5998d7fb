/** Aligned text without colour codes: widths are counted in code points, colour comes afterwards. */

export interface Column {
  /** One entry per header line. */
  readonly header: readonly string[];
  readonly align: 'left' | 'right';
}

const GAP = '  ';
const ELLIPSIS = '…';

/** @returns lines, header first; `headerLineCount` of them belong to the header. */
export function layTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): { lines: string[]; headerLineCount: number } {
  const headerLineCount = Math.max(...columns.map(({ header }) => header.length));
  const headerRows = Array.from({ length: headerLineCount }, (_, line) =>
    columns.map(({ header }) => header[line] ?? ''),
  );
  const all = [...headerRows, ...rows];
  const widths = columns.map((_, index) => Math.max(...all.map((row) => widthOf(row[index] ?? ''))));
  const lines = all.map((row) =>
    columns
      .map(({ align }, index) => pad(row[index] ?? '', widths[index] ?? 0, align))
      .join(GAP)
      .trimEnd(),
  );
  return { lines, headerLineCount };
}

export function widthOf(text: string): number {
  return Array.from(text).length;
}

export function truncate(text: string, width: number): string {
  return widthOf(text) <= width
    ? text
    : `${Array.from(text)
        .slice(0, Math.max(0, width - 1))
        .join('')}${ELLIPSIS}`;
}

export interface Indent {
  readonly first?: string;
  /** Of every line after the first. */
  readonly rest?: string;
}

/** Wraps at spaces; a word longer than the line stands alone, uncut, so that commands can be copied. */
export function wrap(text: string, width: number, { first = '', rest = '' }: Indent = {}): string[] {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  for (const word of text.split(' ').filter((part) => part !== '')) {
    if (!isEmpty && widthOf(line) + 1 + widthOf(word) > width) {
      lines.push(line);
      line = rest;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}

function pad(text: string, width: number, align: Column['align']): string {
  const space = ' '.repeat(Math.max(0, width - widthOf(text)));
  return align === 'left' ? text + space : space + text;
}
