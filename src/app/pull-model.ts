/** `runoff models pull` and `list`: models from anywhere into the caches, and what is in them. */
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { AppError } from '../core/errors.ts';
import { filesOfModel, parsePartName, readGgufModel } from '../models/gguf/parts.ts';
import { listHubCache } from '../models/hub/list-cache.ts';
import { hubSettings } from '../models/hub/settings.ts';
import { readSafetensorsHeader } from '../models/safetensors/read-header.ts';
import { pullFromHub } from '../models/sources/hub.ts';
import { isRemoteSpec, resolveModel } from '../models/sources/resolve-model.ts';
import { findPython } from '../platform/environments/python.ts';
import { cacheFolder } from '../platform/folders.ts';
import type { Ui } from './ui.ts';

/** Plain data: `--json` prints it as it is. */
export interface PulledModel {
  readonly kind: 'gguf' | 'safetensors';
  /** The weights' first file, or the folder of a checkpoint. */
  readonly path: string;
  readonly weights: readonly string[];
  /** Of the weights. */
  readonly fileBytes: number;
  /** Checked; null where nothing announces one. */
  readonly sha256: string | null;
  /** Fetches the same files for ever; null for the user's own. */
  readonly source: string | null;
  readonly downloadedBytes: number;
}

export interface PullAsk {
  readonly spec: string;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

/** @throws AppError as `resolveModel` and `pullFromHub` do */
export async function pullModel({ spec, signal, ui }: PullAsk): Promise<PulledModel> {
  const onProgress = (text: string): void => ui.status(text);
  if (spec.startsWith('hf:')) {
    const { pinned, warnings, ...model } = await pullFromHub(spec, { onProgress, signal });
    for (const warning of warnings) ui.line(`Note: ${warning}`);
    return { ...model, source: pinned };
  }
  const isFolder = !isRemoteSpec(spec) && (await stat(spec).catch(() => null))?.isDirectory() === true;
  if (isFolder) return checkFolder(resolve(spec));
  const python = (await findPython())?.path;
  const model = await resolveModel(spec, {
    cacheFolder: join(cacheFolder(), 'models'),
    ...(python === undefined ? {} : { python }),
    onProgress,
    signal,
  });
  const { path, fileBytes, sha256, pinned = null } = model;
  return { kind: 'gguf', path, weights: filesOfModel(path), fileBytes, sha256, source: pinned, downloadedBytes: 0 };
}

/** A checkpoint's folder must have what conversion needs, and weights whose headers can be read; else one GGUF, in one file or several. */
async function checkFolder(folder: string): Promise<PulledModel> {
  const names = await readdir(folder);
  const ggufs = names.filter((name) => name.endsWith('.gguf') && (parsePartName(name)?.part ?? 1) === 1);
  const [only] = ggufs;
  if (only !== undefined && ggufs.length === 1 && !names.some((name) => name.endsWith('.safetensors'))) {
    const path = join(folder, only);
    const { fileBytes } = await readGgufModel(path, 0);
    const weights = filesOfModel(path);
    return { kind: 'gguf', path, weights, fileBytes, sha256: null, source: null, downloadedBytes: 0 };
  }
  const weights = names
    .filter((name) => name.endsWith('.safetensors'))
    .toSorted()
    .map((name) => join(folder, name));
  if (weights.length === 0 || !names.includes('config.json')) {
    const gguf = names.find((name) => /\.gguf$/i.test(name));
    throw new AppError(
      'model-unsupported',
      `${folder} is not a checkpoint: ${weights.length === 0 ? 'it has no .safetensors file' : 'it has no config.json'}.`,
      {
        hint:
          gguf === undefined
            ? 'Give the folder of a checkpoint, or the path of a .gguf file.'
            : `Name its file: ${join(folder, gguf)}`,
      },
    );
  }
  let fileBytes = 0;
  for (const path of weights) {
    await readSafetensorsHeader(path);
    fileBytes += (await stat(path)).size;
  }
  return { kind: 'safetensors', path: folder, weights, fileBytes, sha256: null, source: null, downloadedBytes: 0 };
}

export interface ListedModel {
  /** What names it on a command line. */
  readonly spec: string;
  readonly path: string;
  readonly fileBytes: number;
}

export interface ModelList {
  readonly hub: { readonly folder: string; readonly models: readonly ListedModel[] };
  readonly runoff: { readonly folder: string; readonly models: readonly ListedModel[] };
}

/** Reads folders only: no network, no file's content. */
export async function listModels(): Promise<ModelList> {
  const { cacheFolder: hubFolder } = await hubSettings();
  const own = join(cacheFolder(), 'models');
  const entries = await readdir(own, { recursive: true, withFileTypes: true }).catch(() => []);
  const models: ListedModel[] = [];
  for (const entry of entries) {
    if (!entry.isFile() || !/\.(gguf|safetensors)$/.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    models.push({ spec: path, path, fileBytes: (await stat(path)).size });
  }
  return {
    hub: { folder: hubFolder, models: await listHubCache(hubFolder) },
    runoff: { folder: own, models: models.toSorted((a, b) => (a.path < b.path ? -1 : 1)) },
  };
}

/** Pure: the lines that `runoff models list` prints. */
export function describeModelList({ hub, runoff }: ModelList): string {
  const part = (title: string, models: readonly ListedModel[], name: (model: ListedModel) => string): string[] => [
    title,
    ...(models.length === 0
      ? ['  nothing']
      : models.map((model) => `${(model.fileBytes / 1e6).toFixed(1).padStart(9)} MB  ${name(model)}`)),
  ];
  return [
    ...part(`The hub's cache (${hub.folder}), shared with other programs`, hub.models, ({ spec }) => spec),
    ...part(`runoff's cache (${runoff.folder})`, runoff.models, ({ path }) => path.slice(runoff.folder.length + 1)),
  ].join('\n');
}

/** Pure: what `runoff models pull` says on stderr beside the path. */
export function describePulled({ kind, weights, fileBytes, sha256, source, downloadedBytes }: PulledModel): string[] {
  const files = weights.length === 1 ? basename(weights[0] ?? '') : `${weights.length} files`;
  return [
    `${kind === 'gguf' ? 'GGUF' : 'Checkpoint'}: ${files}, ${(fileBytes / 1e6).toFixed(1)} MB${downloadedBytes === 0 ? '' : `; ${(downloadedBytes / 1e6).toFixed(1)} MB downloaded`}`,
    ...(sha256 === null ? [] : [`sha256 ${sha256}`]),
    ...(source === null ? [] : [`The same again: ${source}`]),
  ];
}
