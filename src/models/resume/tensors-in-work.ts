/** Notices when the last piece of a tensor is written, whatever the order in which pieces end. */
import { joinChecksums, NO_BYTES, type Checksum } from './checksum.ts';

export interface TensorDone {
  readonly name: string;
  /** CRC-32 of each of its outputs: one for a GGUF; weight, scales and biases for MLX. */
  readonly checksums: readonly number[];
}

export interface Piece {
  /** Of the tensor. */
  readonly name: string;
  readonly index: number;
  /** Pieces of the tensor. */
  readonly count: number;
}

export class TensorsInWork {
  readonly #onDone: (done: TensorDone) => void;
  readonly #open = new Map<string, { readonly pieces: (readonly Checksum[])[]; left: number }>();

  constructor(onDone: (done: TensorDone) => void) {
    this.#onDone = onDone;
  }

  /** @param written one for each output of the tensor */
  pieceDone({ name, index, count }: Piece, written: readonly Checksum[]): void {
    let tensor = this.#open.get(name);
    if (tensor === undefined) {
      tensor = { pieces: [], left: count };
      this.#open.set(name, tensor);
    }
    tensor.pieces[index] = written;
    tensor.left -= 1;
    if (tensor.left > 0) return;
    this.#open.delete(name);
    const { pieces } = tensor;
    const checksums = written.map(
      (_, output) => pieces.reduce((sum, piece) => joinChecksums(sum, piece[output] ?? NO_BYTES), NO_BYTES).crc,
    );
    this.#onDone({ name, checksums });
  }
}
