/** How one ggml format becomes MLX groups without rounding. */

export interface BlockFormat {
  readonly mode: 'affine' | 'mxfp4';
  readonly bits: 2 | 4 | 5 | 8;
  readonly groupSize: 32 | 128;
  readonly blockValues: number;
  readonly blockBytes: number;
  /** Types that hold the scales and biases exactly. */
  readonly scaleTypes: readonly ScaleType[];
  /** Writes blockValues * bits / 32 words a block. Both views start at a multiple of 4 bytes. */
  readonly packCodes: (bytes: Uint8Array, out: Int32Array, blocks: number) => void;
  readonly scaleWriter: (dtype: ScaleType) => ScaleWriter;
}

export type ScaleType = 'f32' | 'f16';

/** What can keep a block's scale from being carried over exactly. */
export type ScaleFault = 'infinite-scale' | 'bias-overflow';

/** Numbers of `scaleType`; bytes for mxfp4, which has no biases. */
export type ScaleArray = Float32Array | Uint16Array | Uint8Array;

/** Reads the scales of whole blocks and writes one scale and one bias a group; returns the worst fault met. */
export type ScaleWriter = (
  bytes: Uint8Array,
  blocks: number,
  out: { readonly scales: ScaleArray; readonly biases: ScaleArray },
) => ScaleFault | null;
