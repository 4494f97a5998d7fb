/** The published models all use these; other values show as a mismatch with the stored factors. */
export const LOW_FREQUENCY_FACTOR = 1;
export const HIGH_FREQUENCY_FACTOR = 4;

/** The formula of Hugging Face's `_compute_llama3_parameters`, as divisors of the frequencies. */
export function llama3Factors({
  headSize,
  ropeBase,
  factor,
  original,
}: {
  headSize: number;
  ropeBase: number;
  factor: number;
  original: number;
}): number[] {
  const longest = original / LOW_FREQUENCY_FACTOR;
  const shortest = original / HIGH_FREQUENCY_FACTOR;
  return Array.from({ length: headSize / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * ropeBase ** ((2 * i) / headSize);
    if (wavelength < shortest) return 1;
    if (wavelength > longest) return factor;
    const smooth = (original / wavelength - LOW_FREQUENCY_FACTOR) / (HIGH_FREQUENCY_FACTOR - LOW_FREQUENCY_FACTOR);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}
