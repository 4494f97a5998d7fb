/**
 * Puts a GGUF into a models folder of our own, as `ollama pull` would leave it: a manifest that names the weights by
 * their SHA-256, and the file itself under that name. Source, looked up on 2026-11-25: manifest/paths.go, manifest/
 * manifest.go and types/model/config.go of https://github.com/ollama/ollama (the same folders in v0.12.11).
 *
 * Why not /api/create: from 0.30 on it rewrites the file and measures the copy, with another digest and cold pages
 * (https://github.com/ollama/ollama/issues/17554). This way the engine maps the file that the others map, and no time
 * of making a model is counted as loading.
 */
import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { copyFile, link, mkdir, realpath, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, messageOf } from '../../core/errors.ts';

const MANIFEST_TYPE = 'application/vnd.docker.distribution.manifest.v2+json';
const CONFIG_TYPE = 'application/vnd.docker.container.image.v1+json';
const WEIGHTS_TYPE = 'application/vnd.ollama.image.model';
/** Where a name without host and namespace lies. */
const NAME_FOLDER = ['manifests', 'registry.ollama.ai', 'library'] as const;

/** One way to make a file appear under another path. */
export type Way = (from: string, to: string) => Promise<void>;

/**
 * A symbolic link needs a right on Windows, a hard link the same volume; a copy always works and costs the disk the
 * model once more (where the file system can, it shares the blocks).
 */
const WAYS: readonly Way[] = [symlink, link, (from, to) => copyFile(from, to, constants.COPYFILE_FICLONE)];

export interface PlacedModel {
  /** `OLLAMA_MODELS`. */
  readonly store: string;
  /** Without a tag. */
  readonly name: string;
  readonly modelPath: string;
  readonly sha256: string;
}

/** @throws AppError `engine-launch-failed` when the folder cannot be written. */
export async function placeModel({ store, name, modelPath, sha256 }: PlacedModel, ways = WAYS): Promise<void> {
  try {
    const blobs = join(store, 'blobs');
    const names = join(store, ...NAME_FOLDER, name);
    await mkdir(blobs, { recursive: true });
    await mkdir(names, { recursive: true });
    const { size } = await stat(modelPath);
    await appear(await realpath(modelPath), join(blobs, `sha256-${sha256}`), ways);
    const config = Buffer.from(JSON.stringify({ model_format: 'gguf', architecture: 'amd64', os: 'linux' }));
    const configSha256 = createHash('sha256').update(config).digest('hex');
    await writeFile(join(blobs, `sha256-${configSha256}`), config);
    const manifest = {
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: CONFIG_TYPE, digest: `sha256:${configSha256}`, size: config.length },
      layers: [{ mediaType: WEIGHTS_TYPE, digest: `sha256:${sha256}`, size }],
    };
    await writeFile(join(names, 'latest'), JSON.stringify(manifest));
  } catch (error) {
    throw new AppError('engine-launch-failed', `the model cannot be put into Ollama's folder: ${messageOf(error)}`, {
      hint: `Check that there is room in ${store}.`,
      cause: error,
    });
  }
}

async function appear(from: string, to: string, ways: readonly Way[]): Promise<void> {
  for (const [index, way] of ways.entries()) {
    try {
      return await way(from, to);
    } catch (error) {
      if (index === ways.length - 1) throw error;
    }
  }
}

/** SHA-256 of a file, streamed. @throws AppError `model-not-found` when it cannot be read. */
export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  } catch (error) {
    throw new AppError('model-not-found', `${path} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  return hash.digest('hex');
}
