/** Rotary factors that llama.cpp reads from a tensor: Llama 3's scaling and Phi-3's long and short factors. */
import { AppError } from '../../core/errors.ts';
import type { ModelConfig } from './model-config.ts';

export interface ExtraTensor {
  readonly name: string;
  readonly values: Float32Array;
}

/** Values of a rotary head: what `rope_freqs` has two of. */
export function rotarySize({ family, headSize, hiddenSize, headCount, rope }: ModelConfig): number {
  if (family.name === 'phi3') return Math.floor(Math.trunc((rope.partial_rotary_factor ?? 1) * hiddenSize) / headCount);
  return headSize ?? Math.floor(hiddenSize / headCount);
}

export function extraTensors(config: ModelConfig, path: string): readonly ExtraTensor[] {
  const type = ropeType(config);
  if (config.family.name === 'phi3') return phi3Factors(config, path);
  if (type === 'llama3' && config.family.permutesQueryAndKey)
    return [{ name: 'rope_freqs.weight', values: llama3Factors(config) }];
  return [];
}

export function ropeType({ rope }: ModelConfig): string | null {
  return rope.rope_type ?? rope.type ?? null;
}

/**
 * The reference's formula in its precision: float32 steps up to the frequency, and products with Python floats rounded to
 * float32 each. 2 pi / freq divides in float32 and multiplies then, as torch does.
 */
export function llama3Factors(config: ModelConfig): Float32Array {
  const { rope, ropeBase } = config;
  const size = rotarySize(config);
  const factor = rope.factor ?? 8;
  const low = rope.low_freq_factor ?? 1;
  const high = rope.high_freq_factor ?? 4;
  const context = rope.original_max_position_embeddings ?? 8192;
  const round = Math.fround;
  return Float32Array.from({ length: Math.ceil(size / 2) }, (_, i) => {
    const power = round(ropeBase ** round((2 * i) / size));
    const frequency = round(1 / power);
    const wavelength = round(round(1 / frequency) * round(2 * Math.PI));
    if (wavelength < context / high) return 1;
    if (wavelength > context / low) return factor;
    const smooth = round(round(round(round(1 / wavelength) * round(context)) - round(low)) / round(high - low));
    const blend = round(round(round(1 - smooth) / round(factor)) + smooth);
    return round(1 / blend);
  });
}

function phi3Factors(config: ModelConfig, path: string): readonly ExtraTensor[] {
  const { long_factor: long, short_factor: short } = config.rope;
  if (long == null || long.length === 0) return [];
  const half = rotarySize(config) / 2;
  if (short == null || short.length !== long.length || long.length !== half) {
    throw new AppError(
      'model-invalid',
      `${path}: rope_scaling has ${long.length} long and ${short?.length ?? 0} short factors, ${half} of each are needed.`,
      { hint: 'Download the model again.' },
    );
  }
  return [
    { name: 'rope_factors_long.weight', values: Float32Array.from(long) },
    { name: 'rope_factors_short.weight', values: Float32Array.from(short) },
  ];
}
