/** All tensors of a Hugging Face folder: one file or shards, with an index or without. The folder is untrusted. */
import { readdir, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { readJson } from '../read-json.ts';
import { readSafetensorsHeader, type SafetensorsTensor } from './read-header.ts';

/** The largest published models have under 200 shards. */
const SHARDS_MAX = 2_000;
const INDEX = 'model.safetensors.index.json';

const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

export interface FolderTensor extends SafetensorsTensor {
  /** Absolute or as the folder was given. */
  readonly path: string;
}

/** Shards in the order of their names, and in a shard the tensors by name. @throws AppError `model-invalid`, `model-not-found` */
export async function readSafetensorsFolder(folder: string): Promise<readonly FolderTensor[]> {
  const index = await readIndex(folder);
  const names = index === null ? await listShards(folder) : [...new Set(index.values())].toSorted(byCodeUnits);
  if (names.length === 0) {
    throw new AppError('model-not-found', `${folder} holds no model*.safetensors file.`, {
      hint: 'Give the folder of a Hugging Face model with safetensors weights, or a .gguf file.',
    });
  }
  if (names.length > SHARDS_MAX) throw invalid(folder, `it has ${names.length} shards, ${SHARDS_MAX} are allowed`);
  const tensors: FolderTensor[] = [];
  const seen = new Map<string, string>();
  for (const name of names) {
    const path = join(folder, name);
    await mustExist(folder, name, path);
    const found = (await readSafetensorsHeader(path)).toSorted((a, b) => byCodeUnits(a.name, b.name));
    for (const tensor of found) {
      const other = seen.get(tensor.name);
      if (other !== undefined) throw invalid(folder, `the tensor ${tensor.name} is in ${other} and in ${name}`);
      seen.set(tensor.name, name);
      tensors.push({ ...tensor, path });
    }
  }
  if (index !== null) checkIndex(folder, index, seen);
  return tensors;
}

async function readIndex(folder: string): Promise<ReadonlyMap<string, string> | null> {
  const value = await readJson(join(folder, INDEX));
  if (value === undefined) return null;
  const parsed = indexSchema.safeParse(value);
  if (!parsed.success) throw invalid(join(folder, INDEX), 'it has no weight_map of names to file names');
  const index = new Map(Object.entries(parsed.data.weight_map));
  for (const [tensor, file] of index) {
    const leavesFolder = isAbsolute(file) || /[/\\]|^\.\.?$|[\0:]/.test(file);
    if (leavesFolder || !file.endsWith('.safetensors'))
      throw invalid(
        join(folder, INDEX),
        `it places ${tensor} in ${JSON.stringify(file)}, which is no file of this folder`,
      );
  }
  return index;
}

async function listShards(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw new AppError('model-not-found', `The folder ${folder} cannot be read.`, { hint: 'Check the path.', cause });
  });
  return names.filter((name) => /^model.*\.safetensors$/.test(name)).toSorted(byCodeUnits);
}

async function mustExist(folder: string, name: string, path: string): Promise<void> {
  const info = await stat(path).catch(() => null);
  if (info?.isFile() === true) return;
  throw invalid(folder, `the shard ${name} is missing`);
}

function checkIndex(folder: string, index: ReadonlyMap<string, string>, seen: ReadonlyMap<string, string>): void {
  for (const [tensor, file] of index) {
    const found = seen.get(tensor);
    if (found === file) continue;
    throw invalid(
      folder,
      found === undefined ? `${file} lacks the tensor ${tensor}` : `${tensor} is in ${found}, not in ${file}`,
    );
  }
  const extra = [...seen.keys()].find((name) => !index.has(name));
  if (extra !== undefined) throw invalid(folder, `the tensor ${extra} is not in ${INDEX}`);
}

/** As Python sorts the ASCII names of the reference. */
function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function invalid(where: string, reason: string): AppError {
  return new AppError('model-invalid', `${where} is not a usable model: ${reason}.`, {
    hint: 'Download the model again, all of its files.',
  });
}
