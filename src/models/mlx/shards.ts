/** Which file each output tensor lies in, and where: as mlx_lm.convert names and fills them. */
import type { OutputPlace } from '../resume/check-done.ts';
import { layoutSafetensors, planBytes, type TensorPlan } from '../safetensors/format.ts';

/** A shard holds at most 5 GiB, a larger tensor gets its own. */
const SHARD_BYTES_MAX = 5 * 2 ** 30;

export interface PlacedOutput extends TensorPlan {
  readonly shard: number;
  readonly offset: number;
}

export interface ShardPlan {
  readonly fileName: string;
  readonly header: Uint8Array;
  readonly totalBytes: number;
}

export interface Placement {
  /** As the groups that were given. */
  readonly outputs: readonly (readonly PlacedOutput[])[];
  readonly shards: readonly ShardPlan[];
}

/** A group stays together, so that a matrix and its scales load from one file. */
export function placeInShards(groups: readonly (readonly TensorPlan[])[]): Placement {
  const shardOf = assignShards(groups);
  const shardCount = (shardOf.at(-1) ?? 0) + 1;
  const layouts = Array.from({ length: shardCount }, (_, shard) =>
    layoutSafetensors(groups.filter((_group, i) => shardOf[i] === shard).flat(), { format: 'mlx' }),
  );
  const next = layouts.map(({ offsets }) => offsets.values());
  const outputs = groups.map((group, i) => {
    const shard = shardOf[i] as number;
    return group.map((output) => ({ ...output, shard, offset: next[shard]?.next().value as number }));
  });
  const shards = layouts.map(({ header, totalBytes }, shard) => ({
    fileName: shardName(shard, shardCount),
    header,
    totalBytes,
  }));
  return { outputs, shards };
}

/** @param names one for each group of outputs */
export function placesIn(
  { outputs, shards }: Placement,
  names: readonly string[],
): ReadonlyMap<string, readonly OutputPlace[]> {
  const placeOf = (output: PlacedOutput): OutputPlace => ({
    file: (shards[output.shard] as ShardPlan).fileName,
    offset: output.offset,
    bytes: planBytes(output),
  });
  return new Map(names.map((name, i) => [name, (outputs[i] ?? []).map(placeOf)] as const));
}

/** Shard of each group of outputs. */
export function assignShards(groups: readonly (readonly TensorPlan[])[]): number[] {
  let shard = 0;
  let shardBytes = 0;
  return groups.map((outputs) => {
    const bytes = outputs.reduce((sum, output) => sum + planBytes(output), 0);
    if (shardBytes > 0 && shardBytes + bytes > SHARD_BYTES_MAX) {
      shard++;
      shardBytes = 0;
    }
    shardBytes += bytes;
    return shard;
  });
}

export function shardName(shard: number, count: number): string {
  if (count === 1) return 'model.safetensors';
  const padded = (value: number): string => String(value).padStart(5, '0');
  return `model-${padded(shard + 1)}-of-${padded(count)}.safetensors`;
}

/** model.safetensors.index.json, always written, as mlx_lm.convert does. */
export function shardIndex({ outputs, shards }: Placement, parameterCount: number): unknown {
  const all = outputs.flat();
  const sorted = all.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return {
    metadata: {
      total_size: all.reduce((sum, output) => sum + planBytes(output), 0),
      total_parameters: parameterCount,
    },
    weight_map: Object.fromEntries(sorted.map(({ name, shard }) => [name, shards[shard]?.fileName])),
  };
}
