/** A download under way: the bytes that are there, in parts, and the note beside them from which it goes on. */
import { open, readFile, rename, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { z } from 'zod';
import { writeError } from '../../platform/files/write-error.ts';

export interface Part {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  doneBytes: number;
}

export interface PartialFile {
  readonly handle: FileHandle;
  readonly parts: readonly Part[];
  /** Something of an earlier try is in it. */
  readonly isResumed: boolean;
  doneBytes(): number;
  /** So many more bytes of a part are in the file. */
  advance(part: Part, bytes: number): void;
  /** Nothing in it counts any more. */
  restart(): void;
  /** Notes how far it is, at most once in a while unless `now`. */
  note(now?: boolean): Promise<void>;
  close(): Promise<void>;
}

const noteSchema = z.object({
  sizeBytes: z.int().nonnegative(),
  hash: z.string(),
  parts: z.array(z.tuple([z.int().nonnegative(), z.int().nonnegative(), z.int().nonnegative()])).max(1 << 20),
});
/** What a crash loses; Ctrl-C loses nothing. */
const NOTE_MS = 2_000;

/** Names of our own: older Python libraries append to HASH.incomplete, which must not have holes. */
export function partialNames(blob: string): { data: string; note: string } {
  return { data: `${blob}.runoff.incomplete`, note: `${blob}.runoff.json` };
}

export async function removePartial(blob: string): Promise<void> {
  const { data, note } = partialNames(blob);
  await rm(data, { force: true });
  await rm(note, { force: true });
}

/** How much of a blob an earlier try has fetched. */
export async function partialBytes(blob: string, file: { sizeBytes: number; hash: string }): Promise<number> {
  const parts = await readNote(partialNames(blob).note, file);
  return (parts ?? []).reduce((sum, { doneBytes }) => sum + doneBytes, 0);
}

/** @throws AppError `record-write-failed` when the cache cannot be written */
export async function openPartial(
  blob: string,
  file: { readonly sizeBytes: number; readonly hash: string; readonly partBytes: number },
): Promise<PartialFile> {
  const names = partialNames(blob);
  const noted = await readNote(names.note, file);
  const kept = noted === null ? null : await open(names.data, 'r+').catch(() => null);
  const parts = kept === null || noted === null ? planParts(file.sizeBytes, file.partBytes) : noted;
  const handle = kept ?? (await createFile(names.data));
  let doneBytes = parts.reduce((sum, part) => sum + part.doneBytes, 0);
  let notedAtMs = performance.now();
  return {
    handle,
    parts,
    isResumed: doneBytes > 0,
    doneBytes: () => doneBytes,
    advance(part, bytes) {
      part.doneBytes += bytes;
      doneBytes += bytes;
    },
    restart() {
      for (const part of parts) part.doneBytes = 0;
      doneBytes = 0;
    },
    async note(now = false) {
      if (!now && performance.now() - notedAtMs < NOTE_MS) return;
      notedAtMs = performance.now();
      const rows = parts.map((part) => [part.start, part.end, part.doneBytes]);
      await writeFile(`${names.note}.tmp`, JSON.stringify({ sizeBytes: file.sizeBytes, hash: file.hash, parts: rows }));
      await rename(`${names.note}.tmp`, names.note);
    },
    close: () => handle.close(),
  };
}

async function createFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'w+');
  } catch (error) {
    throw await writeError(path, error);
  }
}

function planParts(sizeBytes: number, partBytes: number): Part[] {
  const count = Math.ceil(sizeBytes / partBytes);
  return Array.from({ length: count }, (_, i) => ({
    start: i * partBytes,
    end: Math.min(sizeBytes, (i + 1) * partBytes),
    doneBytes: 0,
  }));
}

/** Null unless the parts are those of this file, one after the other without a gap. */
async function readNote(path: string, file: { sizeBytes: number; hash: string }): Promise<Part[] | null> {
  const text = await readFile(path, 'utf8').catch(() => null);
  const parsed = text === null ? null : noteSchema.safeParse(parseJson(text));
  if (parsed?.success !== true || parsed.data.sizeBytes !== file.sizeBytes || parsed.data.hash !== file.hash)
    return null;
  const parts = parsed.data.parts.map(([start, end, doneBytes]) => ({ start, end, doneBytes }));
  const fits = parts.every(
    ({ start, end, doneBytes }, i) => start === (parts[i - 1]?.end ?? 0) && end > start && doneBytes <= end - start,
  );
  return fits && (parts.at(-1)?.end ?? 0) === file.sizeBytes ? parts : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
