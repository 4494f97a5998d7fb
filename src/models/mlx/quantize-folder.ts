/**
 * Quantises a Hugging Face folder or a GGUF into an MLX folder, bit-exact with mx.quantize on the CPU: slab by slab on
 * several threads, each of which reads, converts and writes; nothing of the model is held in memory.
 */
import { constants } from 'node:fs';
import { copyFile, mkdir, open, readdir, readFile, rm, stat, writeFile, type FileHandle } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { AppError, messageOf } from '../../core/errors.ts';
import { writeHeaderRest, writeHeaderStart } from '../file-io.ts';
import { readVocabulary } from '../gguf/vocabulary.ts';
import { identifySources, planDigest } from '../resume/identity.ts';
import type { ConversionIdentity } from '../resume/journal.ts';
import { writeResumably, type Continuation, type PartialOutput } from '../resume/resumable-output.ts';
import { TensorsInWork } from '../resume/tensors-in-work.ts';
import { modelConfig } from './config.ts';
import { folderTexts, json } from './folder-texts.ts';
import type { SlabJob } from './quantize-job.ts';
import { SLAB_VALUES } from './quantize-kernel.ts';
import type { PlannedConversion, QuantizePlan } from './quantize-plan.ts';
import { runSlabs } from './quantize-pool.ts';
import { readMlxModel, type ModelConfig } from './read-model.ts';
import { readRopeScaling } from './rope-scaling.ts';
import { placesIn, shardIndex } from './shards.ts';
import type { ConversionSource } from './source.ts';

export interface WriteOptions {
  readonly threads: number | null;
  /** Left out: nothing is kept of a conversion that is interrupted. */
  readonly continuation?: Continuation;
  readonly onProgress?: (progress: { readonly doneBytes: number; readonly totalBytes: number }) => void;
  readonly signal?: AbortSignal;
}

export interface WrittenFolder {
  readonly outputBytes: number;
  readonly warnings: readonly string[];
}

/** Replaces `folder` only when everything is written and can be read. Rejects with `model-*` or `conversion-failed`. */
export async function writeMlxFolder(
  source: ConversionSource,
  { plan, folder, options }: { plan: QuantizePlan; folder: string; options: WriteOptions },
): Promise<WrittenFolder> {
  const { continuation = null, signal } = options;
  return writeResumably(
    {
      finalPath: folder,
      continuation,
      identity: (chosen) => identityOf(plan, chosen),
      places: placesIn(plan.placement, tensorNames(plan)),
      signal,
      explain(error) {
        if (error instanceof AppError || signal?.aborted === true) return error;
        return new AppError('conversion-failed', `Converting ${source.path} to MLX failed: ${messageOf(error)}.`, {
          hint: 'Check the free space and the permissions of the output folder.',
          cause: error,
        });
      },
    },
    {
      write: (output) => writeShards(plan, output, options),
      async finish(temporary) {
        const warnings = await writeTexts(source, plan, temporary);
        await checkWritten(plan, temporary);
        const outputBytes = await sizeOf(temporary);
        await rm(folder, { recursive: true, force: true });
        return { outputBytes, warnings };
      },
    },
  );
}

/** Raise when the bytes that a conversion writes change: one that was begun before is then not resumed. */
const CONVERTER_VERSION = 1;

async function identityOf(
  { tensors, placement }: QuantizePlan,
  options: Readonly<Record<string, string | null>>,
): Promise<ConversionIdentity> {
  return {
    converter: `to MLX, ${CONVERTER_VERSION}`,
    options,
    sources: await identifySources(tensors.map(({ tensor }) => tensor.file)),
    plan: planDigest([
      ...placement.shards.map(({ header }) => header),
      ...tensors.map((planned) =>
        JSON.stringify({ ...planned, tensor: { ...planned.tensor, file: basename(planned.tensor.file) } }),
      ),
    ]),
  };
}

function tensorNames({ tensors }: QuantizePlan): string[] {
  return tensors.map(({ tensor }) => tensor.name);
}

async function writeShards(plan: QuantizePlan, output: PartialOutput, options: WriteOptions): Promise<void> {
  await mkdir(output.path, { recursive: true });
  const tensors = plan.tensors.filter(({ tensor }) => !output.isDone(tensor.name));
  const totalBytes = tensors.reduce((sum, { tensor }) => sum + tensor.rows * tensor.rowBytes, 0);
  const files = new OpenFiles();
  try {
    for (const { fileName, header, totalBytes: bytes } of plan.placement.shards) {
      const file = await files.open(join(output.path, fileName), constants.O_RDWR | constants.O_CREAT);
      await file.truncate(bytes);
      writeHeaderRest(file, header);
    }
    for (const { tensor } of tensors) await files.open(tensor.file, constants.O_RDONLY);
    const shards = plan.placement.shards.map(({ fileName }) => files.descriptor(join(output.path, fileName)));
    const inWork = new TensorsInWork(output.tensorDone);
    let doneBytes = 0;
    await runSlabs({
      jobs: slabs(tensors, shards, (file) => files.descriptor(file)),
      totalBytes,
      threads: options.threads,
      signal: options.signal,
      onDone({ piece, sourceBytes, written }) {
        doneBytes += sourceBytes;
        inWork.pieceDone(piece, written);
        options.onProgress?.({ doneBytes, totalBytes });
      },
    });
    for (const { fileName, header } of plan.placement.shards)
      writeHeaderStart({ fd: files.descriptor(join(output.path, fileName)) }, header);
  } finally {
    await files.close();
  }
}

function* slabs(
  tensors: readonly PlannedConversion[],
  shards: readonly number[],
  descriptorOf: (file: string) => number,
): Generator<SlabJob, void, void> {
  for (const planned of tensors) {
    const { tensor, affine, outputs, dtype } = planned;
    const step = slabRows(planned);
    const outRows = outputs.map(({ dtype: stored, shape }) => rowBytesOf(stored, shape, tensor.rows));
    const count = Math.ceil(tensor.rows / step);
    for (let index = 0; index < count; index++) {
      const row = index * step;
      const rows = Math.min(step, tensor.rows - row);
      yield {
        piece: { name: tensor.name, count },
        source: {
          descriptor: descriptorOf(tensor.file),
          position: tensor.offset + row * tensor.rowBytes,
          byteLength: rows * tensor.rowBytes,
        },
        type: tensor.type,
        rows,
        values: rows * tensor.columns,
        headRows: tensor.headRows,
        addend: tensor.addend,
        dtype,
        affine,
        targets: outputs.map(({ shard, offset: start }, i) => {
          const offset = row * (outRows[i] as number);
          return { descriptor: shards[shard] as number, position: start + offset, offset };
        }),
      };
    }
  }
}

function slabRows({ tensor }: PlannedConversion): number {
  const unit = tensor.headRows ?? 1;
  const unitValues = unit * tensor.columns;
  if (unitValues > SLAB_VALUES) {
    throw new AppError(
      'model-unsupported',
      `Tensor ${tensor.name} has rows (or heads) of ${unitValues} values; up to ${SLAB_VALUES} are handled.`,
    );
  }
  return unit * Math.max(1, Math.floor(SLAB_VALUES / Math.max(1, unitValues)));
}

const BYTES = { F32: 4, U32: 4, F16: 2, BF16: 2 } as const;

/** A vector's rows may be its elements, so the bytes of a row come from the whole. */
function rowBytesOf(dtype: string, shape: readonly number[], rows: number): number {
  const values = shape.reduce((product, size) => product * size, 1);
  return rows === 0 ? 0 : (values * BYTES[dtype as keyof typeof BYTES]) / rows;
}

/** Files by path; threads use their descriptors. */
class OpenFiles {
  readonly #files = new Map<string, FileHandle>();

  async open(path: string, flags: number): Promise<FileHandle> {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    const file = await open(path, flags);
    this.#files.set(path, file);
    return file;
  }

  descriptor(path: string): number {
    return (this.#files.get(path) as FileHandle).fd;
  }

  async close(): Promise<void> {
    for (const file of this.#files.values()) await file.close();
  }
}

/** What transformers writes beside a model's weights and mlx-lm reads; code is not copied. */
const COPIED_FILES = [
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'tokenizer.model',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
  'chat_template.json',
  'LICENSE',
  'LICENSE.txt',
  'LICENSE.md',
  'NOTICE',
] as const;

async function writeTexts(source: ConversionSource, plan: QuantizePlan, folder: string): Promise<readonly string[]> {
  const index = shardIndex(plan.placement, plan.parameterCount);
  if (source.format === 'safetensors') {
    const config = await folderConfig(source.path, source.config, plan);
    await writeFile(join(folder, 'config.json'), json(config));
    await writeFile(join(folder, 'model.safetensors.index.json'), json(index));
    for (const name of COPIED_FILES) {
      const from = join(source.path, name);
      const isThere = await stat(from).then(
        (info) => info.isFile(),
        () => false,
      );
      if (isThere) await copyFile(from, join(folder, name));
    }
    const hasTokenizer = (await readdir(folder)).some((name) => name.startsWith('tokenizer.'));
    return hasTokenizer ? [] : ['The folder has no tokenizer: prompts must be token ids.'];
  }
  const { header, model } = source;
  const vocabulary = readVocabulary(header.metadata);
  const ropeScaling = await readRopeScaling(header, model.architecture);
  const { modelDtype, quantization } = plan;
  const config = modelConfig({ header, model, modelDtype, quantization, vocabulary, ropeScaling });
  const { files, warnings } = folderTexts(header, { config, index, vocabulary });
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return warnings;
}

/** As mlx_lm saves it: the source's entries, sorted, with the packing; the end tokens of generation_config.json win. */
async function folderConfig(
  path: string,
  config: ModelConfig,
  { quantization }: QuantizePlan,
): Promise<Record<string, unknown>> {
  const endTokens = await generationEndTokens(path);
  const merged: Record<string, unknown> = {
    ...config,
    ...(endTokens === null ? {} : { eos_token_id: endTokens }),
    ...(quantization === null ? {} : { quantization, quantization_config: quantization }),
  };
  const kept = Object.entries(merged).filter(([key]) => key !== '_name_or_path' && key !== 'vision_config');
  return Object.fromEntries(kept.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

const GENERATION_CONFIG_BYTES_MAX = 1 << 20;

async function generationEndTokens(path: string): Promise<unknown> {
  const file = join(path, 'generation_config.json');
  const info = await stat(file).catch(() => null);
  if (info === null || info.size > GENERATION_CONFIG_BYTES_MAX) return null;
  try {
    const parsed: unknown = JSON.parse(await readFile(file, 'utf8'));
    const value =
      typeof parsed === 'object' && parsed !== null && 'eos_token_id' in parsed ? parsed.eos_token_id : null;
    // As Python's `if`: 0 and an empty list do not count.
    return value === 0 || (Array.isArray(value) && value.length === 0) ? null : value;
  } catch {
    return null;
  }
}

/** Reads the headers back: every tensor in its place, every file in its full length. */
async function checkWritten(plan: QuantizePlan, folder: string): Promise<void> {
  const { tensors } = await readMlxModel(folder);
  for (const output of plan.tensors.flatMap(({ outputs }) => outputs)) {
    const found = tensors.get(output.name);
    if (found?.dtype === output.dtype && found.shape.join() === output.shape.join() && found.offset === output.offset)
      continue;
    throw new AppError('conversion-failed', `The written folder lacks ${output.name} as it was planned.`, {
      hint: 'This is a bug in runoff; please report it.',
    });
  }
}

async function sizeOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder)) bytes += (await stat(join(folder, name))).size;
  return bytes;
}
