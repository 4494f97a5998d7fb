/** Markup that cannot be built without escaping: only `html` makes it, and it escapes every plain string. */

export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Content = Markup | string | number | null | readonly Content[];

/** `html\`<p>${untrusted}</p>\``: strings are escaped, markup and lists of markup go in as they are, null is nothing. */
export function html(strings: TemplateStringsArray, ...values: readonly Content[]): Markup {
  return new Markup(strings.map((part, index) => part + toText(values[index] ?? null)).join(''));
}

/** Text that this program made itself, e.g. a style sheet or a rendered chart. Never anything from a record. */
export function trusted(text: string): Markup {
  return new Markup(text);
}

function toText(content: Content): string {
  if (content === null) return '';
  if (content instanceof Markup) return content.text;
  if (typeof content === 'string' || typeof content === 'number') return escapeHtml(String(content));
  return content.map(toText).join('');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}

export interface TableInput {
  readonly caption: string;
  readonly head: readonly string[];
  /** Columns from the left that hold words; the others hold numbers. */
  readonly wordColumns?: readonly number[];
  readonly rows: readonly (readonly Content[])[];
}

/** A table that scrolls in its own box; the first cell of a row is its heading. */
export function table({ caption, head, rows, wordColumns }: TableInput): Markup {
  const kind = (index: number): string =>
    wordColumns === undefined || wordColumns.includes(index) ? 'word' : 'number';
  const body = rows.map(
    (row) =>
      html`<tr>${row.map((cell, index) =>
        index === 0 ? html`<th scope="row">${cell}</th>` : html`<td class="${kind(index)}">${cell}</td>`,
      )}</tr>\n`,
  );
  return html`<div class="scroll" role="region" aria-label="${caption}" tabindex="0"><table>
<caption><span>${caption}</span></caption>
<thead><tr>${head.map((title, index) => html`<th scope="col" class="${kind(index)}">${title}</th>`)}</tr></thead>
<tbody>
${body}</tbody></table></div>\n`;
}

export function list(entries: readonly Content[]): Markup {
  return html`<ul>${entries.map((entry) => html`<li>${entry}</li>`)}</ul>\n`;
}

export function section(title: string, ...content: readonly Content[]): Markup {
  const id = title.toLowerCase().replace(/[^a-z]+/g, '-');
  return html`<section aria-labelledby="${id}"><h2 id="${id}">${title}</h2>\n${content}</section>\n`;
}

export function details(summary: string, ...content: readonly Content[]): Markup {
  return html`<details><summary>${summary}</summary>\n${content}</details>\n`;
}
