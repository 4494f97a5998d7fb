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
 *    - Q2_K, Q4_K, Q5_K: fround(d * sub-scale * q - dmin * sub-minimum), the products being exact. Q3_K, Q6_K, IQ4_NL, IQ4_XS,
 *      TQ1_0, TQ2_0, MXFP4: the exact product.
 *    - MLX affine: fround(fround(q * scale) + bias), scale and bias widened to float32, with the bits and the group size of
 *      that layer. MLX mxfp4: the exact product.
 *    - Norms of Gemma: 1 + weight, rounded to float32, the factor that is applied and that a GGUF holds.
 * 3. Canonical bits: every NaN is 0x7fc00000, and -0 is +0. Minus zero is dropped because a symmetrical block with a negative
 *    scale holds -0 where an affine group, a sum, can only hold +0; no product or sum of weights differs by it but in the sign
 *    of a zero.
 * 4. The hash of a tensor is the SHA-256 of its values, row after row, as little-endian float32.
 * 5. The fingerprint is `rf1-` and the lower-case hexadecimal SHA-256 of the lines `name\tshape\thash\n`, in UTF-8, sorted by
 *    name (by code unit), with the shape as `576x1536` and the tensor's hash in lower-case hexadecimal.
 */
import { createHash } from 'node:crypto';
import { breathe } from '../file-io.ts';
import { chunkRowsOf, openWeights, type WeightTensor } from '../weights/weights.ts';
import { TensorHash, type FingerprintOptions, type TensorFingerprint } from './tensor-hash.ts';

export type { FingerprintOptions, TensorFingerprint } from './tensor-hash.ts';

/** Names the rules above: a stored fingerprint that was made by others is made again. */
export const FINGERPRINT_RULE = 'rf1';

export interface Fingerprint {
  /** `rf1-` and 64 hexadecimal digits. */
  readonly fingerprint: string;
  /** Sorted by name. */
  readonly tensors: readonly TensorFingerprint[];
}

/**
 * `path` is a .gguf file, an MLX or Hugging Face folder, or a .safetensors file.
 * Rejects with `model-unsupported` for tensor types and architectures whose values this program cannot read.
 */
export async function fingerprintModel(path: string, options: FingerprintOptions = {}): Promise<Fingerprint> {
  const weights = await openWeights(path);
  try {
    const totalBytes = weights.tensors.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
    const tensors: TensorFingerprint[] = [];
    let doneBytes = 0;
    for (const tensor of weights.tensors) {
      tensors.push(await hashTensor(tensor, options.signal));
      doneBytes += tensor.storedBytes;
      options.onProgress?.({ doneBytes, totalBytes });
    }
    return combine(tensors);
  } finally {
    await weights.close();
  }
}

async function hashTensor(tensor: WeightTensor, signal: AbortSignal | undefined): Promise<TensorFingerprint> {
  const { name, shape, rows, columns } = tensor;
  const hash = new TensorHash();
  const chunkRows = chunkRowsOf([tensor]);
  const out = new Float32Array(chunkRows * columns);
  for (let firstRow = 0; firstRow < rows; firstRow += chunkRows) {
    await breathe();
    signal?.throwIfAborted();
    const rowCount = Math.min(chunkRows, rows - firstRow);
    const values = out.subarray(0, rowCount * columns);
    tensor.read(firstRow, rowCount, values);
    hash.update(values);
  }
  return { name, shape, sha256: hash.digest() };
}

function combine(unsorted: readonly TensorFingerprint[]): Fingerprint {
  const tensors = unsorted.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const hash = createHash('sha256');
  for (const { name, shape, sha256 } of tensors) hash.update(`${name}\t${shape.join('x')}\t${sha256}\n`);
  return { fingerprint: `${FINGERPRINT_RULE}-${hash.digest('hex')}`, tensors };
}
