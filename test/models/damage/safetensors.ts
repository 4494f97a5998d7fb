/** Damaged safetensors: Hugging Face folders of one file and of shards with an index, their config.json, and MLX folders. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { join } from 'node:path';
import { createRandom, type Random } from '../../../src/core/random.ts';
import { planFromFolder } from '../../../src/models/convert/plan.ts';
import { readModelConfig } from '../../../src/models/convert/model-config.ts';
import { fingerprintModel } from '../../../src/models/fingerprint/fingerprint.ts';
import { planQuantize } from '../../../src/models/mlx/quantize-plan.ts';
import { openConversionSource } from '../../../src/models/mlx/source.ts';
import { summarizeFolder } from '../../../src/models/mlx/summary.ts';
import { readSafetensorsFolder } from '../../../src/models/safetensors/open-folder.ts';
import { compareWeights } from '../../../src/models/verify/compare-weights.ts';
import { llamaShapes } from '../llama-shapes.ts';
import { safetensorsFile, type FolderTensor } from '../model-folder.ts';
import { damageBytes, damageJson, pick } from './damage.ts';
import { ITSELF, openFolder, type Content } from './replaced-folder.ts';
import type { PrepareReader, Read } from './survive.ts';
import { decode, decodeAffine, hashOf } from './values.ts';

const CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 8,
  hidden_size: 32,
  intermediate_size: 32,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 16,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  rope_scaling: {
    rope_type: 'llama3',
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 64,
  },
  tie_word_embeddings: true,
};
const SHAPES = llamaShapes({ vocabulary: 8, hidden: 32, feed: 32, layers: 1, keyValue: 16 });
const INDEX = 'model.safetensors.index.json';

function bytesOf(count: number, random: Random): Uint8Array {
  // Below 0x3c: no value is NaN.
  return Uint8Array.from({ length: count }, () => random.integer(0x3c));
}

function denseTensors(): FolderTensor[] {
  const random = createRandom('whole folder');
  return Object.entries(SHAPES).map(([name, shape], i) => {
    const dtype = i % 3 === 0 ? 'F32' : 'BF16';
    const count = shape.reduce((product, size) => product * size, 1);
    return { name, dtype, shape, bytes: bytesOf(count * (dtype === 'F32' ? 4 : 2), random) };
  });
}

/** The header's text or bytes are changed, or the data. */
function damagedFile(file: Buffer, random: Random): Buffer {
  const length = Number(file.readBigUInt64LE());
  const kind = random.integer(4);
  if (kind < 2) {
    const json = Buffer.from(damageJson(file.toString('utf8', 8, 8 + length), random));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(json.length));
    return Buffer.concat([size, json, file.subarray(8 + length)]);
  }
  return damageBytes(file, random, [
    [0, 8],
    [8, 8 + length],
    [8 + length, file.length],
  ]);
}

interface Said {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: Buffer;
}

/** What a file says that was accepted. */
function parse(file: Buffer): Map<string, Said> {
  const data = 8 + Number(file.readBigUInt64LE());
  const header = JSON.parse(file.toString('utf8', 8, data)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== '__metadata__')
      .map(
        ([
          name,
          {
            dtype,
            shape,
            data_offsets: [start, end],
          },
        ]) => [name, { dtype, shape, offset: data + start, bytes: file.subarray(data + start, data + end) }],
      ),
  );
}

async function checkFolder(folder: string, weights: readonly [name: string, file: Buffer][]): Promise<void> {
  const read = await readSafetensorsFolder(folder);
  const said = weights.flatMap(([file, bytes]) =>
    [...parse(bytes)].map(([name, { dtype, shape, offset, bytes: data }]) => ({
      name,
      dtype,
      shape,
      offset,
      byteLength: data.length,
      path: join(folder, file),
    })),
  );
  const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
  deepStrictEqual(read.toSorted(byName), said.toSorted(byName));
}

/** All stored values but for those of names that are no weights of their own. */
async function checkValues(folder: string, weights: readonly [name: string, file: Buffer][]): Promise<void> {
  const { tensors } = await fingerprintModel(folder);
  const said = weights.flatMap(([, bytes]) =>
    [...parse(bytes)].map(([name, { dtype, bytes: data }]) => [name, hashOf(decode(dtype, data))]),
  );
  deepStrictEqual(
    tensors.map(({ name, sha256 }) => [name, sha256]),
    said.toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1)),
  );
}

const QUANTIZE = {
  affine: { bits: 4, groupSize: 32, recipe: null },
  dtype: null,
  rounding: 'cpu',
} as const;
const PLAN = { quant: 'BF16', tokenizer: new Map(), importance: null } as const;

function readers(folder: string, weights: readonly [name: string, file: Buffer][], index: number): readonly Read[] {
  const others: readonly Read[] = [
    () => checkValues(folder, weights),
    async () => planQuantize(await openConversionSource(folder), QUANTIZE),
    () => checkValues(folder, weights),
    () => planFromFolder(folder, PLAN),
    () => summarizeFolder(folder),
  ];
  const check: Read = () => checkFolder(folder, weights);
  return index % 2 === 0 ? [check] : [check, others[(index >> 1) % others.length] as Read];
}

export const prepareSafetensors: PrepareReader = async (root) => {
  const folder = join(root, 'model');
  const whole = safetensorsFile(denseTensors());
  const replace = openFolder(folder);
  return {
    async damage(random, index) {
      const file = damagedFile(whole, random);
      replace({ 'config.json': JSON.stringify(CONFIG), 'model.safetensors': file });
      return readers(folder, [['model.safetensors', file]], index);
    },
  };
};

export const prepareSharded: PrepareReader = async (root) => {
  const folder = join(root, 'model');
  const tensors = denseTensors();
  const names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
  const shards = names.map((_, shard) => safetensorsFile(tensors.filter((_tensor, i) => i % 2 === shard)));
  const map = Object.fromEntries(tensors.map(({ name }, i) => [name, names[i % 2]]));
  const index = JSON.stringify({ metadata: { total_size: 1 }, weight_map: map });
  const replace = openFolder(folder);
  return {
    async damage(random, number) {
      const files: Record<string, Content> = { 'config.json': JSON.stringify(CONFIG), [INDEX]: index };
      const shard = random.integer(2);
      const [one, other] = [names[shard] as string, names[1 - shard] as string];
      files[one] = shards[shard] as Buffer;
      files[other] = shards[1 - shard] as Buffer;
      const kind = random.integer(6);
      if (kind < 2) files[INDEX] = damageJson(index, random);
      else if (kind === 2) files[one] = pick([shards[1 - shard] as Buffer, null, ITSELF], random);
      else files[one] = damagedFile(shards[shard] as Buffer, random);
      replace(files);
      return readers(
        folder,
        [
          [one, files[one] as Buffer],
          [other, files[other]],
        ],
        number,
      );
    },
  };
};

/** config.json alone: every size in it may be wrong, and the tensors are what they are. */
export const prepareConfig: PrepareReader = async (root) => {
  const folder = join(root, 'model');
  const text = JSON.stringify(CONFIG);
  const replace = openFolder(folder);
  replace({ 'model.safetensors': safetensorsFile(denseTensors()) });
  return {
    async damage(random, index) {
      const config = damageJson(text, random);
      replace({ 'config.json': config });
      const others: readonly Read[] = [() => openConversionSource(folder), () => summarizeFolder(folder)];
      return [
        async () => {
          const { plans } = await planFromFolder(folder, PLAN);
          const weights = plans.filter(({ name }) => name !== 'rope_freqs.weight');
          strictEqual(weights.length, Object.keys(SHAPES).length);
          // What is accepted describes these tensors.
          const read = readModelConfig(JSON.parse(config), 'config.json');
          deepStrictEqual([read.hiddenSize, read.layerCount], [32, 1]);
        },
        ...(index % 2 === 0 ? [] : [others[(index >> 1) % others.length] as Read]),
      ];
    },
  };
};

const MLX_CONFIG = {
  model_type: 'llama',
  num_hidden_layers: 1,
  quantization: {
    group_size: 32,
    bits: 4,
    mode: 'affine',
    'model.layers.0.mlp.up_proj': { group_size: 64, bits: 8 },
    'model.layers.0.mlp.down_proj': { group_size: 32, bits: 3 },
  },
};

function packedTensors(): FolderTensor[] {
  const random = createRandom('whole MLX folder');
  const packed = (module: string, bits: number, group: number): FolderTensor[] => {
    const [rows, columns] = [4, 64];
    const groups = columns / group;
    const floats = (name: string): FolderTensor => ({
      name: `${module}.${name}`,
      dtype: 'BF16',
      shape: [rows, groups],
      bytes: bytesOf(rows * groups * 2, random),
    });
    const words = { name: `${module}.weight`, dtype: 'U32', shape: [rows, (columns * bits) / 32] };
    return [
      { ...words, bytes: Uint8Array.from({ length: (rows * columns * bits) / 8 }, () => random.integer(256)) },
      floats('scales'),
      floats('biases'),
    ];
  };
  return [
    ...packed('model.embed_tokens', 4, 32),
    ...packed('model.layers.0.mlp.up_proj', 8, 64),
    ...packed('model.layers.0.mlp.down_proj', 3, 32),
    { name: 'model.norm.weight', dtype: 'F32', shape: [64], bytes: bytesOf(256, random) },
  ];
}

/** What the folder says: packed matrices by the packing that config.json gives their layer, the rest as it is stored. */
function saidByMlx(config: string, file: Buffer): string[][] {
  type Layer = { bits: number; group_size: number; mode?: string };
  const { quantization = {} } = JSON.parse(config) as { quantization?: Record<string, unknown> | null };
  const tensors = parse(file);
  return [...tensors]
    .filter(([name]) => !/\.(scales|biases)$/.test(name))
    .map(([name, { dtype, bytes }]) => {
      const module = name.replace(/\.weight$/, '');
      const [scales, biases] = [tensors.get(`${module}.scales`), tensors.get(`${module}.biases`)];
      if (scales === undefined || biases === undefined) return [name, hashOf(decode(dtype, bytes))];
      const { bits, group_size: group } = (quantization?.[module] ?? quantization) as Layer;
      const floats = { scales: decode(scales.dtype, scales.bytes), biases: decode(biases.dtype, biases.bytes) };
      return [name, hashOf(decodeAffine(bytes, { ...floats, bits, group }))];
    });
}

export const prepareMlx: PrepareReader = async (root) => {
  const folder = join(root, 'model');
  const whole = safetensorsFile(packedTensors());
  const wholeConfig = JSON.stringify(MLX_CONFIG);
  const original = join(root, 'original');
  openFolder(original)({ 'config.json': wholeConfig, 'model.safetensors': whole });
  const replace = openFolder(folder);
  return {
    async damage(random, index) {
      const inConfig = random.integer(3) === 0;
      const config = inConfig ? damageJson(wholeConfig, random) : wholeConfig;
      const file = inConfig ? whole : damagedFile(whole, random);
      replace({ 'config.json': config, 'model.safetensors': file });
      const check: Read = async () => {
        const { tensors } = await fingerprintModel(folder);
        // Modes other than affine have other values; the damage may name one that is known.
        if (/mxfp4/.test(config)) return;
        deepStrictEqual(
          tensors.map(({ name, sha256 }) => [name, sha256]),
          saidByMlx(config, file).toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1)),
        );
      };
      const others: readonly Read[] = [
        () => summarizeFolder(folder),
        () => compareWeights(original, folder, { relativeRmseMax: 0 }),
      ];
      return index % 8 > 1 ? [check] : [check, others[index % 8] as Read];
    },
  };
};
