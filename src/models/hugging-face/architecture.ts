/** The dense architectures that are understood in full: sizes from the header, and what is refused. */
import { AppError } from '../../core/errors.ts';
import { numberOf, requiredCount, textOf } from '../gguf/metadata.ts';
import type { GgufHeader } from '../gguf/read-header.ts';

export type ArchitectureName = 'llama' | 'qwen2' | 'qwen3';

export interface Architecture {
  readonly name: ArchitectureName;
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly feedForwardSize: number;
  readonly headCount: number;
  readonly keyValueHeadCount: number;
  readonly headSize: number;
  readonly normEpsilon: number;
  readonly ropeBase: number;
  /** 0 when the header does not tell. */
  readonly contextTokens: number;
  /**
   * llama.cpp's converter interleaves the two halves of every query and key head (its rotary embedding pairs neighbours);
   * Hugging Face's order pairs across halves. SmolLM2 and Mistral are stored as `llama`.
   */
  readonly permutesQueryAndKey: boolean;
}

const NAMES: readonly ArchitectureName[] = ['llama', 'qwen2', 'qwen3'];

/** Rejects with `model-unsupported` where a faithful description is not possible. */
export function readArchitecture(header: GgufHeader): Architecture {
  const { metadata, path } = header;
  const stored = textOf(metadata, 'general.architecture');
  const name = NAMES.find((candidate) => candidate === stored);
  if (name === undefined) {
    throw new AppError(
      'model-unsupported',
      `${path}: the architecture ${stored ?? '(none)'} is not supported for MLX or fingerprints; these are: ${NAMES.join(', ')}.`,
      {
        hint: 'Engines that read GGUF can still run it.',
      },
    );
  }
  refuseExperts(header, name);
  const count = (key: string): number => requiredCount(metadata, `${name}.${key}`, path);
  const headCount = count('attention.head_count');
  const hiddenSize = count('embedding_length');
  const headSize = numberOf(metadata, `${name}.attention.key_length`) ?? hiddenSize / headCount;
  const architecture: Architecture = {
    name,
    layerCount: count('block_count'),
    hiddenSize,
    feedForwardSize: count('feed_forward_length'),
    headCount,
    keyValueHeadCount: numberOf(metadata, `${name}.attention.head_count_kv`) ?? headCount,
    headSize,
    normEpsilon: numberOf(metadata, `${name}.attention.layer_norm_rms_epsilon`) ?? 1e-5,
    ropeBase: numberOf(metadata, `${name}.rope.freq_base`) ?? 10_000,
    contextTokens: numberOf(metadata, `${name}.context_length`) ?? 0,
    permutesQueryAndKey: name === 'llama',
  };
  checkHeads(header, architecture);
  return architecture;
}

function refuseExperts({ metadata, path }: GgufHeader, name: string): void {
  const experts = numberOf(metadata, `${name}.expert_count`) ?? 0;
  if (experts > 0) {
    throw new AppError(
      'model-unsupported',
      `${path}: mixtures of experts (${experts} here) are not supported for MLX or fingerprints.`,
      {
        hint: 'Engines that read GGUF can still run it.',
      },
    );
  }
}

function checkHeads(
  { metadata, path }: GgufHeader,
  { name, headSize, headCount, keyValueHeadCount }: Architecture,
): void {
  if (
    !Number.isInteger(headSize) ||
    headSize < 2 ||
    headSize % 2 !== 0 ||
    !Number.isInteger(keyValueHeadCount) ||
    keyValueHeadCount < 1
  ) {
    throw new AppError(
      'model-invalid',
      `${path}: ${headCount} heads of ${headSize} values and ${keyValueHeadCount} key-value heads cannot be.`,
      {
        hint: 'Download or convert the model again.',
      },
    );
  }
  const rotary = numberOf(metadata, `${name}.rope.dimension_count`) ?? headSize;
  const valueLength = numberOf(metadata, `${name}.attention.value_length`) ?? headSize;
  if (rotary !== headSize || valueLength !== headSize) {
    throw new AppError(
      'model-unsupported',
      `${path}: rotary size ${rotary} and value size ${valueLength} differ from the head size ${headSize}.`,
      {
        hint: 'Engines that read GGUF can still run it.',
      },
    );
  }
}
