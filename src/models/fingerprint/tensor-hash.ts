/** SHA-256 over canonical float32 values: steps 3 and 4 of the specification in fingerprint.ts. */
import { createHash } from 'node:crypto';
import { endianness } from 'node:os';
import { assert } from '../../core/assert.ts';

export interface TensorFingerprint {
  readonly name: string;
  readonly shape: readonly number[];
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

export interface FingerprintOptions {
  readonly onProgress?: (progress: { readonly doneBytes: number; readonly totalBytes: number }) => void;
  readonly signal?: AbortSignal;
}

export class TensorHash {
  readonly #hash = createHash('sha256');

  constructor() {
    // Typed arrays have the machine's byte order, the specification says little-endian.
    assert(endianness() === 'LE', 'fingerprints need a little-endian machine');
  }

  /** Canonicalises `values` in place. */
  update(values: Float32Array): void {
    const words = new Int32Array(values.buffer, values.byteOffset, values.length);
    for (let i = 0; i < words.length; i++) {
      const magnitude = words[i]! & 0x7fff_ffff;
      if (magnitude === 0) words[i] = 0;
      else if (magnitude > 0x7f80_0000) words[i] = 0x7fc0_0000;
    }
    this.#hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}
