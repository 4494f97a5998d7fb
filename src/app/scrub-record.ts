/** Pure: takes what belongs to one person's machine out of a record: folders, user and host names, addresses of servers. */
import type { Manifest, RunEvent } from '../core/record.ts';

export interface PrivateFacts {
  readonly homeFolder: string;
  readonly userName: string;
  readonly hostNames: readonly string[];
}

/** Names that say nothing about anybody, and are words of other texts. */
const GENERIC_NAMES: readonly string[] = [
  'root',
  'user',
  'admin',
  'runner',
  'ubuntu',
  'debian',
  'node',
  'localhost',
  'build',
  'home',
];
const NAME_CHARACTERS_MIN = 3;
/** Fields whose whole text is a path or an address. */
const PLACE_FIELDS: readonly string[] = ['path', 'location', 'source', 'model'];
const ABSOLUTE = /^(\/|~\/|[A-Za-z]:[\\/]|\\\\)/;
const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/;
/** What is left of a folder. */
const CUT = '…';

export interface Scrubbed {
  readonly manifest: Manifest;
  readonly events: readonly RunEvent[];
  /** What could not be taken out; empty in every case that is known. */
  readonly leftovers: readonly string[];
}

export function scrubRecord(manifest: Manifest, events: readonly RunEvent[], facts: PrivateFacts): Scrubbed {
  const scrub = scrubber(manifest, events, facts);
  const cleaned = { manifest: scrub(manifest) as Manifest, events: events.map((event) => scrub(event) as RunEvent) };
  const text = JSON.stringify(cleaned);
  const names = [facts.homeFolder, ...namesOf(facts)].filter((name) => name.length >= NAME_CHARACTERS_MIN);
  return { ...cleaned, leftovers: names.filter((name) => wordPattern(name).test(text)) };
}

type Scrub = (value: unknown, field?: string) => unknown;

function scrubber(manifest: Manifest, events: readonly RunEvent[], facts: PrivateFacts): Scrub {
  const { folders, hosts } = placesOf([manifest, ...events]);
  const literals = [...folders, facts.homeFolder]
    .filter((folder) => folder.length > 1)
    .toSorted((a, b) => b.length - a.length);
  const names = namesOf(facts).map(wordPattern);
  const scrubText = (text: string): string => {
    let result = text.replaceAll('file://', '').replaceAll(/:\/\/[^\s/@]+@/g, '://');
    for (const folder of literals) result = result.replaceAll(folder, CUT);
    for (const host of hosts) result = result.replaceAll(host, 'HOST');
    // From `/a/b/name`, `~/a/name`, `…/a/name` and `C:\a\name` the name is left.
    result = result.replaceAll(
      /(?<![\w./~])(?:[~…])?(?:\/[^\s"'`<>|:;,()[\]{}/]+)*\/(?=[^\s"'`<>|:;,()[\]{}/])/g,
      (match) => (match === '/' ? match : `${CUT}/`),
    );
    result = result.replaceAll(/(?:[A-Za-z]:|…)\\(?:[^\\\s"'<>|]+\\)*/g, `${CUT}\\`);
    for (const name of names) result = result.replaceAll(new RegExp(name, 'g'), 'NAME');
    return result;
  };
  const scrub: Scrub = (value, field = '') => {
    if (typeof value === 'string') return isPlace(value, field) ? scrubText(lastPart(value)) : scrubText(value);
    if (Array.isArray(value)) return value.map((item) => scrub(item, field));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, scrub(item, key)]));
  };
  return scrub;
}

function isPlace(text: string, field: string): boolean {
  return ABSOLUTE.test(text) && (PLACE_FIELDS.includes(field) || field === 'command' || field === 'engines');
}

function lastPart(path: string): string {
  return path.split(/[\\/]/).findLast((part) => part !== '') ?? path;
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\'), 0));
}

/** Folders and hosts that stand alone in some field: they are found in longer texts, too, even with spaces in them. */
function placesOf(values: readonly unknown[]): { folders: string[]; hosts: string[] } {
  const folders = new Set<string>();
  const hosts = new Set<string>();
  const visit = (value: unknown, field: string): void => {
    if (typeof value === 'string') {
      if (isPlace(value, field)) folders.add(folderOf(value));
      const isEngine = field === 'location' || field === 'engines' || field === 'path';
      const host = isEngine ? /\bhttps?:\/\/(?:[^/@\s]*@)?([^/\s]+)/.exec(value)?.[1] : undefined;
      if (host !== undefined && !LOOPBACK.test(host)) hosts.add(host);
    } else if (Array.isArray(value)) for (const item of value) visit(item, field);
    else if (typeof value === 'object' && value !== null)
      for (const [key, item] of Object.entries(value)) visit(item, key);
  };
  for (const value of values) visit(value, '');
  return { folders: [...folders].filter((folder) => folder.split(/[\\/]/).length > 2), hosts: [...hosts] };
}

function namesOf({ userName, hostNames }: PrivateFacts): string[] {
  const names = [userName, ...hostNames, ...hostNames.map((name) => name.split('.')[0] ?? '')];
  return [...new Set(names)].filter(
    (name) => name.length >= NAME_CHARACTERS_MIN && !GENERIC_NAMES.includes(name.toLowerCase()),
  );
}

function wordPattern(name: string): RegExp {
  return new RegExp(`(?<![\\w-])${name.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')}(?![\\w-])`);
}
