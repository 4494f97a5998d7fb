/** Damaged importance matrices in both of their forms. */
import { deepStrictEqual } from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRandom } from '../../../src/core/random.ts';
import { readImportance } from '../../../src/models/convert/importance.ts';
import { ABSURD, damageBytes, pick } from './damage.ts';
import {
  buildGguf,
  parseGguf,
  tensorBytes,
  TYPE_IDS,
  value,
  type GgufParts,
  type ParsedTensor,
} from './gguf-format.ts';
import type { PrepareReader } from './survive.ts';
import { decode } from './values.ts';

const NAMES = ['blk.0.attn_q.weight', 'blk.0.ffn_up.weight', 'blk.0.ffn_down.weight'];
const COLUMNS = 8;

function ggufParts(): GgufParts {
  const random = createRandom('whole importance');
  const floats = (count: number): Buffer =>
    Buffer.from(Float32Array.from({ length: count }, () => random.integer(1_000) / 8).buffer);
  const tensor = (name: string, dimensions: readonly number[]) => ({
    name,
    dimensions: dimensions.map(BigInt),
    type: TYPE_IDS['F32'] as number,
    offset: null as bigint | null,
    bytes: floats(dimensions.reduce((product, size) => product * size, 1)),
  });
  return {
    version: 3,
    tensorCount: null,
    metadataCount: null,
    metadata: [
      ['general.type', value.string('imatrix')],
      ['imatrix.chunk_count', value.u32(10)],
    ],
    tensors: NAMES.flatMap((name) => [tensor(`${name}.in_sum2`, [COLUMNS, 2]), tensor(`${name}.counts`, [1, 2])]),
  };
}

function wholeLegacy(): Buffer {
  const int = (number: number): Buffer => Buffer.from(Int32Array.of(number).buffer);
  const entry = (name: string, calls: number): Buffer => {
    const values = Float32Array.from({ length: COLUMNS }, (_, i) => i / 4 + calls);
    return Buffer.concat([int(name.length), Buffer.from(name), int(calls), int(COLUMNS), Buffer.from(values.buffer)]);
  };
  return Buffer.concat([
    int(NAMES.length),
    ...NAMES.map((name, i) => entry(name, i)),
    int(7),
    int(1),
    Buffer.from('x'),
  ]);
}

function saidByGguf(file: Buffer): Map<string, number[]> {
  const { tensors } = parseGguf(file);
  const floats = (tensor: ParsedTensor): Float32Array => decode('F32', tensorBytes(file, tensor));
  return new Map(
    tensors
      .filter(({ name }) => name.endsWith('.in_sum2'))
      .map((sums) => {
        const name = sums.name.replace(/\.in_sum2$/, '');
        const counts = floats(tensors.find((tensor) => tensor.name === `${name}.counts`) as ParsedTensor);
        const values = floats(sums);
        const columns = values.length / counts.length;
        return [
          name,
          Array.from(values, (sum, i) => {
            const count = counts[Math.floor(i / columns)] as number;
            return count > 0 ? Math.fround(sum / count) : 1;
          }),
        ];
      }),
  );
}

function saidByLegacy(file: Buffer): Map<string, number[]> {
  let at = 4;
  const int = (): number => file.readInt32LE((at += 4) - 4);
  return new Map(
    Array.from({ length: file.readInt32LE(0) }, () => {
      const length = int();
      const name = file.toString('utf8', at, (at += length));
      const [calls, count] = [int(), int()];
      const values = Array.from({ length: count }, () => file.readFloatLE((at += 4) - 4));
      return [name, values.map((sum) => (calls > 0 ? Math.fround(sum / calls) : sum))];
    }),
  );
}

export const prepareImportance: PrepareReader = async (folder) => {
  const legacy = wholeLegacy();
  const path = join(folder, 'imatrix');
  return {
    async damage(random, index) {
      const parts = ggufParts();
      const tensor = pick(parts.tensors, random);
      const changes: readonly (() => unknown)[] = [
        () => tensor.bytes.writeFloatLE(pick([Number.NaN, Infinity, -1, 0], random), 4 * random.integer(2)),
        () => (tensor.offset = pick([0n, 32n, 2n ** 63n], random)),
        () => (tensor.dimensions[random.integer(2)] = pick(ABSURD, random)),
        () => (tensor.name = pick(parts.tensors, random).name),
        () => parts.tensors.splice(parts.tensors.indexOf(tensor), 1),
        () => {},
      ];
      pick(changes, random)();
      const gguf = buildGguf(parts);
      const isLegacy = index % 2 === 0;
      const file = isLegacy ? damageBytes(legacy, random) : random.integer(2) === 0 ? gguf : damageBytes(gguf, random);
      writeFileSync(path, file);
      return [
        async () => {
          const read = await readImportance(path);
          const isGguf = file.toString('latin1', 0, 4) === 'GGUF';
          const said = isGguf ? saidByGguf(file) : saidByLegacy(file);
          deepStrictEqual(
            [...read].map(([name, values]) => [name, Array.from(values)]),
            [...said],
          );
        },
      ];
    },
  };
};
