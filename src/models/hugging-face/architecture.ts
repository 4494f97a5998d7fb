/** The dense architectures that are understood in full: sizes from the header, and what is refused. */
import { AppError } from '../../core/errors.ts';
import { countOf } from '../gguf/cache-values.ts';
import { numberOf, requiredCount, textOf } from '../gguf/metadata.ts';
import type { GgufHeader } from '../gguf/read-header.ts';
import { FAMILIES, isArchitectureName, type ArchitectureName, type Family } from './families.ts';

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
  /** Leading values of a head that are rotated; all but in Phi. */
  readonly rotarySize: number;
  readonly family: Family;
}

/** Rejects with `model-unsupported` where a faithful description is not possible. */
export function readArchitecture(header: GgufHeader): Architecture {
  const { metadata, path } = header;
  const stored = textOf(metadata, 'general.architecture');
  if (!isArchitectureName(stored)) {
    throw new AppError(
      'model-unsupported',
      `${path}: the architecture ${stored ?? '(none)'} is not supported for MLX or fingerprints; these are: ${Object.keys(FAMILIES).join(', ')}.`,
      {
        hint: 'Engines that read GGUF can still run it.',
      },
    );
  }
  const name = stored;
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
    contextTokens: countOf(metadata, `${name}.context_length`) ?? 0,
    rotarySize: numberOf(metadata, `${name}.rope.dimension_count`) ?? headSize,
    family: FAMILIES[name],
  };
  checkHeads(header, architecture);
  checkNumbers(header, architecture);
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

/** Floats that every layer computes with: NaN or infinity in them would go into config.json as null. */
function checkNumbers({ path }: GgufHeader, { normEpsilon, ropeBase }: Architecture): void {
  if (Number.isFinite(normEpsilon) && normEpsilon >= 0 && Number.isFinite(ropeBase) && ropeBase > 0) return;
  throw new AppError('model-invalid', `${path}: norms with ${normEpsilon} and rotary base ${ropeBase} cannot be.`, {
    hint: 'Download or convert the model again.',
  });
}

function checkHeads(
  { metadata, path }: GgufHeader,
  { name, headSize, headCount, keyValueHeadCount, rotarySize: rotary }: Architecture,
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
  const valueLength = numberOf(metadata, `${name}.attention.value_length`) ?? headSize;
  const mayBePartial = name === 'phi3' && rotary > 0 && rotary < headSize && rotary % 2 === 0;
  if ((rotary !== headSize && !mayBePartial) || valueLength !== headSize) {
    throw new AppError(
      'model-unsupported',
      `${path}: rotary size ${rotary} and value size ${valueLength} differ from the head size ${headSize}.`,
      {
        hint: 'Engines that read GGUF can still run it.',
      },
    );
  }
}
