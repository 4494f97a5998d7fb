/** Notices when the last piece of a tensor is written, whatever the order in which pieces end. */
import { addChecksums, formatChecksum, NO_BYTES, type Checksum } from '../scan/scan.ts';

export interface TensorDone {
  readonly name: string;
  /** Of each of its outputs, in hexadecimal digits: one for a GGUF; weight, scales and biases for MLX. */
  readonly checksums: readonly string[];
}

export interface Piece {
  /** Of the tensor. */
  readonly name: string;
  /** Pieces of the tensor. */
  readonly count: number;
}

export class TensorsInWork {
  readonly #onDone: (done: TensorDone) => void;
  readonly #open = new Map<string, { sums: readonly Checksum[]; left: number }>();

  constructor(onDone: (done: TensorDone) => void) {
    this.#onDone = onDone;
  }

  /** @param written one for each output of the tensor, of the bytes at their place in it */
  pieceDone({ name, count }: Piece, written: readonly Checksum[]): void {
    let tensor = this.#open.get(name);
    if (tensor === undefined) {
      tensor = { sums: written.map(() => NO_BYTES), left: count };
      this.#open.set(name, tensor);
    }
    tensor.sums = tensor.sums.map((sum, output) => addChecksums(sum, written[output] ?? NO_BYTES));
    tensor.left -= 1;
    if (tensor.left > 0) return;
    this.#open.delete(name);
    this.#onDone({ name, checksums: tensor.sums.map(formatChecksum) });
  }
}
