/** Damaged GGUF files, whole and in parts, and everything that reads them. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRandom, type Random } from '../../../src/core/random.ts';
import { planFromGguf } from '../../../src/models/convert/plan-from-gguf.ts';
import { fingerprintModel } from '../../../src/models/fingerprint/fingerprint.ts';
import { factsOf } from '../../../src/models/gguf/model-facts.ts';
import { readGgufHeader, type GgufHeader } from '../../../src/models/gguf/read-header.ts';
import { summarizeGguf } from '../../../src/models/gguf/summary.ts';
import { readVocabulary } from '../../../src/models/gguf/vocabulary.ts';
import { openConversionSource } from '../../../src/models/mlx/source.ts';
import { rebuildTokenizer } from '../../../src/models/tokenizer/tokenizer-json.ts';
import { ABSURD, damageBytes, pick } from './damage.ts';
import {
  buildGguf,
  parseGguf,
  tensorBytes,
  TYPE_IDS,
  typeName,
  u32,
  u64,
  value,
  type GgufParts,
  type GgufTensorPart,
} from './gguf-format.ts';
import { FOLDER, ITSELF, openFolder, type Content } from './replaced-folder.ts';
import type { PrepareReader, Read } from './survive.ts';
import { decode, hashOf, STORED } from './values.ts';

const SHAPES: Readonly<Record<string, readonly [type: string, ...dimensions: number[]]>> = {
  'token_embd.weight': ['Q8_0', 32, 6],
  'output_norm.weight': ['F32', 32],
  'blk.0.attn_norm.weight': ['F32', 32],
  'blk.0.attn_q.weight': ['Q4_0', 32, 32],
  'blk.0.attn_k.weight': ['F16', 32, 16],
  'blk.0.attn_v.weight': ['BF16', 32, 16],
  'blk.0.attn_output.weight': ['Q8_0', 32, 32],
  'blk.0.ffn_norm.weight': ['F32', 32],
  'blk.0.ffn_gate.weight': ['Q4_0', 32, 32],
  'blk.0.ffn_up.weight': ['Q4_0', 32, 32],
  'blk.0.ffn_down.weight': ['Q4_0', 32, 32],
};

/** A model of one layer, of an architecture whose rows keep their order. */
export function wholeModel(): GgufParts {
  const random = createRandom('whole model');
  const tensors = Object.entries(SHAPES).map(([name, [type, ...dimensions]]): GgufTensorPart => {
    const { values, bytes } = STORED[type] as (typeof STORED)[string];
    const count = (dimensions.reduce((product, size) => product * size, 1) / values) * bytes;
    // Below 0x3c: no scale is NaN.
    const data = Buffer.from(Array.from({ length: count }, () => random.integer(0x3c)));
    return { name, dimensions: dimensions.map(BigInt), type: TYPE_IDS[type] as number, offset: null, bytes: data };
  });
  const tokens = ['<unk>', '<s>', '</s>', 'Ġthe', 'a', 'b'];
  return {
    version: 3,
    tensorCount: null,
    metadataCount: null,
    metadata: [
      ['general.architecture', value.string('qwen2')],
      ['general.name', value.string('Small')],
      ['general.alignment', value.u32(32)],
      ['qwen2.block_count', value.u32(1)],
      ['qwen2.context_length', value.u32(128)],
      ['qwen2.embedding_length', value.u32(32)],
      ['qwen2.feed_forward_length', value.u32(32)],
      ['qwen2.attention.head_count', value.u32(2)],
      ['qwen2.attention.head_count_kv', value.u64(1n)],
      ['qwen2.attention.layer_norm_rms_epsilon', value.f32(1e-6)],
      ['qwen2.rope.freq_base', value.f64(10_000)],
      ['tokenizer.ggml.model', value.string('gpt2')],
      ['tokenizer.ggml.pre', value.string('qwen2')],
      ['tokenizer.ggml.tokens', value.strings(tokens)],
      ['tokenizer.ggml.token_type', value.i32s([2, 3, 3, 1, 1, 1])],
      ['tokenizer.ggml.merges', value.strings(['a b'])],
      ['tokenizer.ggml.bos_token_id', value.u32(1)],
      ['tokenizer.ggml.eos_token_id', value.u32(2)],
    ],
    tensors,
  };
}

const NUMBERS = [
  value.u32(0),
  value.u32(0xffff_ffff),
  value.u64(2n ** 63n),
  Buffer.concat([u32(11), u64(-1n)]),
  value.f32(Number.NaN),
  value.f64(Number.POSITIVE_INFINITY),
  value.f32(0.5),
  value.string('x'),
  value.nested(100),
  value.i32s([1, 2]),
];

/** What a writer with a fault, or an attacker, puts into the header. */
function damageParts(parts: GgufParts, random: Random): void {
  const { metadata, tensors } = parts;
  const tensor = pick(tensors, random);
  const other = pick(tensors, random);
  const entry = pick(metadata, random);
  const aligned = (): bigint => BigInt(32 * random.integer(100));
  const changes: readonly (() => unknown)[] = [
    () => tensors.splice(random.integer(tensors.length), 0, { ...tensor }),
    () => tensors.splice(tensors.indexOf(tensor), 1),
    () => (tensor.name = other.name),
    () => (tensor.name = pick(['', '../../x', 'blk.7.ffn_up.weight', 'a'.repeat(300), '__proto__'], random)),
    () => (tensor.offset = pick([0n, 32n, 1n, 2n ** 63n, 2n ** 53n, aligned(), aligned()], random)),
    () => (tensor.type = pick([random.integer(50), ...Object.values(TYPE_IDS)], random)),
    () => (tensor.dimensions = tensor.dimensions.toReversed()),
    () => (tensor.dimensions[random.integer(tensor.dimensions.length)] = pick(ABSURD, random)),
    () => (tensor.dimensions = Array.from({ length: random.integer(7) }, () => 1n)),
    () => tensor.bytes.fill(pick([0x7f, 0xff, 0x80], random), random.integer(tensor.bytes.length)),
    () => metadata.push([entry[0], entry[1]]),
    () => metadata.splice(metadata.indexOf(entry), 1),
    () => (entry[1] = pick(NUMBERS, random)),
    () => (entry[1] = pick(NUMBERS, random)),
    () => (entry[1] = Buffer.concat([u32(8), u64(pick(ABSURD, random)), Buffer.from('abc')])),
    () => (entry[1] = Buffer.concat([u32(9), u32(random.integer(14)), u64(pick(ABSURD, random))])),
    () => (entry[0] = pick(['', entry[0].toUpperCase(), 'k'.repeat(70_000), 'split.count'], random)),
    () => (parts.version = pick([0, 1, 2, 4, 0x0300_0000], random)),
    () => (parts.tensorCount = pick([...ABSURD, BigInt(tensors.length + 1), BigInt(tensors.length - 1)], random)),
    () => (parts.metadataCount = pick([...ABSURD, BigInt(metadata.length + 1)], random)),
  ];
  pick(changes, random)();
}

/** Of two files in three, the header's meaning is changed; of two in three, its bytes. */
function damaged(parts: GgufParts, random: Random): Buffer {
  const kind = random.integer(3);
  if (kind > 0) damageParts(parts, random);
  const bytes = buildGguf(parts);
  if (kind === 2) return bytes;
  const dataLength = parts.tensors.reduce((sum, tensor) => sum + tensor.bytes.length, 0);
  const header = Math.max(1, bytes.length - dataLength);
  return damageBytes(bytes, random, [
    [0, 24],
    [24, header],
    [24, header],
    [0, bytes.length],
  ]);
}

/** What was read is what the file says, for every tensor and every value. */
function checkHeader(header: GgufHeader, bytes: Buffer): void {
  const said = parseGguf(bytes);
  deepStrictEqual(
    header.tensors.map(({ name, dimensions, type, offset }) => ({ name, dimensions, type: type.id, offset })),
    said.tensors,
  );
  const read = [...header.metadata].map(([key, item]) => [
    key,
    item.type === 'array' ? Array.from<unknown>(item.items) : item.value,
  ]);
  deepStrictEqual(read, [...said.metadata]);
}

/** The values behind every accepted tensor: those that were not damaged keep their hash, the others have what is there. */
async function checkValues(path: string, bytes: Buffer): Promise<void> {
  const { tensors } = await fingerprintModel(path);
  const stored = parseGguf(bytes).tensors;
  // A type that the oracle cannot decode, where the damage made one of another.
  if (stored.some(({ type }) => typeName(type) === null)) return;
  const said = stored.map((tensor) => hashOf(decode(typeName(tensor.type) ?? '', tensorBytes(bytes, tensor))));
  deepStrictEqual(tensors.map(({ sha256 }) => sha256).toSorted(), said.toSorted());
}

export const prepareGguf: PrepareReader = async (folder) => {
  const path = join(folder, 'model.gguf');
  return {
    async damage(random, index) {
      const bytes = damaged(wholeModel(), random);
      writeFileSync(path, bytes);
      const others: readonly Read[] = [
        () => checkValues(path, bytes),
        () => summarizeGguf(path),
        () => checkValues(path, bytes),
        () => openConversionSource(path),
        () => checkValues(path, bytes),
        () => planFromGguf(path, { quant: 'Q4_K_M', importance: null }),
      ];
      return [
        async () => {
          const header = await readGgufHeader(path);
          checkHeader(header, bytes);
          factsOf(header);
          const vocabulary = readVocabulary(header.metadata);
          if (vocabulary !== null) JSON.stringify(rebuildTokenizer(vocabulary));
        },
        ...(index % 2 === 0 ? [] : [others[(index >> 1) % others.length] as Read]),
      ];
    },
  };
};

const PARTS = 3;

/** As llama-gguf-split writes them: the first has the metadata, all of them tell which part they are. */
function splitModel(): GgufParts[] {
  const { metadata, tensors } = wholeModel();
  const u16 = (number: number): Buffer => Buffer.concat([u32(2), u32(number).subarray(0, 2)]);
  return Array.from({ length: PARTS }, (_, part) => ({
    version: 3,
    tensorCount: null,
    metadataCount: null,
    metadata: [
      ...(part === 0 ? metadata : []),
      ['split.no', u16(part)],
      ['split.count', u16(PARTS)],
      ['split.tensors.count', Buffer.concat([u32(5), u32(tensors.length)])],
    ],
    tensors: tensors.filter((_tensor, i) => i % PARTS === part),
  }));
}

export const prepareSplitGguf: PrepareReader = async (folder) => {
  const whole = splitModel().map((parts) => buildGguf(parts));
  const names = whole.map((_, part) => `model-0000${part + 1}-of-0000${PARTS}.gguf`);
  const paths = names.map((name) => join(folder, name));
  const replace = openFolder(folder);
  return {
    async damage(random) {
      const files: Content[] = [...whole];
      const part = random.integer(PARTS);
      const kind = random.integer(8);
      if (kind === 0) files[part] = whole[random.integer(PARTS)] as Buffer;
      else if (kind === 1) files[part] = pick([null, ITSELF, FOLDER], random);
      else if (kind === 2) [files[1], files[2]] = [whole[2] as Buffer, whole[1] as Buffer];
      else files[part] = damaged(splitModel()[part] as GgufParts, random);
      replace(Object.fromEntries(names.map((name, i) => [name, files[i] as Content])));
      return [
        async () => {
          const { jobs } = await planFromGguf(paths[0] as string, { quant: 'Q8_0', importance: null });
          const said = files.flatMap((file, i) =>
            parseGguf(file as Buffer).tensors.map(({ name, dimensions, type, offset }) => {
              const [columns = 1, ...rows] = dimensions;
              const product = rows.reduce((all, size) => all * size, 1);
              return { name, sourcePath: paths[i], sourceOffset: offset, sourceType: type, columns, rows: product };
            }),
          );
          strictEqual(said.length, Object.keys(SHAPES).length);
          deepStrictEqual(
            jobs.map(({ name, sourcePath, sourceOffset, sourceType, columns, rows }) => ({
              name,
              sourcePath,
              sourceOffset,
              sourceType,
              columns,
              rows,
            })),
            said,
          );
        },
        async () => {
          const alone = pick(paths.slice(1), random);
          await fingerprintModel(alone);
          throw new TypeError(`${alone} is a part and passed for a model`);
        },
      ];
    },
  };
};
