/** What `runoff models` does: looks into model files, and makes llamafiles. */
import { open, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { AppError } from '../core/errors.ts';
import { cannotOpen } from '../models/cannot-open.ts';
import { memoryBytes, summarizeGguf, type GgufSummary } from '../models/gguf/summary.ts';
import { llamafileHazards, type Hazard, type HazardId } from '../models/llamafile/hazards.ts';
import { packLlamafile } from '../models/llamafile/pack.ts';
import { summarizeFolder, type FolderSummary } from '../models/mlx/summary.ts';
import { folderBytes } from '../platform/folders.ts';
import { readLlamafile, type LlamafileFacts } from '../models/llamafile/read-llamafile.ts';
import { readMadeBy } from './convert/made-by.ts';
import type { Ui } from './ui.ts';

/** Plain data: `--json` prints it as it is. */
export interface Inspection {
  readonly path: string;
  readonly fileBytes: number;
  /** A converter that runoff started and that is not its own, with its versions; null where no record says so. */
  readonly madeBy: string | null;
  /** Null for a .gguf file and for a folder. */
  readonly llamafile: LlamafileReport | null;
  readonly models: readonly ModelReport[];
}

export interface LlamafileReport {
  readonly version: string | null;
  /** As it calls itself, e.g. `llamafile 0.9.3`; null when it does not tell. */
  readonly name: string | null;
  readonly generation: LlamafileFacts['generation'];
  readonly format: LlamafileFacts['executable']['format'];
  readonly architectures: LlamafileFacts['executable']['architectures'];
  /** `.args`; null when there is none. */
  readonly defaultArguments: readonly string[] | null;
  readonly entryCount: number;
  readonly hazards: readonly Hazard[];
}

export interface ModelReport extends Pick<
  GgufSummary,
  | 'architecture'
  | 'parameterCount'
  | 'quantisation'
  | 'bitsPerWeight'
  | 'tensorTypes'
  | 'layerCount'
  | 'tokenizer'
  | 'preTokenizer'
  | 'vocabularySize'
  | 'contextTokens'
  | 'license'
  | 'twinOf'
> {
  /** Of the file or the entry. */
  readonly fileName: string;
  readonly fileBytes: number;
  /** general.name */
  readonly name: string;
  /** Inside a llamafile; null for a file of its own. */
  readonly place: { readonly offset: number; readonly aligned: boolean; readonly crc32: string } | null;
  readonly hasChatTemplate: boolean;
  readonly memory: {
    readonly contextTokens: number;
    readonly weightBytes: number;
    /** f16; null where the architecture keeps another kind of state. */
    readonly cacheBytes: number | null;
  };
}

/** What an application often asks for, and what fits most machines. */
const CONTEXT_TOKENS = 4_096;

/**
 * Reads headers only, whatever the size; runs nothing.
 * @param contextTokens to compute the memory for; null: 4,096, or the model's own where that is less
 * @throws AppError `model-not-found`, `model-invalid`, `model-unsupported`
 */
export async function inspectModel(path: string, contextTokens: number | null): Promise<Inspection> {
  const absolute = resolve(path);
  const isFolder = await stat(absolute).then(
    (info) => info.isDirectory(),
    () => false,
  );
  if (isFolder || absolute.endsWith('.safetensors')) return inspectFolder(absolute, { isFolder, contextTokens });
  if ((await magicOf(absolute)) === 'GGUF' || /\.gguf$/i.test(path)) {
    const summary = await summarizeGguf(absolute);
    const { fileBytes } = summary;
    return {
      path: absolute,
      fileBytes,
      madeBy: await readMadeBy({ path: absolute, kind: 'file' }),
      llamafile: null,
      models: [report(summary, basename(path), null, contextTokens)],
    };
  }
  const facts = await readLlamafile(absolute);
  return {
    path: absolute,
    fileBytes: facts.fileBytes,
    madeBy: null,
    llamafile: {
      version: facts.version,
      name: nameOf(facts),
      generation: facts.generation,
      format: facts.executable.format,
      architectures: facts.executable.architectures,
      defaultArguments: facts.defaults?.words ?? null,
      entryCount: facts.zip?.entries.length ?? 0,
      hazards: llamafileHazards(facts),
    },
    models: facts.models.flatMap(({ entry, aligned, summary }) => {
      if (summary === null) return [];
      const place = { offset: entry.dataOffset, aligned, crc32: entry.crc32.toString(16).padStart(8, '0') };
      return [report(summary, entry.name, place, contextTokens)];
    }),
  };
}

function nameOf({ literal }: LlamafileFacts): string | null {
  if (literal === null) return null;
  return `${literal.program} ${literal.version}${literal.note === null ? '' : ` (${literal.note})`}`;
}

async function inspectFolder(
  path: string,
  { isFolder, contextTokens }: { isFolder: boolean; contextTokens: number | null },
): Promise<Inspection> {
  const summary = await summarizeFolder(path);
  const fileBytes = isFolder ? await folderBytes(path) : (await stat(path)).size;
  const madeBy = isFolder ? await readMadeBy({ path, kind: 'folder' }) : null;
  return { path, fileBytes, madeBy, llamafile: null, models: [folderReport(summary, fileBytes, contextTokens)] };
}

function folderReport(summary: FolderSummary, fileBytes: number, asked: number | null): ModelReport {
  const { name, weightBytes, cacheBytesPerToken: perToken, format: _, ...facts } = summary;
  const tokens = contextFor(facts.contextTokens, asked);
  const cacheBytes = perToken === null ? null : perToken * tokens;
  return {
    ...facts,
    fileName: name,
    name,
    fileBytes,
    place: null,
    preTokenizer: null,
    memory: { contextTokens: tokens, weightBytes, cacheBytes },
  };
}

function contextFor(known: number, asked: number | null): number {
  return asked ?? Math.min(CONTEXT_TOKENS, known === 0 ? CONTEXT_TOKENS : known);
}

async function magicOf(path: string): Promise<string> {
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw cannotOpen(`file ${path}`, cause);
  });
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    return buffer.toString('latin1', 0, bytesRead);
  } catch (cause) {
    throw new AppError('model-unsupported', `${path} is not a file that can be read.`, {
      hint: 'Give the path of a .gguf file, a llamafile or a model folder.',
      cause,
    });
  } finally {
    await handle.close();
  }
}

function report(
  summary: GgufSummary,
  fileName: string,
  place: ModelReport['place'],
  asked: number | null,
): ModelReport {
  const contextTokens = contextFor(summary.contextTokens, asked);
  const memory = memoryBytes(summary, contextTokens);
  return {
    fileName,
    fileBytes: summary.fileBytes,
    name: summary.name,
    place,
    architecture: summary.architecture,
    layerCount: summary.layerCount,
    parameterCount: summary.parameterCount,
    quantisation: summary.quantisation,
    bitsPerWeight: summary.bitsPerWeight,
    tensorTypes: summary.tensorTypes,
    tokenizer: summary.tokenizer,
    preTokenizer: summary.preTokenizer,
    vocabularySize: summary.vocabularySize,
    hasChatTemplate: summary.chatTemplate !== null,
    contextTokens: summary.contextTokens,
    license: summary.license,
    twinOf: summary.twinOf,
    memory: { contextTokens, weightBytes: memory.weights, cacheBytes: memory.cache },
  };
}

export interface PackModelsAsk {
  readonly llamafile: string;
  readonly models: readonly string[];
  readonly args: readonly string[];
  /** Null: the first model's name with `.llamafile`, in this folder. */
  readonly out: string | null;
  readonly replace: boolean;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

/** What makes the new file useless for somebody: told at once. The rest is for `inspect`. */
const TOLD_AT_ONCE: readonly HazardId[] = [
  'windows-4-gib',
  'several-models',
  'one-system',
  'no-arm64',
  'no-x86-64',
  'tied-embeddings',
  'architecture-unknown',
  'server-in-args',
];

/** @throws AppError as `packLlamafile` does */
export async function packModels(
  ask: PackModelsAsk,
): Promise<{ path: string; fileBytes: number; warnings: readonly Hazard[] }> {
  const { llamafile: binary, models, args, replace, signal, ui } = ask;
  const out = ask.out ?? `${basename(models[0] ?? '').replace(/\.gguf$/i, '')}.llamafile`;
  const megabytes = (bytes: number): number => Math.ceil(bytes / 1e6);
  const facts = await packLlamafile({
    binary,
    models,
    args,
    out,
    replace,
    signal,
    onProgress: ({ doneBytes, totalBytes }) =>
      ui.status(`Packing ${basename(out)} (${megabytes(doneBytes)} of ${megabytes(totalBytes)} MB)`),
  });
  const warnings = llamafileHazards(facts).filter(({ id }) => TOLD_AT_ONCE.includes(id));
  return { path: out, fileBytes: facts.fileBytes, warnings };
}
