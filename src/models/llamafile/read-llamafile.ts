/** Everything that can be told about a llamafile without running it: program, zip, arguments, version, models inside. */
import { crc32, inflateRawSync } from 'node:zlib';
import { AppError } from '../../core/errors.ts';
import { summarizeGguf, type GgufSummary } from '../gguf/summary.ts';
import { dialectOf, parseArguments, type ArgumentDialect } from './arguments.ts';
import { HEAD_BYTES, readExecutable, type ExecutableFacts } from './executable.ts';
import { SourceFile } from './source-file.ts';
import { findVersion, generationOf, type ByteRange, type Generation, type VersionLiteral } from './version.ts';
import { endOf, readZipDirectory, type ZipDirectory, type ZipEntry } from './zip.ts';

export interface LlamafileFacts {
  readonly path: string;
  readonly fileBytes: number;
  readonly executable: ExecutableFacts;
  /** What the engine calls itself; null when it does not tell. */
  readonly literal: VersionLiteral | null;
  /** Of the engine, e.g. `0.9.3`; null when the program does not tell. */
  readonly version: string | null;
  readonly generation: Generation;
  /** The default arguments inside; null when there are none. */
  readonly defaults: DefaultArguments | null;
  readonly models: readonly EmbeddedModel[];
  /** Null when the program carries no zip. */
  readonly zip: ZipDirectory | null;
}

export interface DefaultArguments {
  readonly dialect: ArgumentDialect;
  /** In order; `...` stands for the user's. */
  readonly words: readonly string[];
}

export interface EmbeddedModel {
  readonly entry: ZipEntry;
  /** Starts at a multiple of 65,536 bytes, as mapping it into memory needs on every system. */
  readonly aligned: boolean;
  /** Null when it is compressed: it would have to be unpacked to be read. */
  readonly summary: GgufSummary | null;
}

export const ARGS_NAME = '.args';
/** Windows maps files at multiples of 64 KiB, Apple's GPU needs 16 KiB (llamafile/llamafile.c, zipalign.c). */
export const MODEL_ALIGNMENT = 65_536;
/** A long system prompt fits; llama.cpp's own limits for arguments are lower. */
const ARGS_BYTES_MAX = 64 << 10;
/** A model, its projector and a draft model are three. */
const MODEL_COUNT_MAX = 64;

/**
 * Reads headers only: some megabytes of a file of any size.
 * @throws AppError `model-not-found`, `model-invalid` with what is wrong and at which byte, `model-unsupported`
 */
export async function readLlamafile(path: string): Promise<LlamafileFacts> {
  const file = new SourceFile(path);
  try {
    const head = file.read(0, Math.min(HEAD_BYTES, file.byteLength), 'the program');
    const executable = readExecutable(head);
    if (executable === null) throw noProgram(path, head);
    const zip = readZipDirectory(file);
    const entries = zip?.entries ?? [];
    const literal = findVersion(file, programRanges(file.byteLength, entries));
    const version = literal?.version ?? null;
    return {
      path,
      fileBytes: file.byteLength,
      executable,
      literal,
      version,
      generation: generationOf(version),
      defaults: readDefaults(file, entries, version),
      models: await readModels(file, entries),
      zip,
    };
  } finally {
    file.close();
  }
}

function noProgram(path: string, head: Buffer): AppError {
  const start = JSON.stringify(head.toString('latin1', 0, 8));
  const reason = head.length === 0 ? 'it is empty' : `it starts with ${start}, not with a program`;
  return new AppError('model-invalid', `${path} is no llamafile: ${reason}.`, {
    hint: 'Check the path. A small text file is often a Git LFS pointer or an error page: download the file itself.',
  });
}

/** Pure: what lies between the entries of the zip. */
function programRanges(fileBytes: number, entries: readonly ZipEntry[]): ByteRange[] {
  const sorted = entries.toSorted((a, b) => a.headerOffset - b.headerOffset);
  const ends = [0, ...sorted.map(endOf)];
  const starts = [...sorted.map(({ headerOffset }) => headerOffset), fileBytes];
  return ends.map((start, i) => ({ start, end: starts[i] as number })).filter(({ start, end }) => start < end);
}

function readDefaults(file: SourceFile, entries: readonly ZipEntry[], version: string | null): DefaultArguments | null {
  const entry = entries.find(({ name }) => name === ARGS_NAME);
  if (entry === undefined) return null;
  const dialect = dialectOf(version);
  return { dialect, words: parseArguments(readSmallEntry(file, entry).toString('utf8'), dialect) };
}

function readSmallEntry(file: SourceFile, entry: ZipEntry): Buffer {
  const { name, method, byteLength, compressedBytes } = entry;
  if (method === 'other') throw file.invalid(`its entry ${name} is compressed in an unknown way`);
  if (Math.max(byteLength, compressedBytes) > ARGS_BYTES_MAX)
    throw file.invalid(`its entry ${name} has ${byteLength} bytes, ${ARGS_BYTES_MAX} are allowed`);
  const stored = file.read(entry.dataOffset, compressedBytes, name);
  const bytes = method === 'stored' ? stored : inflate(file, entry, stored);
  if (bytes.length !== byteLength || crc32(bytes) !== entry.crc32)
    throw file.invalid(`its entry ${name} is damaged: its checksum is wrong`);
  return bytes;
}

function inflate(file: SourceFile, { name }: ZipEntry, stored: Buffer): Buffer {
  try {
    return inflateRawSync(stored, { maxOutputLength: ARGS_BYTES_MAX });
  } catch (cause) {
    throw new AppError('model-invalid', `${file.path}: the entry ${name} cannot be unpacked.`, {
      hint: 'Download or pack it again.',
      cause,
    });
  }
}

async function readModels(file: SourceFile, entries: readonly ZipEntry[]): Promise<EmbeddedModel[]> {
  const found = entries.filter(({ name }) => isModelName(name));
  if (found.length > MODEL_COUNT_MAX)
    throw file.invalid(`it holds ${found.length} models, more than the ${MODEL_COUNT_MAX} that are allowed`);
  const models: EmbeddedModel[] = [];
  for (const entry of found) models.push(await readModel(file.path, entry));
  return models;
}

async function readModel(path: string, entry: ZipEntry): Promise<EmbeddedModel> {
  const { name, dataOffset: start, byteLength, method } = entry;
  const aligned = start % MODEL_ALIGNMENT === 0;
  if (method !== 'stored') return { entry, aligned, summary: null };
  return { entry, aligned, summary: await summarizeGguf(path, { start, byteLength, name }) };
}

/** Pure: llamafile takes every entry with this ending for a model. */
export function isModelName(name: string): boolean {
  return /\.gguf$/i.test(name);
}

/**
 * Pure: the model that is meant: the named one, the only one, or the only one that is no image projector.
 * @throws AppError `model-not-found` when there is none, `usage` when a choice is needed
 */
export function embeddedGguf({ path, models }: LlamafileFacts, name: string | null = null): EmbeddedModel {
  const names = models.map(({ entry }) => entry.name);
  if (name !== null) {
    const named = models.find(({ entry }) => entry.name === name);
    if (named !== undefined) return named;
    const inside = names.length === 0 ? 'It holds no model.' : `It holds: ${names.join(', ')}.`;
    throw new AppError('model-not-found', `${path} does not hold ${name}.`, { hint: inside });
  }
  if (models.length === 0) {
    throw new AppError('model-not-found', `${path} holds no .gguf model: it is an engine only.`, {
      hint: 'Give the path of a .gguf file, or of a llamafile that has a model inside.',
    });
  }
  const language = models.filter(({ summary }) => summary?.architecture !== 'clip');
  const [only] = language.length === 1 ? language : models;
  if (only !== undefined && (models.length === 1 || language.length === 1)) return only;
  throw new AppError('usage', `${path} holds several models: ${names.join(', ')}.`, {
    hint: `Name one of them: ${path}:${names[0]}`,
  });
}
