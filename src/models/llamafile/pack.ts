/** Puts models and default arguments into a copy of the user's own llamafile program. */
import { createReadStream } from 'node:fs';
import { chmod, open, stat, type FileHandle } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { crc32 } from 'node:zlib';
import { AppError } from '../../core/errors.ts';
import { writeFully, writeThenRename } from '../file-io.ts';
import { numberOf } from '../gguf/metadata.ts';
import { readGgufHeader } from '../gguf/read-header.ts';
import { dialectOf, formatArguments, USER_ARGUMENTS } from './arguments.ts';
import { CHUNK_BYTES, copyBytes, copyFailure, requireRoom, type CopyOptions } from './copy-bytes.ts';
import { ARGS_NAME, isModelName, MODEL_ALIGNMENT, readLlamafile, type LlamafileFacts } from './read-llamafile.ts';
import { SourceFile } from './source-file.ts';
import type { Generation } from './version.ts';
import { endOf, type ZipEntry } from './zip.ts';
import { centralRecord, directoryEnd, localHeader, localHeaderBytes, type StoredFile } from './zip-write.ts';

export interface PackAsk extends CopyOptions {
  /** A llamafile without or with a model. It is copied, never changed. */
  readonly binary: string;
  /** Paths of .gguf files. */
  readonly models: readonly string[];
  /** For `.args`; `-m` and `...` are added where they are missing. */
  readonly args: readonly string[];
  /** Must not exist. */
  readonly out: string;
  /** Take out the models and arguments that the program has already. */
  readonly replace?: boolean | undefined;
}

/** Room for the directory, far more than it takes. */
const DIRECTORY_BYTES = 1 << 20;
const EXECUTABLE_MODE = 0o755;

/**
 * Writes under a temporary name, reads the result back and renames it; nothing is left when it fails or is aborted.
 * @returns the facts of the new file
 * @throws AppError `usage` for what cannot be packed as asked, `model-invalid`, `model-not-found`, `conversion-failed`
 */
export async function packLlamafile(ask: PackAsk): Promise<LlamafileFacts> {
  const { out } = ask;
  const plan = await planPack(ask);
  await requireRoom(out, plan.totalBytes);
  try {
    return await writeThenRename(out, async (temporaryPath) => {
      const handle = await open(temporaryPath, 'wx');
      try {
        await writePacked(handle, plan, ask);
      } finally {
        await handle.close();
      }
      await chmod(temporaryPath, EXECUTABLE_MODE);
      return { ...(await readLlamafile(temporaryPath)), path: resolve(out) };
    });
  } catch (error) {
    throw copyFailure(out, error);
  }
}

interface PackPlan {
  readonly base: LlamafileFacts;
  /** Bytes of the program that are copied. */
  readonly programBytes: number;
  /** Its entries that stay. */
  readonly kept: readonly ZipEntry[];
  readonly models: readonly { readonly path: string; readonly byteLength: number }[];
  /** Content of `.args`. */
  readonly args: string;
  /** At most. */
  readonly totalBytes: number;
}

/** Everything that can be wrong is found here, before a byte is written. */
async function planPack(ask: PackAsk): Promise<PackPlan> {
  const base = await readLlamafile(ask.binary);
  const { version, generation } = base;
  if (version === null) {
    throw new AppError('usage', `${ask.binary} is no llamafile program: no llamafile version is inside.`, {
      hint: 'Give the llamafile program of a release, or another llamafile together with --replace.',
    });
  }
  const models = await checkModels(ask.models);
  await checkOutput(ask.out);
  const dropped = droppedEntries(base, ask.models, ask.replace === true);
  const words = packedArguments(ask.args, basename(models[0]?.path ?? ''), generation);
  const programBytes = copiedBytes(base, dropped);
  return {
    base,
    programBytes,
    kept: (base.zip?.entries ?? []).filter((entry) => !dropped.includes(entry)),
    models,
    args: formatArguments(words, dialectOf(version)),
    totalBytes: models.reduce(
      (sum, { byteLength }) => sum + byteLength + MODEL_ALIGNMENT,
      programBytes + DIRECTORY_BYTES,
    ),
  };
}

async function writePacked(handle: FileHandle, plan: PackPlan, { signal, onProgress }: CopyOptions): Promise<void> {
  const { base, programBytes, kept, models, args, totalBytes } = plan;
  let before = 0;
  const options: CopyOptions = {
    signal,
    onProgress: ({ doneBytes }) => onProgress?.({ doneBytes: before + doneBytes, totalBytes }),
  };
  await copyFile(handle, { path: base.path, position: 0, byteLength: programBytes }, options);
  const added: StoredFile[] = [];
  for (const model of models) {
    before = endOfLast(added, programBytes);
    added.push(await storeModel(handle, { ...model, end: before }, options));
  }
  added.push(storeText(handle, { name: ARGS_NAME, text: args, end: endOfLast(added, programBytes) }));
  writeDirectory(handle, endOfLast(added, programBytes), recordsOf(base.path, kept), added);
}

function endOfLast(files: readonly StoredFile[], programBytes: number): number {
  const last = files.at(-1);
  return last === undefined ? programBytes : last.headerOffset + localHeaderBytes(last.name) + last.byteLength;
}

/**
 * Pure: `-m NAME` first unless the words name a model, and `...` last unless it is there.
 * From 0.10 on a packed file is called by its path in the zip (docs/creating_llamafiles.md of llamafile, 2026-11-25).
 */
export function packedArguments(words: readonly string[], modelName: string, generation: Generation): string[] {
  const namesModel = words.some((word) => word === '-m' || word === '--model');
  const name = generation === '0.10' ? `/zip/${modelName}` : modelName;
  return [...(namesModel ? [] : ['-m', name]), ...words, ...(words.includes(USER_ARGUMENTS) ? [] : [USER_ARGUMENTS])];
}

async function checkModels(models: readonly string[]): Promise<PackPlan['models']> {
  const names = new Set<string>();
  const checked: { path: string; byteLength: number }[] = [];
  if (models.length === 0)
    throw new AppError('usage', 'no model was given', { hint: 'runoff models pack --llamafile PROGRAM MODEL.gguf' });
  for (const path of models) {
    const name = basename(path);
    if (!isModelName(name))
      throw new AppError('usage', `${path}: llamafile finds a model by the ending .gguf.`, { hint: 'Rename it.' });
    if (names.has(name))
      throw new AppError('usage', `Two models are called ${name}.`, {
        hint: 'Rename one: the name is its key inside.',
      });
    names.add(name);
    const { metadata, fileBytes } = await readGgufHeader(path);
    const parts = numberOf(metadata, 'split.count') ?? 1;
    if (parts > 1)
      throw new AppError('usage', `${path} is one of ${parts} files of a model; a llamafile holds a model in one.`, {
        hint: 'Join them first: runoff models convert NAME-00001-of-NNNNN.gguf --to gguf --out ONE.gguf',
      });
    checked.push({ path, byteLength: fileBytes });
  }
  return checked;
}

async function checkOutput(out: string): Promise<void> {
  const present = await stat(out).catch(() => null);
  if (present === null) return;
  throw new AppError('usage', `${out} exists already.`, { hint: 'Remove it, or give another name with -o.' });
}

/** Models and arguments that are inside already, and what has the name of a new one. */
function droppedEntries({ path, zip }: LlamafileFacts, models: readonly string[], replace: boolean): ZipEntry[] {
  const names = models.map((model) => basename(model));
  const dropped = (zip?.entries ?? []).filter(
    ({ name }) => name === ARGS_NAME || isModelName(name) || names.includes(name),
  );
  if (dropped.length === 0 || replace) return dropped;
  throw new AppError('usage', `${path} holds ${dropped.map(({ name }) => name).join(', ')} already.`, {
    hint: 'Add --replace to leave these out of the copy.',
  });
}

/**
 * How much of the program is copied: all of it, its old directory included, as zipalign does; or up to what is left out,
 * where nothing that stays comes later.
 */
function copiedBytes({ fileBytes, zip }: LlamafileFacts, dropped: readonly ZipEntry[]): number {
  const kept = (zip?.entries ?? []).filter((entry) => !dropped.includes(entry));
  const first = Math.min(...dropped.map(({ headerOffset }) => headerOffset));
  return dropped.length > 0 && kept.every((entry) => endOf(entry) <= first) ? first : fileBytes;
}

async function copyFile(
  handle: FileHandle,
  { path, position, byteLength }: { path: string; position: number; byteLength: number },
  options: CopyOptions,
): Promise<number> {
  const chunks = createReadStream(path, { start: 0, end: byteLength - 1, highWaterMark: CHUNK_BYTES });
  const copied = await copyBytes(chunks, { handle, position, totalBytes: byteLength }, options);
  if (copied.byteLength === byteLength) return copied.checksum;
  throw new AppError('model-invalid', `${path} changed while it was copied.`, {
    hint: 'Let no other program change it, then try again.',
  });
}

async function storeModel(
  handle: FileHandle,
  { path, byteLength, end }: { path: string; byteLength: number; end: number },
  options: CopyOptions,
): Promise<StoredFile> {
  const name = basename(path);
  const header = localHeaderBytes(name);
  const position = Math.ceil((end + header) / MODEL_ALIGNMENT) * MODEL_ALIGNMENT;
  const checksum = await copyFile(handle, { path, position, byteLength }, options);
  const file = { name, byteLength, crc32: checksum, headerOffset: position - header };
  writeFully(handle, localHeader(file), file.headerOffset);
  return file;
}

function storeText(handle: FileHandle, { name, text, end }: { name: string; text: string; end: number }): StoredFile {
  const bytes = Buffer.from(text);
  const file = { name, byteLength: bytes.length, crc32: crc32(bytes), headerOffset: end };
  writeFully(handle, Buffer.concat([localHeader(file), bytes]), end);
  return file;
}

/** As they are: nothing before the new entries has moved. */
function recordsOf(path: string, kept: readonly ZipEntry[]): Buffer[] {
  const file = new SourceFile(path);
  try {
    return kept.map(({ name, record }) => file.read(record.offset, record.byteLength, name));
  } finally {
    file.close();
  }
}

function writeDirectory(
  handle: FileHandle,
  offset: number,
  kept: readonly Buffer[],
  added: readonly StoredFile[],
): void {
  const directory = Buffer.concat([...kept, ...added.map(centralRecord)]);
  const count = kept.length + added.length;
  writeFully(handle, directory, offset);
  writeFully(handle, directoryEnd({ count, byteLength: directory.length, offset }), offset + directory.length);
}
