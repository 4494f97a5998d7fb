/**
 * Fingerprints of weights: two models with equal fingerprints have the same weights, whatever file format holds them.
 *
 * ## Specification `rf1`
 *
 * 1. A model is a set of named tensors. Names, shapes and row order are Hugging Face's: `model.layers.0.self_attn.q_proj.weight`,
 *    shape [outputs, inputs]. The query and key rows that llama.cpp's converter interleaves (architecture `llama`) are put back
 *    in Hugging Face's order first. Left out: `rope_freqs.weight`, which is derived from the configuration. A tied output
 *    matrix that is not stored is not a tensor.
 * 2. Each value is the float32 that the format defines, one float32 rounding per operation and no fused multiply-add:
 *    - F32, F16, BF16: the value itself.
 *    - Q4_0, Q5_0, Q8_0: fround(q * d), with q signed (minus 8, minus 16, as stored). Q4_1, Q5_1: fround(fround(q * d) + m).
 *    - MLX affine: fround(fround(q * scale) + bias), scale and bias widened to float32, with the bits and the group size of
 *      that layer.
 * 3. Canonical bits: every NaN is 0x7fc00000, and -0 is +0. Minus zero is dropped because a symmetrical block with a negative
 *    scale holds -0 where an affine group, a sum, can only hold +0; no product or sum of weights differs by it but in the sign
 *    of a zero.
 * 4. The hash of a tensor is the SHA-256 of its values, row after row, as little-endian float32.
 * 5. The fingerprint is `rf1-` and the lower-case hexadecimal SHA-256 of the lines `name\tshape\thash\n`, in UTF-8, sorted by
 *    name (by code unit), with the shape as `576x1536` and the tensor's hash in lower-case hexadecimal.
 */
import { createHash } from 'node:crypto';
import { fingerprintGgufTensors } from './gguf-tensors.ts';
import { fingerprintMlxTensors } from './mlx-tensors.ts';
import type { FingerprintOptions, TensorFingerprint } from './tensor-hash.ts';

export type { FingerprintOptions, TensorFingerprint } from './tensor-hash.ts';

export interface Fingerprint {
  /** `rf1-` and 64 hexadecimal digits. */
  readonly fingerprint: string;
  /** Sorted by name. */
  readonly tensors: readonly TensorFingerprint[];
}

/** Rejects with `model-unsupported` for tensor types and architectures whose values this program cannot read. */
export async function fingerprintGguf(path: string, options: FingerprintOptions = {}): Promise<Fingerprint> {
  return combine(await fingerprintGgufTensors(path, options));
}

/** `folder` holds config.json and model*.safetensors, in MLX's affine format or dense. */
export async function fingerprintMlx(folder: string, options: FingerprintOptions = {}): Promise<Fingerprint> {
  return combine(await fingerprintMlxTensors(folder, options));
}

function combine(unsorted: readonly TensorFingerprint[]): Fingerprint {
  const tensors = unsorted.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const hash = createHash('sha256');
  for (const { name, shape, sha256 } of tensors) hash.update(`${name}\t${shape.join('x')}\t${sha256}\n`);
  return { fingerprint: `rf1-${hash.digest('hex')}`, tensors };
}
