/**
 * Pure: may weights under a licence be passed on, converted? A guard against the clear cases, no legal advice. Names are the
 * hub's identifiers.
 */

export type LicenceVerdict =
  | { readonly state: 'allowed'; readonly id: string; readonly conditions: readonly string[] }
  | { readonly state: 'refused'; readonly id: string; readonly reason: string }
  /** Nothing is known: its holder must say. */
  | { readonly state: 'unknown'; readonly id: string | null };

const KEEP_TEXT = 'the licence text and notices go with the files';
const NON_COMMERCIAL = 'others may use it for non-commercial purposes only, and must be told';
const SHARE_ALIKE = 'it stays under the same licence';
const USE_POLICY = 'the use restrictions must be passed on with it';
const LLAMA = [
  'a copy of the licence and a NOTICE file go with it',
  '"Built with Llama" is shown where it is offered',
  'the name of a changed model begins with "Llama"',
  USE_POLICY,
];

const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  'apache-2.0': [KEEP_TEXT, 'the card says that the files were changed'],
  mit: [KEEP_TEXT],
  'bsd-2-clause': [KEEP_TEXT],
  'bsd-3-clause': [KEEP_TEXT],
  isc: [KEEP_TEXT],
  'cc0-1.0': [],
  unlicense: [],
  'cdla-permissive-2.0': [KEEP_TEXT],
  'cc-by-4.0': ['its author is named, and the change'],
  'cc-by-3.0': ['its author is named, and the change'],
  'cc-by-sa-4.0': ['its author is named, and the change', SHARE_ALIKE],
  'cc-by-nc-4.0': ['its author is named, and the change', NON_COMMERCIAL],
  'cc-by-nc-sa-4.0': ['its author is named, and the change', NON_COMMERCIAL, SHARE_ALIKE],
  'gpl-3.0': [KEEP_TEXT, SHARE_ALIKE],
  'agpl-3.0': [KEEP_TEXT, SHARE_ALIKE],
  'lgpl-3.0': [KEEP_TEXT, SHARE_ALIKE],
  'mpl-2.0': [KEEP_TEXT, SHARE_ALIKE],
  openrail: [USE_POLICY],
  'bigscience-openrail-m': [USE_POLICY],
  'bigscience-bloom-rail-1.0': [USE_POLICY],
  'creativeml-openrail-m': [USE_POLICY],
  'bigcode-openrail-m': [USE_POLICY],
  gemma: [
    'a copy of the Gemma terms and a NOTICE file go with it',
    'the card says that the files were changed',
    USE_POLICY,
  ],
  llama2: LLAMA.slice(0, 1).concat(USE_POLICY),
  llama3: LLAMA,
  'llama3.1': LLAMA,
  'llama3.2': LLAMA,
  'llama3.3': LLAMA,
  llama4: LLAMA,
};

/** Other ways to write them, in files' metadata above all. */
const ALIASES: Readonly<Record<string, string>> = {
  apache: 'apache-2.0',
  apache2: 'apache-2.0',
  'apache-2': 'apache-2.0',
  'apache license 2.0': 'apache-2.0',
  'mit license': 'mit',
  'llama-2': 'llama2',
  'llama-3': 'llama3',
  'llama-3.1': 'llama3.1',
  'llama-3.2': 'llama3.2',
  'llama-3.3': 'llama3.3',
};

const REFUSED: readonly { readonly pattern: RegExp; readonly reason: string }[] = [
  {
    pattern: /^cc-by(-nc)?-nd(-|$)/,
    reason: 'it forbids passing on changed versions ("no derivatives"), and a converted or quantised model is one',
  },
  {
    pattern: /^llama-?1$|^llama-noncommercial$/,
    reason: 'it was given to single researchers and must not be passed on',
  },
  {
    pattern: /^(proprietary|all[- ]rights[- ]reserved|no[- ]licen[cs]e|none)$/,
    reason: 'it gives nobody the right to pass the model on',
  },
];

/** What says that nothing is said. */
const NOT_SAID: readonly string[] = ['', 'other', 'unknown'];

export function judgeLicence(text: string | null): LicenceVerdict {
  const written = (text ?? '').trim().toLowerCase();
  const id = ALIASES[written] ?? written;
  const refused = REFUSED.find(({ pattern }) => pattern.test(id));
  if (refused !== undefined) return { state: 'refused', id, reason: refused.reason };
  const conditions = Object.hasOwn(ALLOWED, id) ? ALLOWED[id] : undefined;
  if (conditions !== undefined) return { state: 'allowed', id, conditions };
  return { state: 'unknown', id: NOT_SAID.includes(id) ? null : id };
}
