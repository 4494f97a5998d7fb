/** Values of options, checked while the command line is parsed. */
import { InvalidArgumentError } from 'commander';

export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`A whole number from ${min} to ${max}.`);
    return value;
  };
}

/** Bytes, as llama-gguf-split reads a size: `500M`, `2G`, in powers of ten. */
export function megaOrGigabytes(text: string): number {
  const match = /^(\d{1,6})([MG])$/.exec(text);
  const bytes = Number(match?.[1] ?? 0) * (match?.[2] === 'G' ? 1e9 : 1e6);
  if (bytes === 0) throw new InvalidArgumentError('A number with M or G, such as 500M or 2G.');
  return bytes;
}

export function fraction(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 10)) throw new InvalidArgumentError('A number from 0 to 10.');
  return value;
}

export function oneOf(...allowed: readonly number[]): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!allowed.includes(value)) throw new InvalidArgumentError(`One of ${allowed.join(', ')}.`);
    return value;
  };
}
