/** A twin as mlx_lm.convert makes a model: config.json, safetensors in its affine layout, tokenizer files. */
import { existsSync } from 'node:fs';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../../core/assert.ts';
import { AppError } from '../../core/errors.ts';
import { writeFully, writeThenRename } from '../file-io.ts';
import { textOf } from '../gguf/metadata.ts';
import { decodeMetadata } from '../gguf/read-header.ts';
import { tensorTypeNamed } from '../gguf/tensor-types.ts';
import { TWIN_CONFIG_KEY } from '../gguf/twin-of-key.ts';
import { readVocabulary } from '../gguf/vocabulary.ts';
import { generationConfig } from '../mlx/config.ts';
import { assignShards, shardName } from '../mlx/shards.ts';
import { layoutSafetensors, planBytes, type TensorPlan } from '../safetensors/format.ts';
import { rebuildTokenizer, tokenizerConfig } from '../tokenizer/tokenizer-json.ts';
import { affineScales, floatPool, floatType } from './blocks.ts';
import { requireRoom } from './make-twin.ts';
import { GROUP_SIZE, mlxConfig, type MlxFormat } from './mlx-config.ts';
import { mlxName } from './mlx-names.ts';
import { OverlappedWriter } from './overlapped-writer.ts';
import type { TwinPlan } from './plan-twin.ts';
import { chunkKey, fillFloats, fillRandom, randomPool } from './random-words.ts';
import { parameterCountOf, tensorsOf, type ShapeTensor } from './tensors.ts';
import { vectorValues, type WriteOptions } from './write-twin.ts';

/** Stays in the second-level cache between making and writing; system calls do not count at this size. */
const CHUNK_BYTES = 1 << 20;

type Filling = 'codes' | 'scales' | 'biases' | 'floats' | 'vector';

interface Output extends TensorPlan {
  readonly filling: Filling;
  readonly source: ShapeTensor;
  /** MLX adds 1 to the weights of Gemma's norms; a GGUF holds the sums. */
  readonly isLessOne: boolean;
}

export interface MadeMlxTwin {
  readonly path: string;
  readonly fileBytes: number;
}

/** Rejects with `conversion-failed` (the folder exists, no room). Nothing but a complete folder gets the final name. */
export async function makeMlxTwin(
  plan: TwinPlan,
  { folder, format }: { readonly folder: string; readonly format: MlxFormat },
  options: WriteOptions,
): Promise<MadeMlxTwin> {
  if (existsSync(folder)) {
    throw new AppError('conversion-failed', `${folder} exists already`, {
      hint: 'Remove it, or choose another name with --out.',
    });
  }
  const groups = tensorsOf(plan.source.shape)
    .filter(({ kind }) => kind !== 'fixed')
    .map((tensor) => outputsOf(tensor, plan, format));
  const totalBytes = groups.flat().reduce((sum, output) => sum + planBytes(output), 0);
  await requireRoom(folder, totalBytes);
  await writeThenRename(folder, async (temporary) => {
    await mkdir(temporary, { recursive: true });
    const shards = await writeShards(temporary, groups, { seed: plan.file.seed, format, totalBytes, options });
    for (const [name, content] of Object.entries(textFiles(plan, format, shards)))
      await writeFile(join(temporary, name), content);
  });
  return { path: folder, fileBytes: totalBytes };
}

/** One tensor, or codes, scales and biases. As mlx_lm, a row that the group does not divide stays dense. */
function outputsOf(source: ShapeTensor, { source: { shape } }: TwinPlan, { bits, dtype }: MlxFormat): Output[] {
  const name = mlxName(shape.architecture, source.name);
  const dimensions = source.dimensions.toReversed();
  const isLessOne = source.kind === 'norm' && shape.architecture.startsWith('gemma');
  const of = { source, isLessOne };
  if (source.kind !== 'matrix') return [{ name, dtype, shape: dimensions, filling: 'vector', ...of }];
  const columns = source.dimensions[0] as number;
  if (bits === null || columns % GROUP_SIZE !== 0)
    return [{ name, dtype, shape: dimensions, filling: 'floats', ...of }];
  const rows = dimensions[0] as number;
  const module = name.replace(/\.weight$/, '');
  const scales = [rows, columns / GROUP_SIZE];
  return [
    { name, dtype: 'U32', shape: [rows, (columns * bits) / 32], filling: 'codes', ...of },
    { name: `${module}.scales`, dtype, shape: scales, filling: 'scales', ...of },
    { name: `${module}.biases`, dtype, shape: scales, filling: 'biases', ...of },
  ];
}

interface ShardRequest {
  readonly seed: number;
  readonly format: MlxFormat;
  readonly totalBytes: number;
  readonly options: WriteOptions;
}

/** @returns the file of every tensor */
async function writeShards(
  folder: string,
  groups: readonly (readonly Output[])[],
  { seed, format, totalBytes, options }: ShardRequest,
): Promise<ReadonlyMap<string, string>> {
  const shardOf = assignShards(groups);
  const count = (shardOf.at(-1) ?? 0) + 1;
  const files = new Map<string, string>();
  const filler = new Filler(seed, format);
  let doneBytes = 0;
  for (let shard = 0; shard < count; shard++) {
    const outputs = groups.filter((_, i) => shardOf[i] === shard).flat();
    const layout = layoutSafetensors(outputs, { format: 'mlx' });
    const fileName = shardName(shard, count);
    const handle = await open(join(folder, fileName), 'wx');
    try {
      writeFully(handle, layout.header, 0);
      const writer = new OverlappedWriter(handle, CHUNK_BYTES);
      for (const [i, output] of outputs.entries()) {
        files.set(output.name, fileName);
        await writeOutput(writer, output, {
          offset: layout.offsets[i] as number,
          filler,
          signal: options.signal,
          onChunk: (bytes) => options.onProgress?.({ doneBytes: (doneBytes += bytes), totalBytes }),
        });
      }
      await writer.flush();
    } finally {
      await handle.close();
    }
  }
  return files;
}

interface OutputRequest {
  readonly offset: number;
  readonly filler: Filler;
  readonly signal: AbortSignal | undefined;
  readonly onChunk: (bytes: number) => void;
}

async function writeOutput(
  writer: OverlappedWriter,
  output: Output,
  { offset, filler, signal, onChunk }: OutputRequest,
): Promise<void> {
  const total = planBytes(output);
  for (let done = 0; done < total; done += CHUNK_BYTES) {
    signal?.throwIfAborted();
    const bytes = Math.min(CHUNK_BYTES, total - done);
    filler.fill(writer.buffer, output, { bytes, chunk: done / CHUNK_BYTES });
    await writer.write(bytes, offset + done);
    onChunk(bytes);
  }
}

/** Makes chunks. */
class Filler {
  readonly #seed: number;
  readonly #pool: Uint32Array;
  readonly #float: NonNullable<ReturnType<typeof floatType>>;
  readonly #floats: Uint32Array;
  readonly #tables: { readonly scales: Uint16Array; readonly biases: Uint16Array };

  constructor(seed: number, { bits, dtype }: MlxFormat) {
    this.#seed = seed;
    this.#pool = randomPool(CHUNK_BYTES / 4, seed);
    const float = floatType(tensorTypeNamed(dtype));
    assert(float !== null, `${dtype} is a type of floats`);
    this.#float = float;
    this.#floats = floatPool(this.#pool, float);
    this.#tables = affineScales(2 ** (bits ?? 4), float);
  }

  fill(
    { buffer }: Uint8Array<ArrayBuffer>,
    { filling, source, isLessOne }: Output,
    { bytes, chunk }: { bytes: number; chunk: number },
  ): void {
    const words = new Uint32Array(buffer, 0, Math.ceil(bytes / 4));
    const halves = new Uint16Array(buffer, 0, Math.ceil(bytes / 2));
    switch (filling) {
      case 'codes':
        fillRandom(words, this.#pool, chunkKey(this.#seed, `${source.name} codes`, chunk));
        break;
      case 'floats': {
        const parts = { floats: this.#floats, pool: this.#pool, fresh: this.#float.fresh };
        fillFloats(words, parts, chunkKey(this.#seed, source.name, chunk));
        break;
      }
      case 'vector': {
        const values = vectorValues(source, this.#seed) ?? new Float32Array(0);
        const first = (chunk * CHUNK_BYTES) / 2;
        const added = isLessOne ? 1 : 0;
        for (let i = 0; i < halves.length; i++) halves[i] = this.#float.encode((values[first + i] as number) - added);
        break;
      }
      default: {
        // Scales and biases of a group by the same byte.
        fillRandom(words, this.#pool, chunkKey(this.#seed, source.name, chunk));
        const table = this.#tables[filling];
        for (let i = 0; i < halves.length; i++) halves[i] = table[halves[i]! & 255]!;
      }
    }
  }
}

/** Everything but the weights. */
function textFiles(plan: TwinPlan, format: MlxFormat, files: ReadonlyMap<string, string>): Record<string, string> {
  const { source, file, tokenizer } = plan;
  const metadata = decodeMetadata(file.metadata);
  const vocabulary = readVocabulary(metadata);
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  const label = { of: source.of, seed: file.seed, tokenizer };
  const tensors = tensorsOf(source.shape);
  const texts: Record<string, string> = {
    'config.json': json({ ...mlxConfig(source.shape, format, vocabulary), [TWIN_CONFIG_KEY]: label }),
    'model.safetensors.index.json': json({
      metadata: { total_parameters: parameterCountOf(tensors) },
      weight_map: Object.fromEntries([...files].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    }),
  };
  if (vocabulary === null) return texts;
  const chatTemplate = textOf(metadata, 'tokenizer.chat_template');
  texts['generation_config.json'] = json(generationConfig(vocabulary));
  texts['tokenizer.json'] = JSON.stringify(rebuildTokenizer(vocabulary).tokenizerJson);
  texts['tokenizer_config.json'] = json(tokenizerConfig(vocabulary, chatTemplate));
  return texts;
}
