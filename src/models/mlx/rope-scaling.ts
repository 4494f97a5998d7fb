/** rope_scaling for config.json, from the header and, for Llama 3, from the factors that its converter stored as a tensor. */
import { open } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';
import { alignedBuffer, readFully } from '../file-io.ts';
import { numberOf, textOf } from '../gguf/metadata.ts';
import type { GgufHeader, GgufTensor } from '../gguf/read-header.ts';
import type { Architecture } from '../hugging-face/architecture.ts';
import { ROPE_FACTORS, ROPE_FREQUENCIES } from '../hugging-face/tensor-map.ts';
import { HIGH_FREQUENCY_FACTOR, llama3Factors, LOW_FREQUENCY_FACTOR } from './llama3-factors.ts';

export type RopeScaling =
  | { readonly rope_type: 'linear'; readonly factor: number }
  | {
      readonly rope_type: 'llama3';
      readonly factor: number;
      readonly low_freq_factor: number;
      readonly high_freq_factor: number;
      readonly original_max_position_embeddings: number;
    };

/** The published models all use one of these; others show as a mismatch with the stored factors. */
const ORIGINAL_CONTEXTS: readonly number[] = [8192, 4096, 2048, 16_384, 32_768];
/** The converter computes a factor in about ten float32 steps of 6e-8 each; a wrong parameter is off by percents. */
const RELATIVE_TOLERANCE = 4e-6;

export async function readRopeScaling(header: GgufHeader, architecture: Architecture): Promise<RopeScaling | null> {
  const { metadata, tensors, path } = header;
  const frequencies = tensors.find(({ name }) => name === ROPE_FREQUENCIES);
  if (tensors.some(({ name }) => ROPE_FACTORS.some((factors) => factors === name))) {
    throw new AppError(
      'model-unsupported',
      `${path} has one set of rotary factors for short texts and one for long ones; llama.cpp chooses by the context, mlx-lm always takes the long one.`,
      { hint: 'Take the variant of the model with the short context, or compare only engines that read GGUF.' },
    );
  }
  const type = textOf(metadata, `${architecture.name}.rope.scaling.type`) ?? 'none';
  if (frequencies !== undefined) return llama3Scaling(header, architecture, await readFactors(path, frequencies));
  if (type === 'none') return null;
  const factor = numberOf(metadata, `${architecture.name}.rope.scaling.factor`);
  if (type === 'linear' && factor !== null && factor > 0) return { rope_type: 'linear', factor };
  throw new AppError(
    'model-unsupported',
    `${path}: the rotary scaling ${type} (factor ${factor ?? 'unknown'}) has no proven equal in MLX.`,
    {
      hint: 'Compare only engines that read GGUF for this model.',
    },
  );
}

async function readFactors(path: string, tensor: GgufTensor): Promise<Float32Array> {
  if (tensor.type.name !== 'F32' || tensor.byteLength > 1 << 16) {
    throw new AppError(
      'model-unsupported',
      `${path}: ${tensor.name} is ${tensor.type.name} with ${tensor.columns} values; a short F32 vector is expected.`,
    );
  }
  const bytes = alignedBuffer(tensor.byteLength);
  const handle = await open(tensor.path, 'r');
  try {
    readFully(handle, bytes, { position: tensor.offset, length: tensor.byteLength });
  } finally {
    await handle.close();
  }
  return new Float32Array(bytes.buffer, 0, tensor.byteLength / 4);
}

/** Tries the few known parameter sets; every factor must come out as stored. */
function llama3Scaling(
  { metadata, path }: GgufHeader,
  { name, headSize, ropeBase }: Architecture,
  stored: Float32Array,
): RopeScaling {
  const factor = Math.max(...stored);
  const declared = numberOf(metadata, `${name}.rope.scaling.original_context_length`);
  for (const original of declared === null ? ORIGINAL_CONTEXTS : [declared]) {
    const expected = llama3Factors({ headSize, ropeBase, factor, original });
    const equal =
      stored.length === expected.length &&
      expected.every((value, i) => Math.abs((stored[i] as number) / value - 1) < RELATIVE_TOLERANCE);
    if (equal) {
      return {
        rope_type: 'llama3',
        factor,
        low_freq_factor: LOW_FREQUENCY_FACTOR,
        high_freq_factor: HIGH_FREQUENCY_FACTOR,
        original_max_position_embeddings: original,
      };
    }
  }
  throw new AppError(
    'model-unsupported',
    `${path}: the ${stored.length} rotary factors (up to ${factor}) are not those of Llama 3 with any known parameters.`,
    {
      hint: 'Compare only engines that read GGUF for this model.',
    },
  );
}
