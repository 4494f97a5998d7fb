/** What is known about a model that is to be published: its files, how it was made, under which licence. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import type { ModelFacts } from '../core/record.ts';
import { fingerprintModel } from '../models/fingerprint/fingerprint.ts';
import { filesOfModel, parsePartName } from '../models/gguf/parts.ts';
import { summarizeGguf } from '../models/gguf/summary.ts';
import { twinOfConfig } from '../models/gguf/twin-of-key.ts';
import { judgeLicence } from '../models/hub/licences.ts';
import { readReceipt } from '../models/mlx/receipt.ts';
import { cacheFolder } from '../platform/folders.ts';
import { proveGguf, sha256Of } from './prepare-model.ts';
import type { Ui } from './ui.ts';

export interface PublishedModel {
  readonly name: string;
  readonly format: 'gguf' | 'mlx' | 'safetensors';
  readonly files: readonly PublishedFile[];
  readonly source: string | null;
  readonly command: string | null;
  readonly derivedBy: string | null;
  readonly architecture: string;
  readonly quantisation: string;
  readonly parameterCount: number | null;
  readonly bitsPerWeight: number | null;
  readonly fingerprint: string | null;
  readonly licence: PublishedLicence;
}

export interface PublishedFile {
  /** In the repository. */
  readonly path: string;
  readonly file: string;
  readonly sizeBytes: number;
  /** Of weights. */
  readonly sha256: string | null;
}

export interface PublishedLicence {
  readonly id: string;
  /** The hub knows it by this name. */
  readonly isHubName: boolean;
  /** Who says so, in words. */
  readonly said: string;
  readonly conditions: readonly string[];
}

export interface ModelAnswers {
  readonly licence: string | null;
  readonly source: string | null;
  readonly command: string | null;
  /** Models of the run that is published with it. */
  readonly measured: readonly ModelFacts[] | null;
  readonly ui: Ui;
  readonly signal: AbortSignal;
}

/** What belongs to a model's folder; anything else in it stays at home. */
const FOLDER_FILES =
  /^(model[\w.-]*\.safetensors|model\.safetensors\.index\.json|config\.json|generation_config\.json|tokenizer(_config)?\.json|tokenizer\.model|special_tokens_map\.json|added_tokens\.json|vocab\.json|merges\.txt|chat_template\.(jinja|json))$/;
export const LICENCE_FILE = /^(LICENSE|LICENCE|NOTICE|USE_POLICY)(\.(md|txt))?$/i;
/** A folder of a hub's cache: models--OWNER--NAME/snapshots/COMMIT/PATH. */
const IN_HUB_CACHE = /models--([^/\\]+)[/\\]snapshots[/\\]([0-9a-f]{40})[/\\](.+)$/;

/** @throws AppError `model-not-found`, `model-invalid`, `publish-refused` */
export async function describeModel(path: string, answers: ModelAnswers): Promise<PublishedModel> {
  const absolute = resolve(path);
  const facts = await stat(absolute).catch((cause: unknown) => {
    throw new AppError('model-not-found', `There is nothing at ${path}.`, {
      hint: 'Give a .gguf file, the folder of a model, or the folder of a run.',
      cause,
    });
  });
  const described = facts.isDirectory()
    ? await describeFolder(absolute, answers)
    : await describeGguf(absolute, answers);
  const measured = measuredModel(described, answers.measured);
  return {
    ...described,
    source: answers.source ?? described.source ?? measured?.source ?? null,
    derivedBy: described.derivedBy ?? measured?.derivedBy ?? null,
    command: answers.command,
  };
}

async function describeGguf(path: string, { licence, ui, signal }: ModelAnswers): Promise<PublishedModel> {
  const summary = await summarizeGguf(path);
  refuseTwin(summary.twinOf);
  const judged = decideLicence(summary.license, 'as the file says', licence);
  ui.status(`Hashing ${basename(path)} and its weights`);
  const { sha256, fingerprint } = await proveGguf(path, cacheFolder(), signal);
  const cached = IN_HUB_CACHE.exec(path);
  const name = basename(path);
  return {
    name: parsePartName(name)?.stem ?? name.replace(/\.gguf$/i, ''),
    format: 'gguf',
    files: [...(await weightFiles(path, sha256, signal)), ...(await licenceFiles(dirname(path)))],
    source:
      cached === null
        ? null
        : `hf:${cached[1]?.replaceAll('--', '/')}@${cached[2]}:${cached[3]?.replaceAll('\\', '/')}`,
    command: null,
    derivedBy: cached === null ? null : 'none: the file as its source has it',
    architecture: summary.architecture,
    quantisation: summary.quantisation,
    parameterCount: summary.parameterCount,
    bitsPerWeight: summary.bitsPerWeight,
    fingerprint,
    licence: judged,
  };
}

function refuseTwin(twinOf: string | null): void {
  if (twinOf === null) return;
  throw new AppError('publish-refused', `it is a twin of ${twinOf}: its weights are random`, {
    hint: 'Nothing was sent. Whoever wants the file makes the same: runoff models twin.',
  });
}

/** @param sha256 of all files, one after the other */
async function weightFiles(path: string, sha256: string, signal: AbortSignal): Promise<PublishedFile[]> {
  const parts = filesOfModel(path);
  const files: PublishedFile[] = [];
  for (const file of parts) {
    const own = parts.length === 1 ? sha256 : await sha256Of(file, { signal });
    files.push({ path: basename(file), file, sizeBytes: (await stat(file)).size, sha256: own });
  }
  return files;
}

async function describeFolder(folder: string, { licence, ui, signal }: ModelAnswers): Promise<PublishedModel> {
  const names = (await readdir(folder)).filter((name) => FOLDER_FILES.test(name));
  if (!names.includes('config.json') || !names.some((name) => name.endsWith('.safetensors'))) {
    throw new AppError('model-unsupported', `${folder} is neither a model nor a run.`, {
      hint: 'Give a .gguf file, a folder with config.json and model.safetensors, or a folder that runoff run wrote.',
    });
  }
  const { modelType, quantization, twinOf } = await readConfig(join(folder, 'config.json'));
  refuseTwin(twinOf);
  // Nothing in the folder names it: its maker must.
  const judged = decideLicence(null, '', licence);
  const files: PublishedFile[] = [];
  for (const name of names) {
    signal.throwIfAborted();
    ui.status(`Hashing ${name}`);
    const file = join(folder, name);
    files.push({
      path: name,
      file,
      sizeBytes: (await stat(file)).size,
      sha256: name.endsWith('.safetensors') ? await sha256Of(file) : null,
    });
  }
  ui.status(`Hashing the weights of ${basename(folder)}`);
  const { fingerprint, parameterCount } = await weightsOf(folder, signal);
  const weightBytes = files.reduce((sum, { sha256, sizeBytes }) => (sha256 === null ? sum : sum + sizeBytes), 0);
  const receipt = await readReceipt(folder);
  return {
    name: basename(folder),
    format: quantization !== null || receipt !== null ? 'mlx' : 'safetensors',
    files: [...files, ...(await licenceFiles(folder))],
    source: receipt === null ? null : sourceText(receipt.source),
    command: null,
    derivedBy: receipt === null ? null : `lossless repack by runoff, ${receipt.scales} scales`,
    architecture: modelType,
    quantisation: quantization === null ? 'none' : `${quantization.bits} bits, groups of ${quantization.group_size}`,
    parameterCount,
    bitsPerWeight: parameterCount === null ? null : (weightBytes * 8) / parameterCount,
    fingerprint,
    licence: judged,
  };
}

/** A name and a hash: the folder that it lay in is nobody's business. */
function sourceText({ fileName, sha256 }: { fileName: string; sha256: string | null }): string {
  return `${basename(fileName)}${sha256 === null ? '' : `, sha256 ${sha256}`}`;
}

/** Nulls for architectures whose values runoff cannot read. */
async function weightsOf(
  folder: string,
  signal: AbortSignal,
): Promise<{ fingerprint: string | null; parameterCount: number | null }> {
  try {
    const { fingerprint, tensors } = await fingerprintModel(folder, { signal });
    const parameterCount = tensors.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
    return { fingerprint, parameterCount };
  } catch (error) {
    if (error instanceof AppError && error.code === 'model-unsupported')
      return { fingerprint: null, parameterCount: null };
    throw error;
  }
}

/** Some kilobytes; those with an entry for every layer reach some hundred. */
const CONFIG_BYTES_MAX = 16 << 20;
const configSchema = z.object({
  model_type: z.string().max(100).catch('unknown'),
  quantization: z.object({ bits: z.int(), group_size: z.int() }).nullable().catch(null),
});

interface ReadConfig {
  readonly modelType: string;
  readonly quantization: { readonly bits: number; readonly group_size: number } | null;
  readonly twinOf: string | null;
}

async function readConfig(path: string): Promise<ReadConfig> {
  try {
    if ((await stat(path)).size > CONFIG_BYTES_MAX) throw new AppError('model-invalid', `${path} is too large`);
    const config: unknown = JSON.parse(await readFile(path, 'utf8'));
    const { model_type: modelType, quantization } = configSchema.parse(config);
    return { modelType, quantization, twinOf: twinOfConfig(config) };
  } catch (cause) {
    throw new AppError('model-invalid', `${path} is not a model's configuration`, {
      hint: 'Convert or download the model again.',
      cause,
    });
  }
}

async function licenceFiles(folder: string): Promise<PublishedFile[]> {
  const names = (await readdir(folder)).filter((name) => LICENCE_FILE.test(name));
  return Promise.all(
    names.map(async (name) => ({
      path: name,
      file: join(folder, name),
      sizeBytes: (await stat(join(folder, name))).size,
      sha256: null,
    })),
  );
}

/**
 * The licence of the source goes with the model; it is not chosen here. What the file says can be made more exact by
 * `--licence`, not changed. @throws AppError `publish-refused`
 */
export function decideLicence(inFile: string | null, said: string, given: string | null): PublishedLicence {
  const own = judgeLicence(inFile);
  const asked = judgeLicence(given);
  for (const verdict of [own, asked]) {
    if (verdict.state !== 'refused') continue;
    throw new AppError('publish-refused', `its licence is ${verdict.id}: ${verdict.reason}`, {
      hint: 'Nothing was sent. Ask the author of the model.',
    });
  }
  if (own.state === 'allowed') {
    if (given !== null && asked.id !== own.id) {
      throw new AppError(
        'publish-refused',
        `the file says that its licence is ${own.id}, and --licence says ${given}`,
        {
          hint: 'A licence is carried over, not chosen: leave --licence out.',
        },
      );
    }
    return { id: own.id, isHubName: true, said, conditions: own.conditions };
  }
  if (asked.state === 'allowed')
    return { id: asked.id, isHubName: true, said: 'as whoever published it says', conditions: asked.conditions };
  if (asked.id !== null)
    return { id: asked.id, isHubName: false, said: 'as whoever published it says', conditions: [] };
  const found =
    own.id === null ? 'the model does not say its licence' : `the licence "${own.id}" is not one that runoff knows`;
  throw new AppError('publish-refused', found, {
    hint: 'Read it, make sure that it allows to pass the model on, and name it by --licence, e.g. --licence apache-2.0.',
  });
}

/** Null without a run. @throws AppError `publish-refused` when the run measured something else */
function measuredModel(model: PublishedModel, measured: readonly ModelFacts[] | null): ModelFacts | null {
  if (measured === null) return null;
  const hashes = model.files.map(({ sha256 }) => sha256);
  const same = measured.find(
    ({ sha256, fingerprint }) =>
      (sha256 !== null && hashes.includes(sha256)) || (fingerprint !== null && fingerprint === model.fingerprint),
  );
  if (same !== undefined) return same;
  throw new AppError(
    'publish-refused',
    `the run measured ${measured[0]?.name ?? 'another model'}, which is not ${model.name}: neither sha256 nor fingerprint agree`,
    {
      hint: 'Name a run of this model, or leave --run out.',
    },
  );
}
