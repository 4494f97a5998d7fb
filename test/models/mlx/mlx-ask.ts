import type { ConvertToMlxAsk } from '../../../src/app/convert/to-mlx.ts';

/** A conversion to MLX without any option, which says nothing. */
export function mlxAsk(source: string, out: string, more: Partial<ConvertToMlxAsk> = {}): ConvertToMlxAsk {
  return {
    source,
    out,
    bits: null,
    groupSize: null,
    recipe: null,
    dtype: null,
    rounding: 'cpu',
    overwrite: false,
    resume: false,
    reference: null,
    threads: null,
    signal: new AbortController().signal,
    ui: { line() {}, status() {}, done() {} },
    ...more,
  };
}
