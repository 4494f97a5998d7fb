/**
 * Texts that tell tokenizers apart: hand-made ones (assets/tokenizer-stress.json) and ones that are generated from them, the
 * same on every machine. Characters come from every category and block of Unicode 14; later ones are left out, because the
 * libraries' tables are of different age.
 */
import { readFileSync } from 'node:fs';
import { createRandom } from '../../core/random.ts';

export interface StressText {
  readonly kind: string;
  readonly text: string;
  /** Entries of the vocabulary that the text is made of; none: it is a text of its own. */
  readonly entries?: readonly string[];
}

interface Asset {
  readonly texts: Readonly<Record<string, readonly string[]>>;
  readonly characters: string;
}

const ASSET_URL = new URL('../../../assets/tokenizer-stress.json', import.meta.url);
/** Joined at random from all others: what stands beside what decides most splits. */
const JOINED_COUNT = 2_000;
const JOINED_PARTS_MAX = 8;
/** Runs of spaces have tokens of their own up to these lengths in common vocabularies. */
const RUN_LENGTHS = [5, 6, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 64, 130];

let built: readonly StressText[] | null = null;

export function stressCorpus(): readonly StressText[] {
  built ??= build(JSON.parse(readFileSync(ASSET_URL, 'utf8')) as Asset);
  return built;
}

function build({ texts, characters }: Asset): StressText[] {
  const made = Object.entries(texts).flatMap(([kind, list]) =>
    list.flatMap((text) => [
      { kind, text },
      { kind, text: ` ${text}` },
      { kind, text: `${text}\n` },
    ]),
  );
  const single = Array.from(characters).flatMap((character) => [
    character,
    `a${character}b`,
    ` ${character}${character}1`,
  ]);
  const all = [
    ...made,
    ...single.map((text) => ({ kind: 'characters', text })),
    ...whitespace().map((text) => ({ kind: 'whitespace', text })),
    ...numbers().map((text) => ({ kind: 'numbers', text })),
    ...contractions().map((text) => ({ kind: 'contractions', text })),
  ];
  return [...all, ...joined(all).map((text) => ({ kind: 'joined', text }))];
}

/** Every sequence of up to four marks, alone, before and between words; and long runs. */
function whitespace(): string[] {
  const marks = [' ', '\t', '\n', '\r'];
  let sequences = [''];
  const all: string[] = [];
  for (let length = 1; length <= 4; length++) {
    sequences = sequences.flatMap((start) => marks.map((mark) => start + mark));
    all.push(...sequences);
  }
  const runs = RUN_LENGTHS.flatMap((length) =>
    [' ', '\t', '\n', '\u3000', '\u00a0'].map((mark) => mark.repeat(length)),
  );
  return [...all, ...runs].flatMap((gap) => [gap, `${gap}a`, `1${gap}!`, `b${gap}c`]);
}

function numbers(): string[] {
  const digits = [
    '1234567890123',
    '\u0661\u0662\u0663\u0664\u0665\u0666\u0667',
    '\uff11\uff12\uff13\uff14\uff15',
    '\u2160\u2161\u2162\u2163',
    '\u00b2\u00b3\u00b9\u00bd',
  ];
  return digits.flatMap((row) =>
    Array.from({ length: row.length }, (_, i) => row.slice(0, i + 1)).flatMap((number) => [
      number,
      ` ${number}`,
      `a${number}`,
      `${number}b`,
      `-${number}`,
      `${number}.${number}`,
      `${number},${number}`,
      `$${number}`,
      `${number}%`,
      `\n${number} ${number}`,
    ]),
  );
}

function contractions(): string[] {
  const endings = ['s', 't', 're', 've', 'm', 'll', 'd', 'x', 'clock'];
  const cases = endings.flatMap((ending) => [ending, ending.toUpperCase(), ending[0]!.toUpperCase() + ending.slice(1)]);
  return [...new Set(cases)].flatMap((ending) =>
    ["'", '\u2019'].flatMap((mark) => [
      `I${mark}${ending}`,
      `${mark}${ending}`,
      ` ${mark}${ending} x`,
      `WE${mark}${ending}a`,
      `1${mark}${ending}`,
      `\u00e9${mark}${ending}`,
    ]),
  );
}

function joined(pool: readonly StressText[]): string[] {
  const random = createRandom('tokenizer-stress');
  // Long texts would drown the joints.
  const parts = pool.map(({ text }) => text).filter((text) => text.length <= 24);
  const pick = (): string => parts[random.integer(parts.length)] ?? '';
  return Array.from({ length: JOINED_COUNT }, () =>
    Array.from({ length: 2 + random.integer(JOINED_PARTS_MAX - 1) }, pick).join(random.integer(2) === 0 ? '' : ' '),
  );
}
