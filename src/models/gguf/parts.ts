/**
 * Models that come as several files, as llama.cpp's gguf-split writes them: NAME-00001-of-00003.gguf and its brothers. The
 * first has all metadata, each has some of the tensors.
 * https://github.com/ggml-org/llama.cpp/blob/master/tools/gguf-split/README.md (2026-11-25)
 */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { numberOf } from './metadata.ts';
import { readGgufHeader, type GgufHeader } from './read-header.ts';

/** Real models have under 200 parts. All are open at once, and systems often allow a process 1,024 files. */
export const PARTS_MAX = 500;

export interface PartName {
  readonly stem: string;
  /** From 1. */
  readonly part: number;
  readonly count: number;
}

/** Null: not the name of a part. */
export function parsePartName(fileName: string): PartName | null {
  const match = /^(.+)-(\d{5})-of-(\d{5})\.gguf$/.exec(fileName);
  if (match === null) return null;
  const [part, count] = [Number(match[2]), Number(match[3])];
  return part < 1 || part > count ? null : { stem: match[1] as string, part, count };
}

export function formatPartName({ stem, part, count }: PartName): string {
  const digits = (value: number): string => String(value).padStart(5, '0');
  return `${stem}-${digits(part)}-of-${digits(count)}.gguf`;
}

/** Pure: the names of all `count` parts, from that of the first; null: not named so, another part, or too many. */
export function partNames(name: string, count: number): string[] | null {
  const first = parsePartName(name);
  if (first === null || first.part !== 1 || first.count !== count || count > PARTS_MAX) return null;
  return Array.from({ length: count }, (_, index) => formatPartName({ stem: first.stem, part: index + 1, count }));
}

/** The files of the model that starts with `path`, by their names; only itself where it is not named as the first part. */
export function filesOfModel(path: string): string[] {
  const count = parsePartName(basename(path))?.count ?? 1;
  return partNames(basename(path), count)?.map((name) => join(dirname(path), name)) ?? [path];
}

/**
 * Header of a model in one file or in several: metadata, places and alignment are those of the first, tensors and
 * `fileBytes` those of all. `arrayItemsMax` as in `readGgufHeader`.
 * Rejects as `readGgufHeader`, and with `model-invalid` where a part is missing or belongs to another model.
 */
export async function readGgufModel(path: string, arrayItemsMax?: number): Promise<GgufHeader> {
  const first = await readGgufHeader(path, undefined, arrayItemsMax);
  const count = numberOf(first.metadata, 'split.count') ?? 1;
  if (count <= 1) {
    const named = parsePartName(basename(path))?.count ?? 1;
    if (named <= 1) return first;
    // The first part would pass for a small model.
    throw new AppError(
      'model-invalid',
      `${path} is one of ${named} files by its name, and a whole model by its header.`,
      {
        hint: 'Download the model again, all of its files, or rename it where it is whole.',
      },
    );
  }
  const names = partNames(basename(path), count);
  if (names === null) {
    throw new AppError(
      'model-invalid',
      `${path} is a part of a model of ${count} files, but not named as the first of them.`,
      {
        hint: 'Give the file that ends in -00001-of-NNNNN.gguf, under the name that it was made with.',
      },
    );
  }
  const headers = [first];
  for (const name of names.slice(1)) headers.push(await readPart(join(dirname(path), name), count));
  return joinParts(headers as [GgufHeader, ...GgufHeader[]]);
}

/** Pure: the headers of all parts, in order, as that of one model. @throws AppError `model-invalid` */
export function joinParts(headers: readonly [GgufHeader, ...GgufHeader[]]): GgufHeader {
  const [first] = headers;
  const count = numberOf(first.metadata, 'split.count') ?? 1;
  if (count <= 1 && headers.length === 1) return first;
  for (const [index, header] of headers.entries()) checkPart(header, index, headers.length);
  const tensors = headers.flatMap((header) => header.tensors);
  checkTensors(first, tensors);
  return { ...first, tensors, fileBytes: headers.reduce((sum, { fileBytes }) => sum + fileBytes, 0) };
}

async function readPart(path: string, count: number): Promise<GgufHeader> {
  if ((await stat(path).catch(() => null)) === null) {
    throw new AppError('model-invalid', `The model has ${count} parts, and ${path} is missing.`, {
      hint: 'Download all parts into the same folder.',
    });
  }
  return readGgufHeader(path, undefined, 0);
}

/** llama.cpp refuses the same. */
function checkPart({ path, metadata }: GgufHeader, index: number, count: number): void {
  const [number, announced] = [numberOf(metadata, 'split.no'), numberOf(metadata, 'split.count')];
  if (number === index && announced === count) return;
  throw new AppError(
    'model-invalid',
    `${path} says that it is part ${number === null ? 'unknown' : number + 1} of ${announced ?? 'unknown'}; by its name it is ${index + 1} of ${count}.`,
    { hint: 'Download the model again, all of its files, and do not rename them.' },
  );
}

/** The reader checks one file; parts may repeat a name or lack tensors. */
function checkTensors({ path, metadata }: GgufHeader, tensors: GgufHeader['tensors']): void {
  const hint = 'Download the model again, all of its files.';
  const seen = new Set<string>();
  for (const { name } of tensors) {
    if (seen.has(name))
      throw new AppError('model-invalid', `${path}: the tensor ${name} is in two parts of the model.`, { hint });
    seen.add(name);
  }
  const announced = numberOf(metadata, 'split.tensors.count');
  if (announced === null || announced === tensors.length) return;
  throw new AppError(
    'model-invalid',
    `${path} announces ${announced} tensors; the parts of the model have ${tensors.length}.`,
    { hint },
  );
}

/** The files that hold a model's tensors, opened. */
export class TensorFiles {
  readonly #handles = new Map<string, FileHandle>();

  private constructor() {}

  /** The caller closes. */
  static async open(tensors: readonly { readonly path: string }[]): Promise<TensorFiles> {
    const files = new TensorFiles();
    try {
      for (const { path } of tensors) {
        if (!files.#handles.has(path)) files.#handles.set(path, await open(path, 'r'));
      }
      return files;
    } catch (error) {
      await files.close();
      throw error;
    }
  }

  of(tensor: { readonly path: string }): FileHandle {
    return this.#handles.get(tensor.path) as FileHandle;
  }

  async close(): Promise<void> {
    for (const handle of this.#handles.values()) await handle.close();
  }
}
