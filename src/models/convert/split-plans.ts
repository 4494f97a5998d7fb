/** Tensors spread over several files as llama.cpp's gguf-split does it with --split-max-size: in order, by the bytes of tensors. */
import { AppError } from '../../core/errors.ts';
import type { GgufValue } from '../gguf/metadata.ts';
import { PARTS_MAX } from '../gguf/parts.ts';
import {
  encodeMetadata,
  GGUF_ALIGNMENT,
  layoutGguf,
  tensorBytes,
  type EncodedMetadata,
  type GgufLayout,
  type GgufTensorPlan,
} from '../gguf/write.ts';

export interface PartPlan {
  readonly layout: GgufLayout;
  readonly plans: readonly GgufTensorPlan[];
}

interface Split {
  readonly metadata: EncodedMetadata;
  /** Of the first file; the others have no key that could say another than the default. */
  readonly alignment: number;
  /** Null: one file. */
  readonly bytesMax: number | null;
}

/** One file stays as it is, without keys of a split. @throws AppError `usage` for more files than are read again */
export function splitPlans(plans: readonly GgufTensorPlan[], { metadata, alignment, bytesMax }: Split): PartPlan[] {
  const groups = bytesMax === null ? [plans] : groupsOf(plans, bytesMax);
  if (groups.length === 1) return [{ layout: layoutGguf(metadata, plans, alignment), plans }];
  if (groups.length > PARTS_MAX) {
    throw new AppError('usage', `The result would be ${groups.length} files; up to ${PARTS_MAX} are written.`, {
      hint: 'Choose a larger --split-max-size.',
    });
  }
  return groups.map((group, part) => {
    const keys = splitKeys(part, groups.length, plans.length);
    const isFirst = part === 0;
    const encoded = isFirst
      ? { count: metadata.count + keys.count, bytes: Buffer.concat([metadata.bytes, keys.bytes]) }
      : keys;
    return { layout: layoutGguf(encoded, group, isFirst ? alignment : GGUF_ALIGNMENT), plans: group };
  });
}

/** A tensor that is larger than the limit gets a file of its own. */
function groupsOf(plans: readonly GgufTensorPlan[], bytesMax: number): GgufTensorPlan[][] {
  const groups: GgufTensorPlan[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const plan of plans) {
    const padded = Math.ceil(tensorBytes(plan) / GGUF_ALIGNMENT) * GGUF_ALIGNMENT;
    if (bytes + padded > bytesMax) {
      groups.push([]);
      bytes = 0;
    }
    bytes += padded;
    groups.at(-1)?.push(plan);
  }
  return groups.length === 0 ? [[]] : groups;
}

/** In gguf-split's order: it sets the count last. */
function splitKeys(part: number, count: number, tensorCount: number): EncodedMetadata {
  return encodeMetadata(
    new Map<string, GgufValue>([
      ['split.no', { type: 'u16', value: part }],
      ['split.tensors.count', { type: 'i32', value: tensorCount }],
      ['split.count', { type: 'u16', value: count }],
    ]),
  );
}
