/** Seeded damage for files of any format: what downloads, faults and attackers leave behind. */
import type { Random } from '../../../src/core/random.ts';

/** Lengths, counts and offsets that no file can hold, and those around the limits of number types. */
export const ABSURD: readonly bigint[] = [
  0n,
  1n,
  0x7fn,
  0xffn,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  2n ** 40n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];
const NESTED_LEVELS = 100;
/** JSON texts in place of a value. */
const HOSTILE: readonly string[] = [
  '-1',
  '0',
  '1',
  '1.5',
  '1e308',
  '1e999',
  '-1e999',
  '524287',
  '524289',
  '4294967296',
  '9007199254740993',
  '9223372036854775808',
  '18446744073709551616',
  'NaN',
  'null',
  'true',
  '""',
  '"x"',
  '"8"',
  '"../../etc/passwd"',
  '"/etc/passwd"',
  String.raw`"C:\\x"`,
  String.raw`"a\u0000b"`,
  String.raw`"\ud800"`,
  '"__proto__"',
  '"constructor"',
  '[]',
  '{}',
  '[null]',
  `${'['.repeat(NESTED_LEVELS)}${']'.repeat(NESTED_LEVELS)}`,
  `${'{"a":'.repeat(NESTED_LEVELS)}1${'}'.repeat(NESTED_LEVELS)}`,
];
/** What JSON consists of: changes that keep some files readable. */
const JSON_CHARACTERS = Buffer.from('0123456789{}[]",:.-eE \\\u0000\u007f');
const MARK = '@@hostile@@';

/** Half-open, in the file. */
export type ByteRange = readonly [start: number, end: number];

export function pick<T>(items: readonly T[], random: Random): T {
  return items[random.integer(items.length)] as T;
}

/** One to four changes, in the ranges where the format's fields are: elsewhere changes do little. */
export function damageBytes(bytes: Buffer, random: Random, fields: readonly ByteRange[] = [[0, bytes.length]]): Buffer {
  const copy = Buffer.from(bytes);
  for (let change = random.integer(4); change >= 0; change--) {
    const [from, to] = pick(fields, random);
    const at = from + random.integer(Math.max(1, to - from));
    const kind = random.integer(6);
    if (kind === 0) copy[at] = random.integer(256);
    else if (kind === 1) copy[at] = (copy[at] ?? 0) ^ (1 << random.integer(8));
    else if (kind === 2) writeAbsurd(copy, at, random);
    else if (kind === 3) copy.copyWithin(at, random.integer(copy.length), random.integer(copy.length));
    else if (kind === 4 && random.integer(4) === 0) return copy.subarray(0, random.integer(copy.length));
    else if (kind === 5 && random.integer(4) === 0) return spliced(copy, at, random);
  }
  return copy;
}

function writeAbsurd(copy: Buffer, at: number, random: Random): void {
  const value = Buffer.alloc(8);
  value.writeBigUInt64LE(pick(ABSURD, random));
  value.copy(copy, at, 0, 1 << random.integer(4));
}

/** Bytes that come twice, or are lost: everything behind them moves. */
function spliced(bytes: Buffer, at: number, random: Random): Buffer {
  const end = Math.min(bytes.length, at + 1 + random.integer(40));
  return random.integer(2) === 0
    ? Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)])
    : Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
}

/** A JSON text with a value of another kind, an entry lost, doubled or renamed, cut, or changed in its characters. */
export function damageJson(text: string, random: Random): string {
  const kind = random.integer(8);
  if (kind === 0) return text.slice(0, random.integer(text.length));
  if (kind === 1) {
    const bytes = Buffer.from(text);
    for (let change = random.integer(3); change >= 0; change--)
      bytes[random.integer(bytes.length)] = pick([...JSON_CHARACTERS], random);
    return bytes.toString('utf8');
  }
  const copy = JSON.parse(text) as unknown;
  if (kind === 2) return doubled(text, random);
  for (let change = random.integer(2); change >= 0; change--) damageValue(copy, random);
  return JSON.stringify(copy).replaceAll(JSON.stringify(MARK), () => pick(HOSTILE, random));
}

/** A stretch of the text twice: a name that occurs twice, where it happens to be whole. */
function doubled(text: string, random: Random): string {
  const commas = [...text.matchAll(/,/g)].map(({ index }) => index);
  if (commas.length < 2) return text + text;
  const first = random.integer(commas.length - 1);
  const last = Math.min(commas.length - 1, first + 1 + random.integer(4));
  const part = text.slice(commas[first], commas[last]);
  return text.slice(0, commas[last]) + part + text.slice(commas[last]);
}

function damageValue(root: unknown, random: Random): void {
  let container = root as Record<string, unknown>;
  for (;;) {
    const keys = Object.keys(container);
    if (keys.length === 0) return;
    const key = pick(keys, random);
    const inner = container[key];
    if (typeof inner === 'object' && inner !== null && random.integer(4) > 0) {
      container = inner as Record<string, unknown>;
      continue;
    }
    return changeEntry(container, key, random);
  }
}

function changeEntry(container: Record<string, unknown>, key: string, random: Random): void {
  const other = pick(Object.keys(container), random);
  const kind = random.integer(5);
  if (kind === 0 && Array.isArray(container)) container.splice(Number(key), 1);
  else if (kind === 0) delete container[key];
  else if (kind === 1) container[key] = container[other];
  else if (kind === 2 && !Array.isArray(container)) {
    container[`${key}${random.integer(10)}`] = container[key];
    delete container[key];
  } else container[key] = MARK;
}
