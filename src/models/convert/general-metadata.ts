/** general.*: what the folder says about itself beside the architecture. */
import { createReadStream } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { GgufValue } from '../gguf/metadata.ts';
import { readJson } from '../read-json.ts';

type Entries = Map<string, GgufValue>;

/** Front matter is the head of a model card; cards reach some hundred KB. */
const CARD_LINES_MAX = 500;
const CARD_BYTES_MAX = 1 << 20;
const LICENSE_CHARACTERS_MAX = 500;

/** Fields of generation_config.json, in the reference's order. */
const SAMPLING: readonly (readonly [string, string, 'f32' | 'i32'])[] = [
  ['top_k', 'top_k', 'i32'],
  ['top_p', 'top_p', 'f32'],
  ['min_p', 'min_p', 'f32'],
  ['xtc_probability', 'xtc_probability', 'f32'],
  ['xtc_threshold', 'xtc_threshold', 'f32'],
  ['temperature', 'temp', 'f32'],
  ['penalty_last_n', 'penalty_last_n', 'i32'],
  ['repetition_penalty', 'penalty_repeat', 'f32'],
];

export async function generalMetadata(folder: string, parameterCount: number): Promise<Entries> {
  const entries: Entries = new Map([['general.type', { type: 'string', value: 'model' }]]);
  const generation = await readJson(join(folder, 'generation_config.json')).catch(() => null);
  for (const [key, value] of samplingMetadata(generation)) entries.set(key, value);
  entries.set('general.name', { type: 'string', value: titleOf(basename(resolve(folder))) });
  entries.set('general.size_label', { type: 'string', value: sizeLabel(parameterCount) });
  const card = await readCard(join(folder, 'README.md'));
  for (const [field, key] of CARD_KEYS) {
    const value = card.get(field);
    if (value !== undefined) entries.set(key, { type: 'string', value });
  }
  return entries;
}

export function samplingMetadata(generation: unknown): Entries {
  const entries: Entries = new Map();
  if (typeof generation !== 'object' || generation === null) return entries;
  const fields = generation as Readonly<Record<string, unknown>>;
  for (const [field, key, type] of SAMPLING) {
    const value = fields[field];
    if (typeof value !== 'number' || !Number.isFinite(value)) continue;
    if (type === 'i32' && (!Number.isInteger(value) || Math.abs(value) >= 2 ** 31)) continue;
    entries.set(`general.sampling.${key}`, { type, value });
  }
  return entries;
}

/** `tiny-llama` -> `Tiny Llama`; words with capitals, versions and sizes stay. */
export function titleOf(name: string): string {
  return name
    .replaceAll('-', ' ')
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => (isLower(word) && !/^(?:v\d+(?:\.\d+)*|\d.*)$/.test(word) ? capitalised(word) : word))
    .join(' ');
}

function isLower(word: string): boolean {
  return word === word.toLowerCase() && word !== word.toUpperCase();
}

/** As Python's title(): a letter is a capital when no letter stands before it. */
function capitalised(word: string): string {
  return word.replaceAll(/(^|[^a-z])([a-z])/g, (_, before: string, letter: string) => before + letter.toUpperCase());
}

const SIZES = [
  { above: 1e12, scale: 1e-12, suffix: 'T' },
  { above: 1e9, scale: 1e-9, suffix: 'B' },
  { above: 1e6, scale: 1e-6, suffix: 'M' },
] as const;

/** `1.2B`, `135M`: two digits at least. */
export function sizeLabel(parameters: number): string {
  const { scale, suffix } = SIZES.find(({ above }) => parameters > above) ?? { scale: 1e-3, suffix: 'K' };
  const scaled = parameters * scale;
  const digits = String(roundHalfToEven(scaled)).replace(/^0+/, '').length;
  return `${scaled.toFixed(Math.max(0, 2 - digits))}${suffix}`;
}

function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

const CARD_KEYS = [
  ['license', 'general.license'],
  ['license_name', 'general.license.name'],
  ['license_link', 'general.license.link'],
] as const;

/** The licence out of a model card's front matter: the fields that are one plain word or one quoted text. */
async function readCard(path: string): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  const stream = createReadStream(path, { encoding: 'utf8', end: CARD_BYTES_MAX });
  let lines = 0;
  try {
    for await (const line of createInterface({ input: stream, crlfDelay: Infinity })) {
      if (lines === 0 ? line !== '---' : line === '---' || lines > CARD_LINES_MAX) break;
      lines += 1;
      const match =
        /^(license|license_name|license_link):\s*(?:"([^"]*)"|'([^']*)'|([^\s#[{>|&*!%@`][^#]*?))\s*(?:\s#.*)?$/.exec(
          line,
        );
      const value = match?.[2] ?? match?.[3] ?? match?.[4];
      if (match?.[1] !== undefined && value !== undefined) found.set(match[1], value.slice(0, LICENSE_CHARACTERS_MAX));
    }
  } catch {
    // No card.
  } finally {
    stream.destroy();
  }
  return found;
}
