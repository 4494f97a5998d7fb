/**
 * The journal beside an unfinished conversion: what it is made from and how, and the tensors that are written, each with a
 * checksum. One line of JSON each, appended when a tensor is complete.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { readFile, stat, truncate } from 'node:fs/promises';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { TensorDone } from './tensors-in-work.ts';

/** A line is some 80 bytes; a model has a few thousand tensors. */
const JOURNAL_BYTES_MAX = 64 << 20;
const NEWLINE = 0x0a;

const sourceSchema = z.strictObject({ name: z.string(), bytes: z.number(), modifiedMs: z.number() });
const identitySchema = z.strictObject({
  /** Name and version of the code that writes: another may write other bytes. */
  converter: z.string(),
  /** By the name that the user knows; null: not given. */
  options: z.record(z.string(), z.string().nullable()),
  sources: z.array(sourceSchema),
  /** sha256 of everything that is written but the tensors' values: header, places, types. */
  plan: z.string(),
});
const tensorSchema = z.strictObject({ tensor: z.string(), sums: z.array(z.string().regex(/^[0-9a-f]{16}$/)).max(3) });
/** A process that works on it; null: it ended and left the rest for later. */
const sessionSchema = z.strictObject({ process: z.int().positive().nullable() });
const lineSchema = z.union([tensorSchema, sessionSchema]);
const headerSchema = z.strictObject({ unfinished: z.literal('conversion'), ...identitySchema.shape });

export type ConversionIdentity = z.infer<typeof identitySchema>;
export type SourceIdentity = z.infer<typeof sourceSchema>;

export interface FoundJournal {
  readonly identity: ConversionIdentity;
  readonly done: ReadonlyMap<string, readonly string[]>;
  /** The process that wrote last, where it did not say that it ended. */
  readonly process: number | null;
  /** Without a last line that was cut off in the middle. */
  readonly wholeBytes: number;
}

/** Null where there is none. @throws AppError `conversion-failed` for a file that is none of ours */
export async function readJournal(path: string): Promise<FoundJournal | null> {
  const info = await stat(path).catch(() => null);
  if (info === null) return null;
  if (!info.isFile() || info.size > JOURNAL_BYTES_MAX) throw damaged(path);
  const bytes = await readFile(path);
  const wholeBytes = bytes.lastIndexOf(NEWLINE) + 1;
  const [first, ...rest] = bytes
    .subarray(0, wholeBytes)
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '');
  try {
    const { unfinished: _, ...identity } = headerSchema.parse(JSON.parse(first ?? ''));
    const lines = rest.map((line) => lineSchema.parse(JSON.parse(line)));
    const done = new Map(lines.flatMap((line) => ('tensor' in line ? [[line.tensor, line.sums] as const] : [])));
    const session = lines.findLast((line) => 'process' in line);
    return { identity, done, process: session?.process ?? null, wholeBytes };
  } catch (cause) {
    throw damaged(path, cause);
  }
}

export interface Journal {
  tensorDone(done: TensorDone): void;
  /** @param isLeft the rest is for later: no process works on it any more */
  close(isLeft: boolean): void;
}

/** @throws what the file system says; EEXIST when another process has just begun the same */
export function beginJournal(path: string, identity: ConversionIdentity): Journal {
  const file = openSync(path, 'wx');
  return journalOn(file, { unfinished: 'conversion', ...identity });
}

/** Goes on behind the last whole line. */
export async function continueJournal(path: string, { wholeBytes }: FoundJournal): Promise<Journal> {
  await truncate(path, wholeBytes);
  return journalOn(openSync(path, 'a'), null);
}

/*
 * Not synced: what a process has written survives its end, however it ends. After a power cut a line may be there without
 * its tensor; the checksum shows it.
 */
function journalOn(file: number, header: unknown): Journal {
  const append = (value: unknown): void => void writeSync(file, `${JSON.stringify(value)}\n`);
  if (header !== null) append(header);
  append({ process: process.pid });
  return {
    tensorDone: ({ name, checksums }) => append({ tensor: name, sums: checksums }),
    close(isLeft) {
      try {
        if (isLeft) append({ process: null });
      } catch {
        // A full disk: the process id tells the same once the process is gone.
      } finally {
        closeSync(file);
      }
    },
  };
}

/** Pure: the first thing that is not as it was, in words; null when everything is. */
export function changeSince(before: ConversionIdentity, now: ConversionIdentity): string | null {
  if (before.converter !== now.converter)
    return `it was begun by another version of the converter (${before.converter}; this is ${now.converter})`;
  for (const name of new Set([...Object.keys(before.options), ...Object.keys(now.options)])) {
    const [then, today] = [before.options[name] ?? 'not given', now.options[name] ?? 'not given'];
    if (then !== today) return `${name} was ${then} and is ${today} now`;
  }
  const source = changedSource(before.sources, now.sources);
  if (source !== null) return `${source} has changed since`;
  if (before.plan !== now.plan) return "the model's configuration, tokenizer or name has changed since";
  return null;
}

function changedSource(before: readonly SourceIdentity[], now: readonly SourceIdentity[]): string | null {
  for (let i = 0; i < Math.max(before.length, now.length); i++) {
    const [then, today] = [before[i], now[i]];
    if (then === undefined || today === undefined) return 'the list of weight files';
    if (then.name !== today.name || then.bytes !== today.bytes || then.modifiedMs !== today.modifiedMs)
      return today.name;
  }
  return null;
}

function damaged(path: string, cause?: unknown): AppError {
  return new AppError('conversion-failed', `${path} is not the journal of a conversion, or it is damaged.`, {
    hint: 'Delete it and what lies beside it, or choose another output with --out.',
    cause,
  });
}
