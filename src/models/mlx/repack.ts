/**
 * Lossless repack of a GGUF into an MLX folder: the same integers and scales in MLX's layout, so that both engines compute
 * with the same weights. Proven by comparing fingerprints (src/models/fingerprint).
 */
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { AppError, messageOf } from '../../core/errors.ts';
import { readGgufModel, TensorFiles } from '../gguf/parts.ts';
import type { GgufHeader } from '../gguf/read-header.ts';
import { readVocabulary } from '../gguf/vocabulary.ts';
import { mapTensors, type MappedModel } from '../hugging-face/tensor-map.ts';
import { identifySources, planDigest } from '../resume/identity.ts';
import type { ConversionIdentity } from '../resume/journal.ts';
import { writeResumably, type Continuation, type PartialOutput } from '../resume/resumable-output.ts';
import { modelConfig, quantizationConfig } from './config.ts';
import { folderTexts, type FolderTexts } from './folder-texts.ts';
import { planRepack, type RepackPlan } from './plan.ts';
import { CONVERTER_VERSION, isReusable, readReceipt, RECEIPT_FILE, type Receipt } from './receipt.ts';
import { readRopeScaling } from './rope-scaling.ts';
import { placesIn, shardIndex } from './shards.ts';
import { writeWeights } from './write-weights.ts';

export interface RepackProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface RepackOptions {
  /** f32 for MLX on a CPU, f16 for Metal: both are exact. */
  readonly scales: 'f32' | 'f16';
  /** Fingerprint of the source, when the caller knows it: stored in runoff.json. */
  readonly fingerprint?: string;
  /** sha256 of the source file, when the caller knows it; else size and modification time identify it. */
  readonly sourceSha256?: string;
  /** Called when everything is written, before the folder gets its name; a rejection takes it back. */
  readonly check?: (temporaryFolder: string) => Promise<void>;
  /** Left out: nothing is kept of a conversion that is interrupted. */
  readonly continuation?: Continuation;
  readonly onProgress?: (progress: RepackProgress) => void;
  readonly signal?: AbortSignal;
}

export interface RepackResult {
  readonly folder: string;
  /** True when a complete earlier conversion of the same source was found and nothing was written. */
  readonly reused: boolean;
  /** Tensors of the model; MLX keeps three for each quantised one. */
  readonly tensorCount: number;
  /** All files together. */
  readonly outputBytes: number;
  readonly warnings: readonly string[];
}

/**
 * Rejects with `model-not-found`, `model-invalid`, `model-unsupported` or `conversion-failed`; nothing is left behind.
 * `outFolder` must not exist, or be an earlier conversion: that one is reused when it is current, else replaced.
 */
export async function repackToMlx(ggufPath: string, outFolder: string, options: RepackOptions): Promise<RepackResult> {
  const folder = resolve(outFolder);
  const header = await readGgufModel(ggufPath);
  const source = await describeSource(header, options.sourceSha256 ?? null);
  const earlier = await readReceipt(folder);
  if (earlier !== null && (await isReusable(folder, earlier, { scales: options.scales, source })))
    return resultOf(folder, earlier, true);
  if (earlier === null) await refuseForeignFolder(folder);
  const receipt = await convert(header, folder, { options, source });
  return resultOf(folder, receipt, false);
}

function resultOf(folder: string, receipt: Receipt, reused: boolean): RepackResult {
  const outputBytes = receipt.files.reduce((sum, { bytes }) => sum + bytes, 0);
  return { folder, reused, tensorCount: receipt.tensorCount, outputBytes, warnings: receipt.warnings };
}

async function describeSource(header: GgufHeader, sha256: string | null): Promise<Receipt['source']> {
  const files = new Set([header.path, ...header.tensors.map(({ path }) => path)]);
  let modifiedMs = 0;
  for (const file of files) modifiedMs = Math.max(modifiedMs, (await stat(file)).mtimeMs);
  return { fileName: basename(header.path), bytes: header.fileBytes, modifiedMs, sha256 };
}

/** Never delete what this program did not write. */
async function refuseForeignFolder(folder: string): Promise<void> {
  const entries = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new AppError('conversion-failed', `The output folder ${folder} cannot be used: ${error.message}.`, {
      hint: 'Choose another folder.',
      cause: error,
    });
  });
  if (entries.length === 0) return;
  throw new AppError(
    'conversion-failed',
    `The output folder ${folder} exists and is not a conversion of this program: ${entries.length} entries, no ${RECEIPT_FILE}.`,
    {
      hint: 'Choose another folder, or remove this one.',
    },
  );
}

interface Repack {
  readonly model: MappedModel;
  readonly plan: RepackPlan;
  readonly texts: FolderTexts;
}

async function convert(
  header: GgufHeader,
  folder: string,
  { options, source }: { options: RepackOptions; source: Receipt['source'] },
): Promise<Receipt> {
  const files = await TensorFiles.open(header.tensors);
  try {
    const repack = await prepare(header, files, options);
    const { plan } = repack;
    const placement = { outputs: plan.tensors.map(({ outputs }) => outputs), shards: plan.shards };
    const { continuation = null, signal } = options;
    const request = {
      finalPath: folder,
      continuation,
      identity: (chosen: Continuation['options']) => identityOf(header, repack, chosen),
      places: placesIn(
        placement,
        plan.tensors.map(({ tensor }) => tensor.name),
      ),
      signal,
      explain: (error: unknown) => asConversionError(error, header.path, signal),
    };
    return await writeResumably(request, {
      write: (output) => writePlannedWeights(files, { repack, output, options }),
      async finish(temporary) {
        const receipt = await writeTexts(repack, temporary, { options, source });
        await options.check?.(temporary);
        await rm(folder, { recursive: true, force: true });
        return receipt;
      },
    });
  } catch (error) {
    throw asConversionError(error, header.path, options.signal);
  } finally {
    await files.close();
  }
}

async function prepare(header: GgufHeader, files: TensorFiles, { scales }: RepackOptions): Promise<Repack> {
  const model = mapTensors(header);
  const plan = planRepack(header, model, { scales, files });
  const vocabulary = readVocabulary(header.metadata);
  const ropeScaling = await readRopeScaling(header, model.architecture);
  const { modelDtype } = plan;
  const quantization = quantizationConfig(plan.tensors);
  const config = modelConfig({ header, model, modelDtype, quantization, vocabulary, ropeScaling });
  const outputs = plan.tensors.map((planned) => planned.outputs);
  const parameterCount = model.tensors.reduce((sum, { source: { rows, columns } }) => sum + rows * columns, 0);
  const index = shardIndex({ outputs, shards: plan.shards }, parameterCount);
  return { model, plan, texts: folderTexts(header, { config, index, vocabulary }) };
}

async function identityOf(
  { tensors }: GgufHeader,
  { plan }: Repack,
  options: Continuation['options'],
): Promise<ConversionIdentity> {
  return {
    converter: `to MLX without a loss, ${CONVERTER_VERSION}`,
    options,
    sources: await identifySources(tensors.map(({ path }) => path)),
    plan: planDigest([
      ...plan.shards.map(({ header }) => header),
      ...plan.tensors.map(({ tensor, conversion, outputs }) =>
        JSON.stringify({ name: tensor.name, kind: conversion.kind, from: tensor.source.offset, outputs }),
      ),
    ]),
  };
}

async function writeTexts(
  { model, plan, texts }: Repack,
  folder: string,
  { options, source }: { options: RepackOptions; source: Receipt['source'] },
): Promise<Receipt> {
  for (const [name, text] of Object.entries(texts.files)) await writeFile(join(folder, name), text);
  const receipt: Receipt = {
    tool: 'runoff',
    converterVersion: CONVERTER_VERSION,
    scales: options.scales,
    source,
    fingerprint: options.fingerprint ?? null,
    tensorCount: model.tensors.length,
    warnings: [...plan.warnings, ...texts.warnings],
    files: [
      ...plan.shards.map(({ fileName, totalBytes }) => ({ name: fileName, bytes: totalBytes })),
      ...Object.entries(texts.files).map(([name, text]) => ({ name, bytes: Buffer.byteLength(text) })),
    ],
  };
  await writeFile(join(folder, RECEIPT_FILE), `${JSON.stringify(receipt, null, 2)}\n`);
  return receipt;
}

async function writePlannedWeights(
  files: TensorFiles,
  { repack: { model, plan }, output, options }: { repack: Repack; output: PartialOutput; options: RepackOptions },
): Promise<void> {
  await mkdir(output.path, { recursive: true });
  const left = model.tensors.filter(({ name }) => !output.isDone(name));
  const totalBytes = left.reduce((sum, { source }) => sum + source.byteLength, 0);
  let doneBytes = 0;
  const onChunk = (bytes: number): void => {
    doneBytes += bytes;
    options.onProgress?.({ doneBytes, totalBytes });
  };
  await writeWeights({ source: files, plan, output, onChunk, signal: options.signal });
}

/** A full disk or a lost file is an operating error; an abort stays an abort. */
function asConversionError(error: unknown, path: string, signal: AbortSignal | undefined): unknown {
  if (error instanceof AppError || signal?.aborted === true) return error;
  return new AppError('conversion-failed', `Converting ${path} to MLX failed: ${messageOf(error)}.`, {
    hint: 'Check the free space and the permissions of the output folder.',
    cause: error,
  });
}
